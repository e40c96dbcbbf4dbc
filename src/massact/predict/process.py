"""A Gaussian process as it is stored: its hyperparameters, and its mean at new layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True)
class Kernels:
    """The smooth part of the covariance of two layers, a1^2 k(x, x') + a2^2 k(l, l') + a3^2 k(x, x') k(l, l').

    Attributes
    ----------
    architecture : float (factor,)
        Length scales of the architecture's columns.
    layer, product : float (place,)
        Length scales of the layer's coordinates: alone, and in the product.
    amplitudes : float (3,)
        a1, a2, a3.
    """

    architecture: Float[ndarray, " factor"]
    layer: Float[ndarray, " place"]
    product: Float[ndarray, " place"]
    amplitudes: Float[ndarray, " 3"]

    def terms(
        self,
        x: Float[ndarray, "row factor"],
        layer: Float[ndarray, "row place"],
        other_x: Float[ndarray, "other factor"],
        other_layer: Float[ndarray, "other place"],
    ) -> tuple[Float[ndarray, "row other"], Float[ndarray, "row other"], Float[ndarray, "row other"]]:
        """The three terms of the covariance between rows and other rows."""
        by_architecture = squared_exponential(x / self.architecture, other_x / self.architecture)
        by_layer = squared_exponential(layer / self.layer, other_layer / self.layer)
        in_product = squared_exponential(layer / self.product, other_layer / self.product)
        one, two, three = self.amplitudes**2
        return one * by_architecture, two * by_layer, three * by_architecture * in_product


@dataclass(frozen=True)
class Process:
    """The posterior mean of one target.

    Attributes
    ----------
    kernels : Kernels
    alpha : float (row,)
        The inverse covariance of the training rows times their standardised targets.
    mean, unit
        Mean and standard deviation of the target.
    """

    kernels: Kernels
    alpha: Float[ndarray, " row"]
    mean: float
    unit: float

    def at(
        self,
        x: Float[ndarray, "new factor"],
        layer: Float[ndarray, "new place"],
        known_x: Float[ndarray, "row factor"],
        known_layer: Float[ndarray, "row place"],
    ) -> Float[ndarray, " new"]:
        """The mean at new layers. Coordinates are standardised as those of the training rows."""
        return self.mean + self.unit * (sum(self.kernels.terms(x, layer, known_x, known_layer)) @ self.alpha)


def squared_exponential(x: Float[ndarray, "row c"], y: Float[ndarray, "other c"]) -> Float[ndarray, "row other"]:
    """exp(-|x - y|^2 / 2) for each pair of rows."""
    square = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
    return np.exp(-0.5 * np.maximum(square, 0.0))
