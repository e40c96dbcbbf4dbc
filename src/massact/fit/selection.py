"""Which form describes curves best: information criteria, Akaike weights and the error on a held-out tail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from massact.errors import FitError
from massact.fit.checks import Numbers, check_steps, check_values, check_weights
from massact.fit.forms import FORMS, curve_values, get_form
from massact.fit.many import fit_many
from massact.fit.robust import relative_weights

CANDIDATES = tuple(form for form in FORMS if form != "eq14")  # Eq. 14 is Eq. 9's curve
# Forms that are limits or special cases of another belong to its family.
FAMILY = {"eq14": "eq9", "log": "eq9", "log_decay": "eq9", "hill_decay": "hill"}


def compare_forms(
    steps: Numbers,
    values: Float[np.ndarray, "curve step"],
    *,
    forms: Sequence[str] = CANDIDATES,
    weights: Numbers | Literal["relative"] | None = None,
    tail: float = 0.5,
) -> pd.DataFrame:
    """Fit several forms to every series and say how much each is worth.

    Parameters
    ----------
    steps, values, weights
        As `massact.fit.fit_many`; "relative" weights are those of Eq. 14's fit for all forms, or their criteria could
        not be compared.
    forms
        Keys of `FORMS`.
    tail
        Share of the last step after which values are held out for `tail_error`.

    Returns
    -------
    DataFrame
        One row a curve and form: `curve`, `form`, `family` (of limit forms their parent's name), `k` parameters,
        `r2`, `aicc`, `bic`, `akaike_weight` (exp(-AICc / 2), normalised over the forms of a curve), `tail_error`: the
        root mean square error after `tail` of a fit to what is before, over the root mean square of the values there.
        NaN where there are too few points. Choose by `bic`, or by `tail_error` where the form is to extrapolate, never
        by `r2`: it grows with every parameter.

    Raises
    ------
    FitError
        As `fit_many`; no forms, or a tail that is not between 0 and 1.
    """
    if not forms:
        raise FitError("no forms to compare", f"choose from {', '.join(FORMS)}")
    if not 0 < tail < 1:
        raise FitError(f"tail = {tail} is not a share of the steps", "give a number between 0 and 1")
    t = check_steps(steps)
    y = check_values(values, t, "curve")
    if isinstance(weights, str):
        filled = np.where(np.isnan(y), np.nanmean(y, axis=1, keepdims=True), y)
        w = relative_weights("eq14", t, filled, "auto")
    else:
        w = check_weights(weights, y.shape)
    early = t <= tail * t[-1]
    parts = []
    for form in forms:
        get_form(form)
        fits = fit_many(t, y, form=form, weights=w, rivals=False)
        before = fit_many(t[early], y[:, early], form=form, weights=w[:, early], rivals=False)
        parts.append(
            fits[["curve", "r2", "aicc", "bic"]].assign(
                form=form,
                family=FAMILY.get(form, form),
                k=len(FORMS[form].parameters),
                tail_error=_tail_errors(form, before, t[~early], y[:, ~early]),
            )
        )
    out = pd.concat(parts, ignore_index=True)
    lowest = out.groupby("curve")["aicc"].transform("min")
    likelihood: Any = np.exp(-(out["aicc"] - lowest) / 2)
    likelihood = likelihood.fillna(0.0)
    out["akaike_weight"] = likelihood / likelihood.groupby(out["curve"]).transform("sum")
    columns = ["curve", "form", "family", "k", "r2", "aicc", "bic", "akaike_weight", "tail_error"]
    return out.sort_values(["curve", "bic"], ignore_index=True).loc[:, columns]


def best_form(comparison: pd.DataFrame, criterion: str = "bic") -> pd.DataFrame:
    """Of each curve in a comparison the row that `criterion` (bic, aicc, tail_error or r2) prefers."""
    values = -comparison[criterion] if criterion == "r2" else comparison[criterion]
    rows = values.fillna(np.inf).groupby(comparison["curve"]).idxmin()
    return comparison.loc[rows].reset_index(drop=True)


def _tail_errors(form: str, fits: pd.DataFrame, t: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Relative root mean square errors (curve,) of fits at later steps t."""
    drawn: Any = np.array([curve_values(form, row, t) for row in fits.to_dict("records")]).reshape(y.shape)
    with np.errstate(all="ignore"):
        return np.sqrt(_mean_present((drawn - y) ** 2) / _mean_present(y**2))


def _mean_present(values: np.ndarray) -> np.ndarray:
    """Mean of each row's values that are numbers; NaN, without a warning, where none is."""
    return np.nansum(values, axis=1) / (~np.isnan(values)).sum(axis=1)
