"""Emergence as `hill`, then decay: `hill_decay`."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import SLOWEST, BasisColumn, first_positive
from massact.fit.forms.form import Decay, OffsetForm, Parameter, Unit
from massact.fit.forms.hill import HILL, hill_share, share_column, share_slopes


def hill_decay(t: Numbers, A: Numbers, t_half: Numbers, n: Numbers, beta: Numbers, K: Numbers) -> np.ndarray:
    """f = A exp(-beta t) / (1 + (t_half / t)^n) + K: emergence as `hill`, then decay at rate beta per step.

    Limits: f(0) = K and f -> K for t -> inf; `hill` at beta = 0.

    >>> float(hill_decay(7.0, A=2.0, t_half=7.0, n=3.0, beta=0.0, K=1.0))
    2.0
    """
    t, A, t_half, n, beta, K = floats(t, A, t_half, n, beta, K)
    with np.errstate(all="ignore"):
        return np.asarray(A * np.exp(-beta * t) * hill_share(t, t_half, n)[0] + K)


def hill_decay_gradient(
    t: Numbers, A: Numbers, t_half: Numbers, n: Numbers, beta: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """Derivatives with respect to A, t_half, n, beta, K."""
    t, A, t_half, n, beta, K = floats(t, A, t_half, n, beta, K)
    share, by_log, by_n = hill_share(t, t_half, n)
    with np.errstate(all="ignore"):
        decay = np.exp(-beta * t)
        return floats(
            decay * share,
            -A * n / t_half * decay * by_log,
            A * decay * by_n,
            -A * t * decay * share,
            np.ones_like(decay * share + K),
        )


class HillDecay(OffsetForm):
    """`hill_decay` with h = 1 / t_half, n and p = beta: columns 1, e^{-pt} / (1 + (h t)^-n), exact at p = 0."""

    name = "hill_decay"
    title = "Hill with decay"
    colour = "#8c6d4f"
    formula = "A exp(-beta t) / (1 + (t_half / t)^n) + K"
    signature = (
        Parameter("A", Unit.VALUES, signed=True),
        Parameter("t_half", Unit.STEPS),
        Parameter("n", Unit.NONE),
        Parameter("beta", Unit.PER_STEP),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (40.0, 5000.0, 1.5, 1e-05, 3.0)
    value = staticmethod(hill_decay)
    gradient = staticmethod(hill_decay_gradient)
    per_decade = (6, 5, 5)
    zero = (False, False, True)
    decay = Decay("beta", rate=2)
    extrapolated = frozenset({"beta"})
    with_plateau = frozenset({"A", "beta"})
    family = "hill"
    rival_margin = -4.0  # noise bends its settled curves: it must fit better than a form to dispute its plateau

    def box(self, t: np.ndarray) -> np.ndarray:
        """As `Hill`; beta from 1e-4 / T to 3 per first step after 0."""
        return np.array([*HILL.box(t), [0.1 * SLOWEST / t[-1], 3 / first_positive(t)]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        h, n, p = rates[:, :, None]
        return [np.ones((1, t.size)), np.exp(-p * t) * share_column(t, h, n)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        h, n, p = rates[:, :, None]
        decay = np.exp(-p * t)
        by_h, by_n = share_slopes(t, h, n, share_column(t, h, n), a[:, 1:2])
        return [decay * by_h, decay * by_n, -a[:, 1:2] * p * t * columns[1]]

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        return np.stack([a[:, 1], 1 / rates[0], rates[1], rates[2], a[:, 0]], axis=1)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        return np.stack([1 / values[:, 1], values[:, 2], values[:, 3]])
