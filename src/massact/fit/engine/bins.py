"""Bins of neighbouring steps, with which a search over a million points takes as long as one over a few hundred.

The cost of the scan grows with the square of the number of points. Up to `EVERY` points it uses all of them. Beyond, it
uses bins that are even in the logarithm of the step and no wider than a share of the range. Bins serve only to find the
valley and to resample. The reported parameters, errors and criteria come from a descent on all points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

EVERY = 256  # largest number of points that are searched without bins
IN_LOG, IN_STEP = 128, 64  # bins over the logarithm of the range, and over the range


def bins_of(t: Float[np.ndarray, " step"]) -> Int[np.ndarray, " bin"] | None:
    """The index of each bin's first step; None if all steps are searched.

    The first two steps and the last are bins of their own, because the bounds of the search depend on them.
    """
    if t.size <= EVERY:
        return None
    since = t - t[0]
    log = np.log1p(since / since[1])
    place = np.floor(log * (IN_LOG / log[-1])) + np.floor(since * (IN_STEP / since[-1]))
    begins = np.flatnonzero(np.diff(place) > 0) + 1
    return np.unique(np.r_[0, 1, 2, begins, t.size - 1])


def mean_steps(t: Float[np.ndarray, " step"], bins: Int[np.ndarray, " bin"]) -> Float[np.ndarray, " bin"]:
    """The mean step of each bin."""
    return t[bins] + np.add.reduceat(t - np.repeat(t[bins], _sizes(t, bins)), bins) / _sizes(t, bins)


def mean_values(
    y: Float[np.ndarray, "... step"], w: Float[np.ndarray, "... step"], bins: Int[np.ndarray, " bin"]
) -> Float[np.ndarray, "... bin"]:
    """The mean value of each bin, weighted by w squared."""
    return np.add.reduceat(y * w**2, bins, axis=-1) / np.add.reduceat(w**2, bins, axis=-1)


def weights_of_bins(w: Float[np.ndarray, "... step"], bins: Int[np.ndarray, " bin"]) -> Float[np.ndarray, "... bin"]:
    """The weight of each bin's mean: the root of the sum of squared weights."""
    return np.sqrt(np.add.reduceat(w**2, bins, axis=-1))


class Thinned(NamedTuple):
    """Steps, series, weights and sequences of one curve, at all points or in bins."""

    t: np.ndarray
    y: np.ndarray
    w: np.ndarray
    sequences: np.ndarray | None


def thinned(t: np.ndarray, y: np.ndarray, w: np.ndarray, sequences: np.ndarray | None = None) -> Thinned:
    """The points of a curve that are resampled: all of them, or the means of bins if there are too many."""
    bins = bins_of(t)
    if bins is None:
        return Thinned(t, y, w, sequences)
    by_sequence = None if sequences is None else mean_values(sequences, w, bins)
    return Thinned(mean_steps(t, bins), mean_values(y, w, bins), weights_of_bins(w, bins), by_sequence)


def count_of(t: np.ndarray) -> int:
    """The number of points or bins that the search uses."""
    bins = bins_of(t)
    return t.size if bins is None else bins.size


def _sizes(t: np.ndarray, bins: np.ndarray) -> np.ndarray:
    return np.diff(np.r_[bins, t.size])
