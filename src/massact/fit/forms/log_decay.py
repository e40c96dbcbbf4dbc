"""Logarithmic growth that decays back to where it began, `log_decay`."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import SLOWEST, BasisColumn, first_positive
from massact.fit.forms.form import Decay, OffsetForm, Parameter, Unit
from massact.fit.forms.log import log_column


def log_decay(t: Numbers, A: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> np.ndarray:
    """f = A exp(-beta t) log(1 + t / tau0) + K: logarithmic growth that decays back to where it began.

    Limits: f(0) = K and f -> K for t -> inf; `log` at beta = 0. Eq. 14 with A2 = -A1 log(tau0), four parameters.

    >>> float(log_decay(0.0, A=2.0, beta=0.1, tau0=10.0, K=3.0))
    3.0
    """
    t, A, beta, tau0, K = floats(t, A, beta, tau0, K)
    with np.errstate(all="ignore"):
        return np.asarray(A * np.exp(-beta * t) * np.log1p(t / tau0) + K)


def log_decay_gradient(t: Numbers, A: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> tuple[np.ndarray, ...]:
    """Derivatives with respect to A, beta, tau0, K."""
    t, A, beta, tau0, K = floats(t, A, beta, tau0, K)
    with np.errstate(all="ignore"):
        decay, growth = np.exp(-beta * t), np.log1p(t / tau0)
        shape = decay * growth
        return floats(shape, -A * t * shape, -A * decay * t / (tau0 * (tau0 + t)), np.ones_like(shape + K))


class LogDecay(OffsetForm):
    """`log_decay` with p = beta, q = 1 / tau0: columns 1, e^{-pt} log(1 + q t) / q, exact at p = 0 and at q = 0."""

    name = "log_decay"
    title = "log growth with decay"
    colour = "#8a68c9"
    formula = "A exp(-beta t) log(1 + t / tau0) + K"
    signature = (
        Parameter("A", Unit.VALUES, signed=True),
        Parameter("beta", Unit.PER_STEP),
        Parameter("tau0", Unit.STEPS),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (9.0, 2e-05, 300.0, 2.0)
    value = staticmethod(log_decay)
    gradient = staticmethod(log_decay_gradient)
    per_decade = (6, 6)
    zero = (True, True)
    decay = Decay("beta", rate=0)
    extrapolated = frozenset({"beta"})
    with_plateau = frozenset({"beta"})
    family = "eq9"
    special_case_of = "eq14"

    def box(self, t: np.ndarray) -> np.ndarray:
        """Beta from 1e-4 / T to 3 per first step, tau0 from a hundredth of that step to 1e4 T."""
        low = 0.1 * SLOWEST / t[-1]
        return np.array([[low, 3 / first_positive(t)], [low, 100 / first_positive(t)]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        p, q = rates[:, :, None]
        return [np.ones((1, t.size)), np.exp(-p * t) * log_column(t, q)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        p, q = rates[:, :, None]
        by_q = np.where(q == 0, 0.0, np.exp(-p * t) * t / (1 + q * t) - columns[1])
        return [-a[:, 1:2] * p * t * columns[1], a[:, 1:2] * by_q]

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        return np.stack([a[:, 1] / rates[1], rates[0], 1 / rates[1], a[:, 0]], axis=1)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        return np.stack([values[:, 1], 1 / values[:, 2]])
