"""The judgement of every fit: which claims of a plateau or a peak the data and other forms support."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from massact.fit.engine import bins
from massact.fit.engine.drawable import drawable
from massact.fit.engine.search import search
from massact.fit.forms import FORMS
from massact.fit.judgement.group import Group
from massact.fit.judgement.lack_of_fit import Sample, end_probability, fall_probability
from massact.fit.judgement.regimes import Doubt, Regime
from massact.fit.judgement.statistics import information

UNLIKELY = 0.05  # a plateau is disputed if the residuals at its end are less probable than this
SURE = 0.01  # a peak counts if its fall is less probable than this: strict, because its place is chosen as the highest
FURTHER, APART = 10.0, 0.1  # forms disagree if at ten times the last step they differ by a larger share of the range
EXACT = 1e-12  # residuals below this share of the total sum of squares are rounding


def judged(
    group: Group,
    t: Float[np.ndarray, " step"],
    y: Float[np.ndarray, "curve step"],
    *,
    sequences: Float[np.ndarray, "sequence curve step"] | None = None,
    peak_upper: Float[np.ndarray, " curve"] | None = None,
    rivals: bool = True,
) -> Group:
    """The group with `regime`, `determined`, `peak_determined` and `doubts` as the data support them.

    Parameters
    ----------
    group
        Fits of the series y at steps t.
    sequences
        The series of each input sequence behind y. Without them the tests are weaker (`lack_of_fit`).
    peak_upper
        Upper bounds of the peak's step, if known; inf if the interval reaches beyond the range. NaN counts as inf.
    rivals
        Whether to fit other forms to the curves that claim a plateau, to see whether they agree.
    """
    if not len(y) or not t.size:
        return group
    regime, quoted = group.regime.astype(object), group.determined.copy()
    names = FORMS[group.form].parameters
    with_plateau = np.array([name in FORMS[group.form].with_plateau for name in names])
    plateau = (regime == Regime.PLATEAU_SEEN) | (
        (regime == Regime.PEAK_WITHOUT_PLATEAU) & (quoted & with_plateau).any(axis=1)
    )
    peak = group.peak_determined.copy()
    doubts: list[list[Doubt]] = [[] for _ in range(len(y))]
    for row in np.flatnonzero(plateau | peak):
        sample = _sample(group, int(row), t, y, sequences)
        if end_probability(sample) < UNLIKELY:
            doubts[row].append(Doubt.END)
        if peak[row]:
            doubt = _of_peak(sample, float(group.derived["peak_step"][row]), peak_upper, int(row))
            if doubt is not None:
                doubts[row].append(doubt)
                peak[row] = False
    if rivals:
        unquestioned = np.array([Doubt.END not in reasons for reasons in doubts])
        for row in _disagreeing(group, t, y, np.flatnonzero(plateau & unquestioned)):
            doubts[row].insert(0, Doubt.RIVAL)
    disputed = np.array([bool({Doubt.END, Doubt.RIVAL} & set(reasons)) for reasons in doubts])
    without_peak = (regime == Regime.PEAK_WITHOUT_PLATEAU) & ~peak
    regime[without_peak & ~disputed] = str(Regime.LOG_RISE)
    regime[(without_peak | (regime == Regime.PLATEAU_SEEN)) & disputed] = str(Regime.DISPUTED)
    quoted &= ~((disputed | without_peak)[:, None] & with_plateau)
    return replace(
        group,
        regime=regime.astype(str),
        determined=quoted,
        peak_determined=peak,
        doubts=[", ".join(reasons) for reasons in doubts],
    )


def _sample(group: Group, row: int, t: np.ndarray, y: np.ndarray, sequences: np.ndarray | None) -> Sample:
    w = group.weights[row] if group.weights.ndim == 2 else group.weights
    degrees = max(t.size - group.values.shape[1], 1)
    by_sequence = None if sequences is None else sequences[:, row]
    return Sample(t, y[row], group.curve(row, t), w, by_sequence, float(np.sqrt(group.sse[row] / degrees)), degrees)


def _of_peak(sample: Sample, step: float, upper: np.ndarray | None, row: int) -> Doubt | None:
    """The doubt about a peak; None if the data support it."""
    if sample.y.argmax() == sample.y.size - 1:
        return Doubt.HIGHEST_LAST
    if fall_probability(sample, step) >= SURE:
        return Doubt.NO_FALL
    if upper is not None and not np.isfinite(upper[row]):
        return Doubt.PEAK_UNBOUNDED
    return None


def _disagreeing(group: Group, t: np.ndarray, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those of the given rows on which another form fits as well and continues differently."""
    total = np.sum((y[rows] - y[rows].mean(axis=1, keepdims=True)) ** 2, axis=1)
    rows = rows[group.sse[rows] > EXACT * total]
    if not rows.size:
        return rows
    w = group.weights[rows] if group.weights.ndim == 2 else group.weights
    later = _later(group.form, group.values[rows], t)
    criterion = _criterion(group.sse[rows], t.size, group.values.shape[1])
    curves = np.array([group.curve(int(row), t) for row in rows])
    span, count, within = np.ptp(curves, axis=1), t.size, 0.0
    edges = bins.bins_of(t)
    if edges is None:
        series = y[rows]
    else:  # rivals are searched in bins; the sum of squares within bins is taken to be the same for all forms
        series, own_means = (bins.mean_values(values, w, edges) for values in (y[rows], curves))
        w, t = bins.weights_of_bins(w, edges), bins.mean_steps(t, edges)
        within = group.sse[rows] - np.sum(((series - own_means) * w) ** 2, axis=1)
    apart = np.zeros(rows.size, dtype=bool)
    own_curves = (group.form, FORMS[group.form].special_case_of)
    for form, rival in FORMS.items():
        k, margin = len(rival.parameters), rival.rival_margin
        if margin is None or form in own_curves or count <= k + 1:
            continue
        optimum = search(form, t, series, w)
        values, _ = drawable(form, optimum, t, series, w)
        with np.errstate(invalid="ignore"):
            as_good = _criterion(optimum.sse + within, count, k) - criterion <= margin
            apart |= as_good & ~(np.abs(_later(form, values, t) - later) <= APART * span)
    return rows[apart]


def _criterion(sse: np.ndarray, n: int, k: int) -> np.ndarray:
    return information(sse, n, k)["aicc" if n > k + 1 else "bic"]


def _later(form: str, values: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The curves (curve,) at ten times the last step."""
    with np.errstate(all="ignore"):
        return np.asarray(FORMS[form].value(np.full(len(values), FURTHER * t[-1]), *values.T))
