"""Comparison of forms by information criteria, Akaike weights and the error on a held-out tail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from massact.errors import FitError
from massact.fit.checks import (
    Numbers,
    check_choice,
    check_share,
    check_steps,
    check_values,
    check_weights,
    check_word_or_weights,
)
from massact.fit.engine.robust import relative_weights
from massact.fit.forms import FORMS, curve_values, get_form
from massact.fit.many import fit_many
from massact.fit.units import units_of

CRITERIA = ("bic", "aicc", "tail_error", "r2")


def compare_forms(
    steps: Numbers,
    values: Float[np.ndarray, "curve step"] | Numbers,
    *,
    forms: Sequence[str] | str | None = None,
    weights: Numbers | Literal["relative"] | None = None,
    tail: float = 0.5,
) -> pd.DataFrame:
    """Fit several forms to every series and compare them.

    Parameters
    ----------
    steps, values, weights
        As `massact.fit.fit_many`. "relative" weights come from Eq. 14's fit for all forms, so that their criteria can
        be compared.
    forms
        Keys of `FORMS`.
    tail
        Share of the last step after which values are held out for `tail_error`.

    Returns
    -------
    DataFrame
        One row per curve and form, with columns `curve`, `form`, `family` (a limit form has its parent's name), `k`
        (number of parameters), `r2`, `aicc`, `bic`, `akaike_weight` (exp(-AICc / 2), normalised over the forms of a
        curve) and `tail_error`. The latter is the root mean square error on the values after `tail` of a fit to those
        before, divided by their root mean square. Numbers are NaN where there are too few points. Where a form draws
        the values exactly, as many draw a constant, `bic` and `aicc` are -inf and `r2` is 1. Choose by `bic`, or by
        `tail_error` if the form is to extrapolate; never by `r2`, which grows with every parameter.

    Raises
    ------
    FitError
        As `fit_many`; no forms, or a tail that is not between 0 and 1.
    """
    if forms is None:
        forms = [name for name, form in FORMS.items() if form.candidate]
    forms = [forms] if isinstance(forms, str) else list(forms)
    if not forms:
        raise FitError("no forms to compare", f"choose from {', '.join(FORMS)}")
    check_share(tail, "tail")
    t = check_steps(steps)
    y = check_values(values, t, "curve")
    units_by_form = {form: units_of(form, t, y, np.ones(y.shape)) for form in forms if get_form(form)}
    units = next(iter(units_by_form.values()))
    if not units.ordinary:
        scaled = compare_forms(t / units.step, y / units.value[:, None], forms=forms, weights=weights, tail=tail)
        shift = 2 * np.isfinite(y).sum(axis=1) * np.log(units.value)
        for name in ("aicc", "bic"):
            scaled[name] += shift[scaled["curve"]]
        return scaled
    w = _relative(t, y) if check_word_or_weights(weights) else check_weights(weights, y.shape)
    early = t <= tail * t[-1]
    parts = []
    for form in forms:
        get_form(form)
        fits = fit_many(t, y, form=form, weights=w, rivals=False)
        before = fit_many(t[early], y[:, early], form=form, weights=w[:, early], rivals=False)
        exact = (fits["sse"] == 0).to_numpy()
        parts.append(
            fits[["curve"]].assign(
                r2=fits["r2"].mask(exact, 1.0),
                aicc=fits["aicc"].mask(exact, -np.inf),
                bic=fits["bic"].mask(exact, -np.inf),
                form=form,
                family=FORMS[form].family,
                k=len(FORMS[form].parameters),
                tail_error=_tail_errors(form, before, t[~early], y[:, ~early]),
            )
        )
    out = pd.concat(parts, ignore_index=True)
    lowest = out.groupby("curve")["aicc"].transform("min")
    # Where several forms draw a curve exactly, only the term for the number of parameters is left of the criterion.
    difference = (out["aicc"] - lowest).mask(np.isneginf(out["aicc"]), 2.0 * out["k"])
    likelihood: Any = np.exp(-difference / 2)
    likelihood = likelihood.fillna(0.0)
    out["akaike_weight"] = likelihood / likelihood.groupby(out["curve"]).transform("sum")
    columns = ["curve", "form", "family", "k", "r2", "aicc", "bic", "akaike_weight", "tail_error"]
    return out.sort_values(["curve", "bic"], ignore_index=True).loc[:, columns]


def best_form(comparison: pd.DataFrame, criterion: str = "bic") -> pd.DataFrame:
    """The row of each curve in a comparison that `criterion` (bic, aicc, tail_error or r2) prefers.

    Among equals, such as forms that draw a constant exactly, the one with the fewest parameters is chosen. A curve has
    no row if the criterion is NaN for all forms.

    Raises
    ------
    FitError
        Unknown criterion, or a table that is not a comparison.
    """
    check_choice(criterion, "criterion", CRITERIA)
    absent = [name for name in ("curve", "k", criterion) if name not in getattr(comparison, "columns", ())]
    if absent:
        raise FitError(f"the comparison has no {', '.join(absent)}", "pass a table from compare_forms")
    values = -comparison[criterion] if criterion == "r2" else comparison[criterion]
    ordered = comparison.assign(_order=values).dropna(subset="_order")
    ordered = ordered.sort_values(["curve", "_order", "k"], kind="stable")
    return ordered.groupby("curve").head(1).drop(columns="_order").reset_index(drop=True)


def _relative(t: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights (curve, step) of 1 / |f|, with f from Eq. 14's fit of the values present; 1 where there are too few."""
    out = np.ones(y.shape)
    rows = np.flatnonzero(np.isfinite(y).any(axis=1))
    if rows.size and t.size > len(FORMS["eq14"].parameters):
        series = y[rows]
        filled = np.where(np.isnan(series), np.nanmean(series, axis=1, keepdims=True), series)
        out[rows] = relative_weights("eq14", t, filled, "auto")
    return out


def _tail_errors(form: str, fits: pd.DataFrame, t: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Relative root mean square errors (curve,) of fits at later steps t."""
    curves: Any = np.array([curve_values(form, row, t) for row in fits.to_dict("records")]).reshape(y.shape)
    with np.errstate(all="ignore"):
        return np.sqrt(_mean_present((curves - y) ** 2) / _mean_present(y**2))


def _mean_present(values: np.ndarray) -> np.ndarray:
    """The mean of each row over values that are not NaN; NaN, without a warning, if all are."""
    return np.nansum(values, axis=1) / (~np.isnan(values)).sum(axis=1)
