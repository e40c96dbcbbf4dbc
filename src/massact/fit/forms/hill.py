"""Hill's curve, `hill`: a logistic in log t."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import BasisColumn, first_positive
from massact.fit.forms.form import OffsetForm, Parameter, Unit


def hill(t: Numbers, A: Numbers, t_half: Numbers, n: Numbers, K: Numbers) -> np.ndarray:
    """f = A / (1 + (t_half / t)^n) + K: Hill's curve, a logistic in log t; t_half in steps (Hill 1910).

    Limits: f(0) = K, f -> A + K for t -> inf, halfway at t_half; a jump there as n -> inf.

    >>> float(hill(7.0, A=2.0, t_half=7.0, n=3.0, K=1.0))
    2.0
    """
    t, A, t_half, n, K = floats(t, A, t_half, n, K)
    return np.asarray(A * hill_share(t, t_half, n)[0] + K)


def hill_gradient(t: Numbers, A: Numbers, t_half: Numbers, n: Numbers, K: Numbers) -> tuple[np.ndarray, ...]:
    """Derivatives with respect to A, t_half, n, K."""
    t, A, t_half, n, K = floats(t, A, t_half, n, K)
    share, by_log, by_n = hill_share(t, t_half, n)
    return floats(share, -A * n / t_half * by_log, A * by_n, np.ones_like(share + K))


def hill_share(t: np.ndarray, t_half: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, ...]:
    """Hill's share h, h (1 - h) = dh / d(n log t), and dh / dn; their limits at t = 0."""
    with np.errstate(all="ignore"):
        z = np.log(t / t_half)
        share = 1 / (1 + np.exp(-n * z))
        slope = share / (1 + np.exp(n * z))
        return floats(share, slope, np.where(slope > 0, z, 0.0) * slope)


def share_column(t: np.ndarray, h: np.ndarray, n: np.ndarray) -> np.ndarray:
    """1 / (1 + (h t)^-n)."""
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / (1 + np.exp(-n * np.log(h * t)))


def share_slopes(t: np.ndarray, h: np.ndarray, n: np.ndarray, share: np.ndarray, a: np.ndarray) -> list[np.ndarray]:
    """Derivatives a dh / d log(h) and a dh / d log(n)."""
    with np.errstate(divide="ignore"):
        slope = a * n * share * (1 - share)
        return [slope, slope * np.where(slope != 0, np.log(h * t), 0.0)]


class Hill(OffsetForm):
    """`hill` with h = 1 / t_half and n: columns 1, 1 / (1 + (h t)^-n)."""

    name = "hill"
    title = "Hill"
    colour = "#a5a02c"
    formula = "A / (1 + (t_half / t)^n) + K"
    signature = (
        Parameter("A", Unit.VALUES, signed=True),
        Parameter("t_half", Unit.STEPS),
        Parameter("n", Unit.NONE),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (40.0, 5000.0, 1.5, 3.0)
    value = staticmethod(hill)
    gradient = staticmethod(hill_gradient)
    per_decade = (10, 10)
    zero = (False, False)
    decay = None
    extrapolated = frozenset()
    with_plateau = frozenset({"A", "t_half", "n"})
    monotone = True
    family = "hill"

    def box(self, t: np.ndarray) -> np.ndarray:
        """t_half from half the first step after 0 to 10 T; n from 0.1 to 20."""
        return np.array([[0.1 / t[-1], 2 / first_positive(t)], [0.1, 20.0]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        h, n = rates[:2, :, None]
        return [np.ones((1, t.size)), share_column(t, h, n)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        h, n = rates[:2, :, None]
        return share_slopes(t, h, n, columns[1], a[:, 1:2])

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        return np.stack([a[:, 1], 1 / rates[0], rates[1], a[:, 0]], axis=1)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        return np.stack([1 / values[:, 1], values[:, 2]])


HILL = Hill()
