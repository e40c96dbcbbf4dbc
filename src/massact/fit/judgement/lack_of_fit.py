"""Whether the data bear a claim out: residuals at the end of a curve, and the fall after a peak.

Two sources of error move a mean over input sequences. The sequences are the same at every checkpoint, so their errors
are correlated over steps: what they do to a contrast of steps is the spread of that contrast over sequences. And each
checkpoint has weights of its own, which move all sequences together: in the shipped families by 3 to 4 % of the value,
several times the standard error over sequences. Sequences cannot show that part; the scatter of the residuals about a
line does. Each test takes the sum of both. Without sequences only the scatter is known, and the tests are weaker: an
error that all checkpoints share is not seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr

SETTLED_SHARE = 0.05  # of the range, about the end: from where the curve stays inside it claims to have settled
FEWEST, GROUPS = (
    5,
    8,
)  # points of the end at least; groups of neighbours at most, which average short noise out
SMALL = 0.005  # share of the curve's range below which a departure is no matter
NEAR_TOP = 0.25  # share of the fall after a peak within which points belong to the peak, or to the end
MOST_COUNTED = 8  # points whose noise may be taken as independent


class Sample(NamedTuple):
    """One fitted series: steps, values, curve and weights (step,), its sequences (sequence, step) or None, and the
    residual deviation at weight 1 with its degrees of freedom."""

    t: np.ndarray
    y: np.ndarray
    curve: np.ndarray
    w: np.ndarray
    sequences: np.ndarray | None
    sigma: float
    degrees: int


def settled_from(curve: Float[np.ndarray, " step"]) -> int:
    """The index from which a curve stays within 5 % of its range about its end, at least five points before the end."""
    outside = np.flatnonzero(np.abs(curve - curve[-1]) > SETTLED_SHARE * np.ptp(curve))
    return max(min(int(outside[-1]) + 1 if outside.size else 0, curve.size - FEWEST), 0)


def end_probability(sample: Sample) -> float:
    """How likely residuals depart so far from the settled end of the curve, were the curve right: the least of three.

    A line in log step through the residuals there; their last third against those before; and the last third against
    the curve. Each alone has the size of a t test: below .05 in one of twenty right curves. 1 where there are fewer
    than four points, or the departure is below half a percent of the curve's range.
    """
    first = settled_from(sample.curve)
    parts = np.array_split(np.arange(first, sample.t.size), min(sample.t.size - first, GROUPS))
    count = len(parts)
    if count < 4:
        return 1.0
    weight = np.zeros((count, sample.t.size))
    for row, part in zip(weight, parts, strict=True):
        row[part] = sample.w[part] ** 2 / np.sum(sample.w[part] ** 2)
    means = weight @ (sample.y - sample.curve)
    at = weight @ np.log(np.maximum(sample.t, sample.t[sample.t > 0][0] / 2))
    last = max(2, count // 3)
    line = at - at.mean()
    later = np.r_[np.full(count - last, -1 / (count - last)), np.full(last, 1 / last)]
    end = np.r_[np.zeros(count - last), np.full(last, 1 / last)]
    about_line = means - means.mean() - line * (line @ means) / (line @ line)
    halves = means - np.r_[np.full(count - last, means[:-last].mean()), np.full(last, means[-last:].mean())]
    spread = sample.sigma * np.sqrt(np.mean([np.sum((row / sample.w) ** 2) for row in weight]))
    matters, deviations = SMALL * float(np.ptp(sample.curve)), _deviations(sample, weight)
    found = [1.0]
    for contrast, scatter, degrees, size in (
        (line, np.sqrt(about_line @ about_line / (count - 2)), count - 2, np.ptp(at) / (line @ line)),
        (later, np.sqrt(halves @ halves / (count - 2)), count - 2, 1.0),
        (end, spread, sample.degrees, 1.0),
    ):
        departure = float(contrast @ means)
        if abs(departure) * size > matters:
            # What all checkpoints share moves the curve along: of the end only what differs from before counts.
            shared = deviations @ (later if contrast is end else contrast)
            found.append(_probability(departure, scatter * np.linalg.norm(contrast), degrees, shared))
    return min(found)


def fall_probability(sample: Sample, peak_step: float) -> float:
    """How likely so large a fall of the values from a peak to the end is by chance; 1 where they do not fall.

    Values near the peak against those near the end, each sequence paired with itself. 1 as well where the last value is
    the largest of all.
    """
    t, y, curve = sample.t, sample.y, sample.curve
    if y.argmax() == y.size - 1:
        return 1.0
    top = int(np.abs(t - peak_step).argmin())
    drop = max(float(curve[top] - curve[-1]), 0.0)
    above = curve >= curve[top] - NEAR_TOP * drop
    low = np.flatnonzero(curve > curve[-1] + NEAR_TOP * drop)
    outside = np.flatnonzero(~above)
    begin = outside[outside < top].max(initial=-1) + 1
    stop = outside[outside > top].min(initial=y.size)
    end = max(min(int(low[-1]) + 1 if low.size else 0, y.size - 2), top + 1, stop)
    end = min(end, y.size - 1)
    here, there = np.arange(begin, min(stop, end)), np.arange(end, y.size)
    if not here.size:
        return 1.0
    contrast = np.zeros(y.size)
    for part, sign in ((here, 1), (there, -1)):
        contrast[part] = sign * sample.w[part] ** 2 / np.sum(sample.w[part] ** 2)
    few = np.array([np.sqrt(max(part.size / MOST_COUNTED, 1.0)) for part in (here, there)])
    noise = contrast / sample.w * sample.sigma
    scatter = np.hypot(np.linalg.norm(noise[here]) * few[0], np.linalg.norm(noise[there]) * few[1])
    fall = float(contrast @ y)
    if fall <= 0:
        return 1.0
    return _probability(fall, float(scatter), sample.degrees, _deviations(sample, contrast[None])[:, 0]) / 2


def _deviations(sample: Sample, weight: np.ndarray) -> np.ndarray:
    """What each sequence's departure from the mean does to weighted sums of steps (sequence, sum); none without."""
    if sample.sequences is None:
        return np.zeros((0, len(weight)))
    return (sample.sequences - sample.sequences.mean(axis=0)) @ weight.T


def _probability(departure: float, scatter: float, degrees: int, shared: np.ndarray) -> float:
    """Of a departure at least as large, two-sided: Student's t with the degrees of Welch and Satterthwaite."""
    own = scatter**2
    among = float(np.sum(shared**2)) / (shared.size - 1) / shared.size if shared.size > 1 else 0.0
    variance = own + among
    if variance <= 0:
        return 0.0
    parts = own**2 / max(degrees, 1) + (among**2 / (shared.size - 1) if among else 0.0)
    return float(2 * stdtr(variance**2 / parts if parts > 0 else 1e9, -abs(departure) / np.sqrt(variance)))
