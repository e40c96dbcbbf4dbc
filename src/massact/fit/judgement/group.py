"""Fits of complete series on the same steps: search, parameters, errors, derived quantities and regime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from massact.fit.engine.drawable import drawable
from massact.fit.engine.robust import Loss, huber
from massact.fit.engine.search import EnginePath, Optimum, search
from massact.fit.forms import FORMS
from massact.fit.judgement.derived import derived
from massact.fit.judgement.identifiability import identifiability
from massact.fit.judgement.regimes import Regime
from massact.fit.judgement.statistics import information, judge, standard_errors, sums_of_squares
from massact.fit.schemas import DERIVED
from massact.fit.status import STATUS_DTYPE, FitStatus

EQUAL = 1e-12  # values count as equal if their range is at most this share of their size


@dataclass(frozen=True)
class Group:
    """The fits of several series: arrays over (curve,), or (curve, parameter) in the table's order.

    `rates` (rate, curve) come from the search, NaN where there was none. `weights` are those at the end of the fit.
    `regime`, `determined` and `peak_determined` are claims of the curve alone until `judgement.verdict.judged` has
    tested them on the data.
    """

    form: str
    n_points: int
    values: np.ndarray
    stderr: np.ndarray
    determined: np.ndarray
    sse: np.ndarray
    r2: np.ndarray
    condition: np.ndarray
    sloppiest: list[str]
    derived: dict[str, np.ndarray]
    regime: np.ndarray
    status: np.ndarray
    rates: np.ndarray
    weights: np.ndarray
    peak_determined: np.ndarray
    doubts: list[str]

    def curve(self, row: int, t: np.ndarray) -> np.ndarray:
        """The fitted curve of one series at steps t."""
        return FORMS[self.form].value(t, *self.values[row])

    def frame(self, intervals: dict[str, tuple[np.ndarray, np.ndarray]] | None = None) -> pd.DataFrame:
        """The columns of `fits_schema(form)` from `n_points` to `status`; bounds are NaN without intervals."""
        unknown = np.full(len(self.values), np.nan)
        columns: dict[str, Any] = {"n_points": np.full(len(self.values), self.n_points, dtype=np.int32)}
        for j, name in enumerate(FORMS[self.form].parameters):
            columns[name] = self.values[:, j]
            columns[f"{name}_stderr"] = self.stderr[:, j]
            columns[f"{name}_determined"] = self.determined[:, j]
        columns |= {"sse": self.sse, "r2": self.r2}
        columns |= information(self.sse, self.n_points, self.values.shape[1])
        for name, value in self.derived.items():
            lower, upper = (intervals or {}).get(name, (unknown, unknown))
            columns |= {name: value, f"{name}_lower": lower, f"{name}_upper": upper}
        columns["condition"] = self.condition
        columns["peak_determined"] = self.peak_determined
        columns["sloppiest"] = pd.Series(self.sloppiest, dtype=object)
        columns["regime"] = pd.Series(self.regime.tolist(), dtype=object)
        columns["doubts"] = pd.Series(self.doubts, dtype=object)
        columns["status"] = pd.Series([FitStatus[name.upper()].sentence for name in self.status], dtype=object)
        return pd.DataFrame(columns)


def fit_group(
    form: str, t: np.ndarray, y: np.ndarray, w: np.ndarray, *, loss: Loss = "squares", path: EnginePath = "auto"
) -> Group:
    """The global fit of each series y (curve, step), without missing values, at ascending steps t.

    Weights w are positive, (step,) or (curve, step).
    """
    n, k, count = t.size, len(FORMS[form].parameters), len(y)
    if n <= k or not count:
        return _unfitted(form, n, count)
    size = np.abs(y).max(axis=1)
    # The step responses have no constant term: 0 is the only constant that they draw.
    still = np.ptp(y, axis=1) <= EQUAL * size if FORMS[form].constant else size == 0
    values = FORMS[form].constants(y.mean(axis=1), float(t[-1]))
    status = np.full(count, str(FitStatus.CONSTANT), dtype=STATUS_DTYPE)
    rates = np.full((len(FORMS[form].box(t)), count), np.nan)
    moving = np.flatnonzero(~still)
    if moving.size:
        weights = w[moving] if w.ndim == 2 else w
        optimum = search(form, t, y[moving], weights, path=path)
        if loss == "huber":
            optimum, reduced = huber(form, t, y[moving], weights, optimum, path)
            weights, w = reduced, np.broadcast_to(w, y.shape).copy()
            w[moving] = reduced
        values[moving], status[moving] = drawable(form, optimum, t, y[moving], weights, path=path)
        rates[:, moving] = optimum.rates
    return describe(form, t, y, w, values, status, rates)


def describe(
    form: str,
    t: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    values: np.ndarray,
    status: np.ndarray,
    rates: np.ndarray,
) -> Group:
    """Everything that follows from parameters (curve, parameter), whichever fit they come from."""
    sse, total = sums_of_squares(form, values, t, y, w)
    constant = status == FitStatus.CONSTANT
    sse[constant], total[constant] = 0.0, 0.0
    with np.errstate(all="ignore"):
        r2 = np.where(total > 0, 1 - sse / total, np.nan)
    quantities = derived(form, values, float(t[0]), float(t[-1]))
    quantities["decay_share"][status == FitStatus.AT_EDGE_B_ZERO] = 0.0
    quantities["decay_share"][constant] = np.nan
    stderr = standard_errors(form, values, t, w, sse, status)
    condition, sloppiest = identifiability(form, values, t, w)
    regime, quoted = judge(form, values, stderr, quantities, sse, total, t.size, float(t[-1]), status)
    peaked = np.isin(regime, (Regime.PLATEAU_SEEN, Regime.PEAK_WITHOUT_PLATEAU)) & np.isfinite(quantities["peak_step"])
    fitted = (values, stderr, quoted, sse, r2, condition, sloppiest, quantities, regime, status, rates, w)
    return Group(form, t.size, *fitted, peaked, [""] * len(y))


def derived_of(form: str, t: np.ndarray, y: np.ndarray, w: np.ndarray, optimum: Optimum) -> dict[str, np.ndarray]:
    """The derived quantities of optima, computed by a form that draws all of these curves."""
    form = FORMS[form].drawn_by or form
    values, status = drawable(form, optimum, t, y, w)
    quantities = derived(form, values, float(t[0]), float(t[-1]))
    quantities["decay_share"][status == FitStatus.AT_EDGE_B_ZERO] = 0.0
    return quantities


def _unfitted(form: str, n: int, count: int) -> Group:
    """The result for series with too few points for the form."""
    unknown, k = np.full(count, np.nan), len(FORMS[form].parameters)
    table = np.full((count, k), np.nan)
    status = FitStatus.FEW_POINTS if n else FitStatus.NO_FINITE_POINTS
    return Group(
        form=form,
        n_points=n,
        values=table,
        stderr=table,
        determined=np.zeros((count, k), dtype=bool),
        sse=unknown,
        r2=unknown,
        condition=unknown,
        sloppiest=[""] * count,
        derived=dict.fromkeys(DERIVED, unknown),
        regime=np.full(count, str(Regime.FAILED)),
        status=np.full(count, str(status)),
        rates=np.full((1, count), np.nan),
        weights=np.ones(n),
        peak_determined=np.zeros(count, dtype=bool),
        doubts=[""] * count,
    )
