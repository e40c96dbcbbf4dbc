"""Logarithmic growth, `log`: it never settles."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import SLOWEST, BasisColumn, first_positive
from massact.fit.forms.form import OffsetForm, Parameter, Unit


def log(t: Numbers, A: Numbers, tau: Numbers, K: Numbers) -> np.ndarray:
    """f = A log(1 + t / tau) + K: logarithmic growth from K, tau in steps.

    Limits: the line K + (A / tau) t for t << tau. It never settles: extrapolations are unbounded. Eq. 14 at beta = 0.

    >>> float(log(0.0, A=2.0, tau=10.0, K=3.0))
    3.0
    """
    t, A, tau, K = floats(t, A, tau, K)
    with np.errstate(all="ignore"):
        return np.asarray(A * np.log1p(t / tau) + K)


def log_gradient(t: Numbers, A: Numbers, tau: Numbers, K: Numbers) -> tuple[np.ndarray, ...]:
    """Derivatives with respect to A, tau, K."""
    t, A, tau, K = floats(t, A, tau, K)
    with np.errstate(all="ignore"):
        return floats(np.log1p(t / tau), -A * t / (tau * (tau + t)), np.ones_like(t + K))


def log_column(t: np.ndarray, q: np.ndarray) -> np.ndarray:
    """log(1 + q t) / q, which is t at q = 0."""
    return np.where(q == 0, t, np.log1p(q * t) / np.where(q == 0, 1.0, q))


class Log(OffsetForm):
    """`log` with q = 1 / tau: columns 1, log(1 + q t) / q, which is t at q = 0."""

    name = "log"
    title = "log growth"
    colour = "#7f8790"
    formula = "A log(1 + t / tau) + K"
    signature = (
        Parameter("A", Unit.VALUES, signed=True),
        Parameter("tau", Unit.STEPS),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (5.0, 300.0, 2.0)
    value = staticmethod(log)
    gradient = staticmethod(log_gradient)
    per_decade = (30,)
    zero = (True,)
    decay = None
    extrapolated = frozenset()
    with_plateau = frozenset()
    monotone = True
    family = "eq9"
    special_case_of = "eq14"

    def box(self, t: np.ndarray) -> np.ndarray:
        """Tau from a hundredth of the first step after 0 to 1e4 T."""
        return np.array([[0.1 * SLOWEST / t[-1], 100 / first_positive(t)]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        q = rates[0][:, None]
        return [np.ones((1, t.size)), log_column(t, q)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        q = rates[0][:, None]
        return [a[:, 1:2] * np.where(q == 0, 0.0, t / (1 + q * t) - columns[1])]

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        return np.stack([a[:, 1] / rates[0], 1 / rates[0], a[:, 0]], axis=1)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        return 1 / values[:, 1][None]
