"""A family of curves as the engine sees it: a separable least-squares problem with few nonlinear rates.

f(t) = sum_j a_j phi_j(t; rates). The columns phi depend only on t and one to three rates, so all curves share one scan
over the rates. Descents step in the logarithms of the rates. A rate of exactly 0 gives the limit curve. It stays 0,
because its logarithmic derivative is 0: edges of the family need no code of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from jaxtyping import Float

Rates = Float[np.ndarray, "rate problem"]
BasisColumn = np.ndarray  # (problem, step), or (1, step) where it does not depend on the rates
Values = Float[np.ndarray, "curve parameter"]

SLOWEST = 1e-3  # smallest b T and smallest T / tau that are searched, besides the exact limit 0


class Basis(ABC):
    """A family whose rates are searched inside `box`, first on a grid of `per_decade` nodes per decade.

    A subclass states the class variables and the abstract methods.
    """

    constant: ClassVar[bool]
    """Whether the first column is 1, so that constants are curves of the family."""
    per_decade: ClassVar[tuple[int, ...]]
    """Nodes per decade of each rate."""
    zero: ClassVar[tuple[bool, ...]]
    """Whether each rate may be 0. If so, its nodes are 0 and those from ten times the lower bound upwards."""
    valley: ClassVar[bool] = False
    """Whether falling curves have minima that are closer together than the nodes of the second rate."""

    @property
    def kernel(self) -> float | None:
        """The sign of log gamma in the compiled search of Eqs. 9 and 14, 0 if it is free; None: searched by numpy."""
        return None

    @abstractmethod
    def box(self, t: np.ndarray) -> np.ndarray:
        """Bounds (rate, 2) of the rates for steps t (step,)."""

    @abstractmethod
    def columns(self, t: np.ndarray, rates: Rates) -> list[BasisColumn]:
        """The columns phi_j at t."""

    @abstractmethod
    def slopes(self, t: np.ndarray, rates: Rates, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        """The derivatives d f / d log rate at coefficients a (problem, j), given the columns at these rates."""

    @abstractmethod
    def parameters_of(self, a: np.ndarray, rates: Rates, first: float) -> Values:
        """Parameters that draw the curves of coefficients a (curve, j) and rates > 0; `first` is the first step."""

    def grid(self, t: np.ndarray) -> list[np.ndarray]:
        """Nodes of each rate, even in its logarithm, with the exact limit 0 if the rate may be 0."""
        out = []
        for (low, high), density, zero in zip(self.box(t), self.per_decade, self.zero, strict=True):
            inner = _nodes(10 * low if zero else low, high, density)
            out.append(np.r_[0.0, inner] if zero else inner)
        return out

    def clip(self, box: np.ndarray, rates: Rates) -> np.ndarray:
        """Rates moved into their bounds; a rate that may be 0 stays 0."""
        inside = np.minimum(np.maximum(rates, box[:, :1]), box[:, 1:])
        for row, rate, zero in zip(inside, rates, self.zero, strict=True):
            if zero:
                row[rate == 0] = 0.0
        return inside


class Limit(Basis):
    """The boundary of what the parameters of a form can draw: a family with fewer coefficients and the same rates."""

    @abstractmethod
    def near(self, a: np.ndarray, rates: Rates) -> Rates:
        """Rates where the limit comes near the curves of the form with coefficients a; NaN where it does not."""


def first_positive(t: np.ndarray) -> float:
    """The first step that is not 0."""
    return float(t[1] if t[0] == 0 else t[0])


def _nodes(low: float, high: float, per_decade: int) -> np.ndarray:
    return np.geomspace(low, high, max(2, int(np.ceil(np.log10(high / low) * per_decade)) + 1))
