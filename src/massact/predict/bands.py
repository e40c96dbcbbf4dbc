"""Conformal bands from residuals of held-out design points, for a point, a layer's curve, or a whole training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

# What a band holds with its stated probability.
POINT = "point"  # the value of one layer at one step
CURVE = "curve"  # all steps of one layer at once
TRAINING = "training"  # all layers and steps of one training at once
HOLDS = (POINT, CURVE, TRAINING)


def group_quantile(scores: Float[ndarray, " row"], groups: Int[ndarray, " row"], level: float) -> float:
    """The conformal quantile of scores whose groups, not rows, are exchangeable.

    Each group has the same weight, spread evenly over its rows, and a further group has an infinite score: it stands
    for the new one (Barber, Candes, Ramdas and Tibshirani 2021, with groups as units).

    Returns
    -------
    The smallest score with a weight of at least `level` at or below it. Infinite if the groups are too few for `level`.

    >>> group_quantile(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2]), 0.75)
    3.0
    >>> group_quantile(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2]), 0.8)
    inf
    """
    if not len(scores):
        return float("inf")
    _, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    weight = np.cumsum(1 / sizes[group_of_row][order]) / (len(sizes) + 1)
    at = int(np.searchsorted(weight, level - 1e-9))
    return float(scores[order][at]) if at < len(scores) else float("inf")


@dataclass(frozen=True)
class HeldOut:
    """Residuals of log curves whose design points were held out.

    Attributes
    ----------
    residuals : float (row, step)
        Measured minus predicted, natural logarithm.
    training, design : int (row,)
        The row's training and design point.
    layout : bool (row,)
        Whether the row's architecture has parallel residual branches. Bands are calibrated within a layout.
    """

    residuals: Float[ndarray, "row step"]
    training: Int[ndarray, " row"]
    design: Int[ndarray, " row"]
    layout: Bool[ndarray, " row"]

    def half_widths(self, level: float, holds: str, layout: bool) -> Float[ndarray, " step"]:
        """The half-width of the band at each step, in natural logarithms, for a new architecture of a layout.

        A `point` band has its own quantile at each step. The others scale the root mean square residual of each step
        by one quantile: that of the largest scaled residual over the layer's curve, or over the training.
        """
        rows = self.layout == layout
        residuals, design = np.abs(self.residuals[rows]), self.design[rows]
        if holds == POINT:
            return np.array([group_quantile(column, design, level) for column in residuals.T])
        scale = self.scale(layout)
        largest = (residuals / scale).max(axis=1) if len(residuals) else np.empty(0)
        if holds == TRAINING:
            trainings, first, number = np.unique(self.training[rows], return_index=True, return_inverse=True)
            by_training = np.full(len(trainings), -np.inf)
            np.maximum.at(by_training, number, largest)
            largest, design = by_training, design[first]
        return scale * group_quantile(largest, design, level)

    def pooled(self) -> HeldOut:
        """The same residuals, all of one layout."""
        return replace(self, layout=np.ones(len(self.layout), dtype=bool))

    def scale(self, layout: bool) -> Float[ndarray, " step"]:
        """Root mean square residual at each step, each design point weighing the same."""
        rows = self.layout == layout
        if not rows.any():
            return np.ones(self.residuals.shape[1])
        _, number, sizes = np.unique(self.design[rows], return_inverse=True, return_counts=True)
        mean = np.average(self.residuals[rows] ** 2, axis=0, weights=1 / sizes[number])
        return np.sqrt(np.maximum(mean, 1e-12))


def interval_score(
    actual: Float[ndarray, "*axes"], lower: Float[ndarray, "*axes"], upper: Float[ndarray, "*axes"], level: float
) -> Float[ndarray, "*axes"]:
    """Width plus 2 / (1 - level) times the distance outside (Gneiting and Raftery 2007, eq. 43). Smaller is better."""
    penalty = 2 / (1 - level)
    outside = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
    return (upper - lower) + penalty * outside
