"""Tests of a curve's claims on the data: residuals at its settled end, and the fall after its peak.

Two sources of error move a mean over input sequences. First, the sequences are the same at every checkpoint, so their
errors are correlated over steps; the spread of a contrast of steps over sequences measures their effect on it. Second,
each checkpoint has weights of its own, which move all sequences together: in the shipped families by 3 to 4 % of the
value, several times the standard error over sequences. The sequences cannot show this part, but the scatter of the
residuals about a line does. Each test uses the sum of both variances. Without sequences only the scatter is known, and
the tests are weaker: they miss an error that all checkpoints share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr

SETTLED_SHARE = 0.05  # a curve claims to have settled where it stays within this share of its range about its end
FEWEST = 5  # points at the end at least
GROUPS = 8  # groups of neighbouring points at most; their means average out noise of short correlation
SMALL = 0.005  # share of the curve's range below which a departure is irrelevant
NEAR_TOP = 0.25  # points within this share of the fall after a peak belong to the peak, or to the end
MOST_COUNTED = 8  # points at most whose noise counts as independent


class Sample(NamedTuple):
    """One fitted series: steps, values, curve and weights (step,), and the sequences (sequence, step) or None.

    `sigma` is the residual standard deviation at weight 1, with its degrees of freedom.
    """

    t: np.ndarray
    y: np.ndarray
    curve: np.ndarray
    w: np.ndarray
    sequences: np.ndarray | None
    sigma: float
    degrees: int


def settled_from(curve: Float[np.ndarray, " step"]) -> int:
    """The index from which a curve stays within 5 % of its range about its end; five points or more remain."""
    outside = np.flatnonzero(np.abs(curve - curve[-1]) > SETTLED_SHARE * np.ptp(curve))
    return max(min(int(outside[-1]) + 1 if outside.size else 0, curve.size - FEWEST), 0)


def end_probability(sample: Sample) -> float:
    """The probability that residuals depart so far from the settled end of a correct curve: the smallest of three.

    The three tests are a line in log step through the residuals there, their last third against those before, and the
    last third against the curve. Each alone has the size of a t test: it is below .05 for one correct curve in twenty.
    The result is 1 if there are fewer than four points, or if the departure is below half a percent of the range.
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
    probabilities = [1.0]
    for contrast, scatter, degrees, size in (
        (line, np.sqrt(about_line @ about_line / (count - 2)), count - 2, np.ptp(at) / (line @ line)),
        (later, np.sqrt(halves @ halves / (count - 2)), count - 2, 1.0),
        (end, spread, sample.degrees, 1.0),
    ):
        departure = float(contrast @ means)
        if abs(departure) * size > matters:
            # An error that all checkpoints share moves the curve too: at the end only its change from before counts.
            shared = deviations @ (later if contrast is end else contrast)
            probabilities.append(_probability(departure, scatter * np.linalg.norm(contrast), degrees, shared))
    return min(probabilities)


def fall_probability(sample: Sample, peak_step: float) -> float:
    """The probability that noise makes the values fall as far from a peak to the end; 1 where they do not fall.

    Compares values near the peak with those near the end, each sequence with itself. The result is 1, too, if the last
    value is the largest.
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
    near_peak, near_end = np.arange(begin, min(stop, end)), np.arange(end, y.size)
    if not near_peak.size:
        return 1.0
    contrast = np.zeros(y.size)
    for part, sign in ((near_peak, 1), (near_end, -1)):
        contrast[part] = sign * sample.w[part] ** 2 / np.sum(sample.w[part] ** 2)
    few = np.array([np.sqrt(max(part.size / MOST_COUNTED, 1.0)) for part in (near_peak, near_end)])
    noise = contrast / sample.w * sample.sigma
    scatter = np.hypot(np.linalg.norm(noise[near_peak]) * few[0], np.linalg.norm(noise[near_end]) * few[1])
    fall = float(contrast @ y)
    if fall <= 0:
        return 1.0
    return _probability(fall, float(scatter), sample.degrees, _deviations(sample, contrast[None])[:, 0]) / 2


def _deviations(sample: Sample, weight: np.ndarray) -> np.ndarray:
    """Weighted sums over steps of each sequence's departure from the mean (sequence, sum); empty without sequences."""
    if sample.sequences is None:
        return np.zeros((0, len(weight)))
    return (sample.sequences - sample.sequences.mean(axis=0)) @ weight.T


def _probability(departure: float, scatter: float, degrees: int, shared: np.ndarray) -> float:
    """The two-sided probability of a departure as large: Student's t with Welch and Satterthwaite's degrees."""
    own = scatter**2
    among = float(np.sum(shared**2)) / (shared.size - 1) / shared.size if shared.size > 1 else 0.0
    variance = own + among
    if variance <= 0:
        return 0.0
    parts = own**2 / max(degrees, 1) + (among**2 / (shared.size - 1) if among else 0.0)
    return float(2 * stdtr(variance**2 / parts if parts > 0 else 1e9, -abs(departure) / np.sqrt(variance)))
