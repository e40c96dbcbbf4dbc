"""Fits of complete series that share steps and weights: search, parameters, errors, derived quantities, regime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from massact.fit.derived import derived
from massact.fit.engine import search
from massact.fit.forms import FORMS
from massact.fit.parameters import drawable
from massact.fit.regimes import STATUS_DTYPE, FitStatus, Regime
from massact.fit.statistics import information, judge, standard_errors, sums_of_squares
from massact.fit.table import DERIVED

EQUAL = 1e-12  # values whose range is at most this share of their size are equal


@dataclass(frozen=True)
class Group:
    """What is known of every series: arrays over (curve,), or (curve, parameter) in the table's order."""

    form: str
    n_points: int
    values: np.ndarray
    stderr: np.ndarray
    determined: np.ndarray
    sse: np.ndarray
    r2: np.ndarray
    derived: dict[str, np.ndarray]
    regime: np.ndarray
    status: np.ndarray

    def frame(self) -> pd.DataFrame:
        """The columns of `fits_schema(form)` from `n_points` to `status`."""
        columns: dict[str, Any] = {"n_points": np.full(len(self.values), self.n_points, dtype=np.int32)}
        for j, name in enumerate(FORMS[self.form].parameters):
            columns[name] = self.values[:, j]
            columns[f"{name}_stderr"] = self.stderr[:, j]
            columns[f"{name}_determined"] = self.determined[:, j]
        columns |= {"sse": self.sse, "r2": self.r2}
        columns |= information(self.sse, self.n_points, self.values.shape[1]) | self.derived
        columns["regime"] = pd.Series(self.regime.tolist(), dtype=object)
        columns["status"] = pd.Series([FitStatus[name.upper()].sentence for name in self.status], dtype=object)
        return pd.DataFrame(columns)


def fit_group(form: str, t: np.ndarray, y: np.ndarray, w: np.ndarray) -> Group:
    """The global fit of each series y (curve, step) without missing values, weights w (step,) > 0, t ascending."""
    n, k, count = t.size, len(FORMS[form].parameters), len(y)
    if n <= k or not count:
        return _unfitted(form, n, count)
    values, status = _optimise(form, t, y, w)
    return describe(form, t, y, w, values, status)


def describe(form: str, t: np.ndarray, y: np.ndarray, w: np.ndarray, values: np.ndarray, status: np.ndarray) -> Group:
    """Everything that follows from parameters (curve, parameter), found in whatever way."""
    sse, total = sums_of_squares(form, values, t, y, w)
    constant = status == FitStatus.CONSTANT
    sse[constant], total[constant] = 0.0, 0.0
    with np.errstate(all="ignore"):
        r2 = np.where(total > 0, 1 - sse / total, np.nan)
    quantities = derived(form, values, float(t[0]), float(t[-1]))
    quantities["decay_share"][status == FitStatus.AT_EDGE_B_ZERO] = 0.0
    quantities["decay_share"][constant] = np.nan
    stderr = standard_errors(form, values, t, w, sse, status)
    regime, quoted = judge(form, values, stderr, quantities, sse, total, t.size, float(t[-1]), status)
    return Group(form, t.size, values, stderr, quoted, sse, r2, quantities, regime, status)


def _unfitted(form: str, n: int, count: int) -> Group:
    """Series with too few points for the form."""
    unknown, k = np.full(count, np.nan), len(FORMS[form].parameters)
    table = np.full((count, k), np.nan)
    return Group(
        form,
        n,
        table,
        table,
        np.zeros((count, k), dtype=bool),
        unknown,
        unknown,
        dict.fromkeys(DERIVED, unknown),
        np.full(count, str(Regime.FAILED)),
        np.full(count, str(FitStatus.FEW_POINTS if n else FitStatus.NO_FINITE_POINTS)),
    )


def _optimise(form: str, t: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (curve, parameter) and status (curve,)."""
    size = np.abs(y).max(axis=1)
    # The step responses have no constant term: of the constants they only take 0.
    still = np.ptp(y, axis=1) <= EQUAL * size if form in ("eq9", "eq14") else size == 0
    T, zero, one = float(t[-1]), np.zeros(len(y)), np.ones(len(y))
    level = y.mean(axis=1)
    constants = {
        "eq9": (zero, one, one / T, one, level),
        "eq14": (zero, zero, one / T, one * T, level),
        "step1": (zero, one * T),
        "step2": (zero, one, one / T),
    }
    values = np.stack(constants[form], axis=1)
    status = np.full(len(y), str(FitStatus.CONSTANT), dtype=STATUS_DTYPE)
    if not still.all():
        moving = y[~still]
        parameters, endings = drawable(form, search(form, t, moving, w), t, moving, w)
        values[~still], status[~still] = parameters, endings
    return values, status
