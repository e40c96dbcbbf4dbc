"""The baseline that copies the nearest architecture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from sklearn.base import BaseEstimator, RegressorMixin


class NearestArchitecture(RegressorMixin, BaseEstimator):
    """Predicts the value of the nearest architecture, at the layer of the nearest relative depth.

    The distance between architectures is Euclidean, on their standardised features. Those of the layer do not count.
    Among layers and seeds of equal depth, the mean is taken.

    Parameters
    ----------
    layer
        The columns that differ between the layers of one architecture. The first of them is the relative depth.
    """

    def __init__(self, *, layer: Sequence[int] = (0,)) -> None:
        self.layer = layer

    def fit(self, x: Float[ndarray, "row feature"], y: Float[ndarray, " row"]) -> NearestArchitecture:
        """Keep the training rows."""
        self.n_features_in_ = x.shape[1]
        self._depth = self.layer[0] % x.shape[1] if len(self.layer) else None
        of_layer = {column % x.shape[1] for column in self.layer}
        self._columns = [column for column in range(x.shape[1]) if column not in of_layer]
        self._spread = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
        self._x, self._y = x / self._spread, y
        return self

    def predict(self, x: Float[ndarray, "row feature"]) -> Float[ndarray, " row"]:
        """The training value of each row's nearest layer."""
        return np.array([self._nearest(row) for row in x / self._spread])

    def _nearest(self, row: Float[ndarray, " feature"]) -> float:
        distance = ((self._x[:, self._columns] - row[self._columns]) ** 2).sum(axis=1)
        near = _closest(distance)
        if self._depth is not None:
            near = near[_closest(np.abs(self._x[near, self._depth] - row[self._depth]))]
        return float(self._y[near].mean())


def _closest(distance: Float[ndarray, " row"]) -> ndarray:
    """The rows at the smallest distance, up to rounding."""
    return np.flatnonzero(distance <= distance.min() * (1 + 1e-9) + 1e-12)
