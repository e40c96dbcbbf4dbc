"""Target scales: the paper's transforms, fitted on training rows only, with inverses that cannot overflow."""

from __future__ import annotations

import warnings
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_LARGEST_LOG = 690.0  # its exponential is still finite


@runtime_checkable
class Scale(Protocol):
    """A one-dimensional, invertible change of scale."""

    def fit(self, y: Float[ndarray, " row"]) -> None:
        """Learn from training rows."""
        ...

    def forward(self, y: Float[ndarray, " row"]) -> Float[ndarray, " row"]:
        """Transform to the regressor's scale."""
        ...

    def inverse(self, z: Float[ndarray, " row"]) -> Float[ndarray, " row"]:
        """Transform back to the target's scale; always finite."""
        ...


class SignedLog:
    """sign(y) log(1 + |y|): the paper's log1p for positive values, extended to all others."""

    def fit(self, y: Float[ndarray, " row"]) -> None:
        """Nothing to learn."""

    def forward(self, y: Float[ndarray, " row"]) -> Float[ndarray, " row"]:
        """sign(y) log(1 + |y|)."""
        return np.sign(y) * np.log1p(np.abs(y))

    def inverse(self, z: Float[ndarray, " row"]) -> Float[ndarray, " row"]:
        """sign(z) (exp|z| - 1)."""
        return np.sign(z) * np.expm1(np.minimum(np.abs(z), _LARGEST_LOG))


class NoTransform:
    """The identity."""

    def fit(self, y: Float[ndarray, " row"]) -> None:
        """Nothing to learn."""

    def forward(self, y: Float[ndarray, " row"]) -> Float[ndarray, " row"]:
        """Return y unchanged."""
        return y

    def inverse(self, z: Float[ndarray, " row"]) -> Float[ndarray, " row"]:
        """Return z unchanged."""
        return z


class YeoJohnson:
    """The power transform of Yeo and Johnson (2000), as the paper uses for K.

    Values are divided by their largest magnitude first. Before inversion, values are clipped to the transformed range
    of the training rows, extended by its own width on both sides.
    """

    def fit(self, y: Float[ndarray, " row"]) -> None:
        """Learn the power."""
        from sklearn.preprocessing import PowerTransformer

        self._unit = float(np.max(np.abs(y))) or 1.0
        self._power = PowerTransformer(method="yeo-johnson", standardize=True).fit(y[:, None] / self._unit)
        z = np.asarray(self._power.transform(y[:, None] / self._unit))[:, 0]
        self._low, self._high, self._centre = float(z.min()), float(z.max()), float(np.median(y))

    def forward(self, y: Float[ndarray, " row"]) -> Float[ndarray, " row"]:
        """Transform and standardise."""
        return np.asarray(self._power.transform(y[:, None] / self._unit))[:, 0]

    def inverse(self, z: Float[ndarray, " row"]) -> Float[ndarray, " row"]:
        """Transform back; the training median where the power has no inverse."""
        span = self._high - self._low
        clipped = np.clip(z, self._low - span, self._high + span)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values without an inverse are handled below
            y = np.asarray(self._power.inverse_transform(clipped[:, None]))[:, 0] * self._unit
        return np.where(np.isfinite(y), y, self._centre)


def scale_of(target: str) -> Scale:
    """The scale of a target: Yeo-Johnson for K, the identity for shares, signed log for all others."""
    if target == "K":
        return YeoJohnson()
    return NoTransform() if target in ("decay_share", "zeta") else SignedLog()
