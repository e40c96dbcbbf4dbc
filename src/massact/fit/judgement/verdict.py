"""The judgement every fit goes through: which claims of a plateau or a peak the data and other forms bear out."""

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

UNLIKELY = 0.05  # probability of the end's residuals below which a plateau is disputed
SURE = 0.01  # probability of the fall below which a peak is taken: its place was chosen as the highest
FURTHER, APART = (
    10.0,
    0.1,
)  # forms disagree that differ at ten times the last step by more than this share of the range
EXACT = 1e-12  # share of the total sum of squares below which residuals are rounding


def judged(
    group: Group,
    t: Float[np.ndarray, " step"],
    y: Float[np.ndarray, "curve step"],
    *,
    sequences: Float[np.ndarray, "sequence curve step"] | None = None,
    peak_upper: Float[np.ndarray, " curve"] | None = None,
    rivals: bool = True,
) -> Group:
    """The group with its regimes, `determined`, `peak_determined` and `doubts` as the data allow.

    Parameters
    ----------
    group
        Fits of the series y at steps t.
    sequences
        The series of each input sequence behind y; without them the tests are weaker (`lack_of_fit`).
    peak_upper
        Upper bounds of the peak's step where known, inf where a resample has no peak in range; NaN counts as inf.
    rivals
        Whether to fit other forms to the curves that claim a plateau, for their agreement.
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
        unsettled = np.array([Doubt.END not in found for found in doubts])
        for row in _disagreeing(group, t, y, np.flatnonzero(plateau & unsettled)):
            doubts[row].insert(0, Doubt.RIVAL)
    disputed = np.array([bool({Doubt.END, Doubt.RIVAL} & set(found)) for found in doubts])
    without_peak = (regime == Regime.PEAK_WITHOUT_PLATEAU) & ~peak
    regime[without_peak & ~disputed] = str(Regime.LOG_RISE)
    regime[(without_peak | (regime == Regime.PLATEAU_SEEN)) & disputed] = str(Regime.DISPUTED)
    lost = disputed | without_peak
    quoted &= ~(lost[:, None] & with_plateau)
    return replace(
        group,
        regime=regime.astype(str),
        determined=quoted,
        peak_determined=peak,
        doubts=[", ".join(found) for found in doubts],
    )


def _sample(group: Group, row: int, t: np.ndarray, y: np.ndarray, sequences: np.ndarray | None) -> Sample:
    w = group.weights[row] if group.weights.ndim == 2 else group.weights
    degrees = max(t.size - group.values.shape[1], 1)
    each = None if sequences is None else sequences[:, row]
    return Sample(t, y[row], group.curve(row, t), w, each, float(np.sqrt(group.sse[row] / degrees)), degrees)


def _of_peak(sample: Sample, step: float, upper: np.ndarray | None, row: int) -> Doubt | None:
    """Why a peak is not borne out, None where it is."""
    if sample.y.argmax() == sample.y.size - 1:
        return Doubt.HIGHEST_LAST
    if fall_probability(sample, step) >= SURE:
        return Doubt.NO_FALL
    if upper is not None and not np.isfinite(upper[row]):
        return Doubt.PEAK_UNBOUNDED
    return None


def _disagreeing(group: Group, t: np.ndarray, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of these rows those on which a rival form fits as well and goes elsewhere."""
    total = np.sum((y[rows] - y[rows].mean(axis=1, keepdims=True)) ** 2, axis=1)
    rows = rows[group.sse[rows] > EXACT * total]
    if not rows.size:
        return rows
    w = group.weights[rows] if group.weights.ndim == 2 else group.weights
    own = _later(group.form, group.values[rows], t)
    criterion = _criterion(group.sse[rows], t.size, group.values.shape[1])
    drawn = np.array([group.curve(int(row), t) for row in rows])
    span, count, within = np.ptp(drawn, axis=1), t.size, 0.0
    edges = bins.bins_of(t)
    if edges is None:
        series = y[rows]
    else:  # rivals are searched in bins; what points do inside them is the same for all forms
        series, own_means = (bins.mean_values(values, w, edges) for values in (y[rows], drawn))
        w, t = bins.weights_of_bins(w, edges), bins.mean_steps(t, edges)
        within = group.sse[rows] - np.sum(((series - own_means) * w) ** 2, axis=1)
    apart = np.zeros(rows.size, dtype=bool)
    own_curves = (group.form, FORMS[group.form].special_case_of)
    for form, rival in FORMS.items():
        k, margin = len(rival.parameters), rival.rival_margin
        if margin is None or form in own_curves or count <= k + 1:
            continue
        found = search(form, t, series, w)
        values, _ = drawable(form, found, t, series, w)
        with np.errstate(invalid="ignore"):
            as_good = _criterion(found.sse + within, count, k) - criterion <= margin
            apart |= as_good & ~(np.abs(_later(form, values, t) - own) <= APART * span)
    return rows[apart]


def _criterion(sse: np.ndarray, n: int, k: int) -> np.ndarray:
    return information(sse, n, k)["aicc" if n > k + 1 else "bic"]


def _later(form: str, values: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The curves (curve,) at ten times the last step."""
    with np.errstate(all="ignore"):
        return np.asarray(FORMS[form].value(np.full(len(values), FURTHER * t[-1]), *values.T))
