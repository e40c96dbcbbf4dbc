"""A lognormal bump on logarithmic growth, `bump`."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import BasisColumn, first_positive
from massact.fit.forms.form import OffsetForm, Parameter, Unit


def bump(t: Numbers, A: Numbers, t_bump: Numbers, width: Numbers, B: Numbers, K: Numbers) -> np.ndarray:
    """f = A exp(-log(t / t_bump)^2 / (2 width^2)) + B log(1 + t) + K: a lognormal bump on logarithmic growth.

    t_bump in steps, width in e-folds of the step. Limits: f(0) = K; log growth alone far from t_bump.

    >>> float(bump(7.0, A=2.0, t_bump=7.0, width=1.0, B=0.0, K=1.0))
    3.0
    """
    t, A, t_bump, width, B, K = floats(t, A, t_bump, width, B, K)
    return np.asarray(A * _bump(t, t_bump, width)[0] + B * np.log1p(t) + K)


def bump_gradient(
    t: Numbers, A: Numbers, t_bump: Numbers, width: Numbers, B: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """Derivatives with respect to A, t_bump, width, B, K."""
    t, A, t_bump, width, B, K = floats(t, A, t_bump, width, B, K)
    shape, z = _bump(t, t_bump, width)
    one = np.ones_like(shape + B + K)
    return floats(shape, A * shape * z / (width * t_bump), A * shape * z**2 / width, np.log1p(t) * one, one)


def _bump(t: np.ndarray, t_bump: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, ...]:
    """exp(-z^2 / 2) and z = log(t / t_bump) / width, 0 for both at t = 0."""
    with np.errstate(all="ignore"):
        z = np.log(t / t_bump) / width
        shape = np.exp(-(z**2) / 2)
        return floats(shape, np.where(shape > 0, z, 0.0))


class Bump(OffsetForm):
    """`bump` with h = 1 / t_bump and its width: columns 1, exp(-log(h t)^2 / (2 width^2)), log(1 + t)."""

    name = "bump"
    title = "lognormal bump + log"
    colour = "#1f9fa8"
    formula = "A exp(-log(t / t_bump)^2 / (2 width^2)) + B log(1 + t) + K"
    signature = (
        Parameter("A", Unit.VALUES, signed=True),
        Parameter("t_bump", Unit.STEPS),
        Parameter("width", Unit.NONE),
        Parameter("B", Unit.VALUES, signed=True),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (30.0, 20000.0, 1.2, 2.0, 3.0)
    value = staticmethod(bump)
    gradient = staticmethod(bump_gradient)
    per_decade = (10, 12)
    zero = (False, False)
    decay = None
    extrapolated = frozenset()
    with_plateau = frozenset()
    family = "bump"
    rival_margin = 0.0
    scale_free = False

    def box(self, t: np.ndarray) -> np.ndarray:
        """t_bump from half the first step after 0 to 10 T; width from 0.15 to 10 e-folds."""
        return np.array([[0.1 / t[-1], 2 / first_positive(t)], [0.15, 10.0]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        h, width = rates[:, :, None]
        with np.errstate(divide="ignore"):
            return [np.ones((1, t.size)), np.exp(-((np.log(h * t) / width) ** 2) / 2), np.log1p(t)[None]]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        h, width = rates[:, :, None]
        with np.errstate(divide="ignore"):
            z = np.where(columns[1] > 0, np.log(h * t) / width, 0.0)
        return [-a[:, 1:2] * columns[1] * z / width, a[:, 1:2] * columns[1] * z**2]

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        return np.stack([a[:, 1], 1 / rates[0], rates[1], a[:, 2], a[:, 0]], axis=1)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        return np.stack([1 / values[:, 1], values[:, 2]])
