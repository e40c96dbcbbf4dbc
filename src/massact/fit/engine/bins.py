"""Neighbouring steps taken together, so that a search over a million points takes as long as one over some hundred.

The scan costs the square of the points. Up to `EVERY` points it takes them all; of more it takes bins, even in the
logarithm of the step and besides no wider than a share of the range. Bins only find the valley and resample: the
parameters, errors and criteria that are reported come from a descent on all points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

EVERY = 256  # points up to which every one is searched
IN_LOG, IN_STEP = 128, 64  # bins over the logarithm of the range, and over the range


def bins_of(t: Float[np.ndarray, " step"]) -> Int[np.ndarray, " bin"] | None:
    """The index of each bin's first step; None where every step is searched.

    The first two steps and the last are bins of their own: the bounds of the search are made of them.
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
    """The weight of each bin's mean: the root of the sum of squares."""
    return np.sqrt(np.add.reduceat(w**2, bins, axis=-1))


class Thinned(NamedTuple):
    """Steps, series, weights and sequences of one curve, of every point or of bins."""

    t: np.ndarray
    y: np.ndarray
    w: np.ndarray
    sequences: np.ndarray | None


def thinned(t: np.ndarray, y: np.ndarray, w: np.ndarray, sequences: np.ndarray | None = None) -> Thinned:
    """What resampling takes of a curve: every point, or the means of bins where there are too many."""
    bins = bins_of(t)
    if bins is None:
        return Thinned(t, y, w, sequences)
    each = None if sequences is None else mean_values(sequences, w, bins)
    return Thinned(mean_steps(t, bins), mean_values(y, w, bins), weights_of_bins(w, bins), each)


def count_of(t: np.ndarray) -> int:
    """How many points or bins the search takes."""
    bins = bins_of(t)
    return t.size if bins is None else bins.size


def _sizes(t: np.ndarray, bins: np.ndarray) -> np.ndarray:
    return np.diff(np.r_[bins, t.size])
