"""Saturation by a power law, `power`."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import SLOWEST, BasisColumn, first_positive
from massact.fit.forms.form import OffsetForm, Parameter, Unit


def power(t: Numbers, A: Numbers, tau: Numbers, n: Numbers, K: Numbers) -> np.ndarray:
    """f = A (1 - (1 + t / tau)^-n) + K: saturation by a power law, tau in steps.

    Limits: f(0) = K, f -> A + K for t -> inf as t^-n; `log` as n -> 0; an exponential as n, tau -> inf together.

    >>> float(power(10.0, A=2.0, tau=10.0, n=1.0, K=1.0))
    2.0
    """
    t, A, tau, n, K = floats(t, A, tau, n, K)
    with np.errstate(all="ignore"):
        return np.asarray(-A * np.expm1(-n * np.log1p(t / tau)) + K)


def power_gradient(t: Numbers, A: Numbers, tau: Numbers, n: Numbers, K: Numbers) -> tuple[np.ndarray, ...]:
    """Derivatives with respect to A, tau, n, K."""
    t, A, tau, n, K = floats(t, A, tau, n, K)
    with np.errstate(all="ignore"):
        growth = np.log1p(t / tau)
        rest = np.exp(-n * growth)
        return floats(1 - rest, -A * n * rest * t / (tau * (tau + t)), A * rest * growth, np.ones_like(rest + K))


class Power(OffsetForm):
    """`power` with q = 1 / tau and n: columns 1, (1 - (1 + q t)^-n) / n."""

    name = "power"
    title = "power saturation"
    colour = "#5b6c2f"
    formula = "A (1 - (1 + t / tau)^-n) + K"
    signature = (
        Parameter("A", Unit.VALUES, signed=True),
        Parameter("tau", Unit.STEPS),
        Parameter("n", Unit.NONE),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (40.0, 500.0, 0.4, 3.0)
    value = staticmethod(power)
    gradient = staticmethod(power_gradient)
    per_decade = (8, 5)
    zero = (False, False)
    decay = None
    extrapolated = frozenset()
    with_plateau = frozenset({"A", "tau", "n"})
    monotone = True
    family = "power"

    def box(self, t: np.ndarray) -> np.ndarray:
        """Tau from a hundredth of the first step after 0 to 1e3 T; n from 1e-3, almost `log`, to 100."""
        return np.array([[SLOWEST / t[-1], 100 / first_positive(t)], [1e-3, 100.0]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        q, n = rates[:, :, None]
        return [np.ones((1, t.size)), -np.expm1(-n * np.log1p(q * t)) / n]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        q, n = rates[:, :, None]
        growth = np.log1p(q * t)
        rest = np.exp(-n * growth)
        return [a[:, 1:2] * rest * q * t / (1 + q * t), a[:, 1:2] * (growth * rest - columns[1])]

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        return np.stack([a[:, 1] / rates[1], 1 / rates[0], rates[1], a[:, 0]], axis=1)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        return np.stack([1 / values[:, 1], values[:, 2]])
