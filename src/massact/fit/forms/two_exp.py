"""Two relaxations, `two_exp`."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import SLOWEST, BasisColumn, first_positive
from massact.fit.forms.form import Decay, OffsetForm, Parameter, Unit


def two_exp(t: Numbers, A1: Numbers, beta1: Numbers, A2: Numbers, beta2: Numbers, K: Numbers) -> np.ndarray:
    """f = A1 exp(-beta1 t) + A2 exp(-beta2 t) + K: two relaxations, beta1 the slower, per step.

    Limits: f -> K for t -> inf; a critically damped step as beta2 -> beta1; an exponential and a line at beta1 = 0.

    >>> float(two_exp(0.0, A1=2.0, beta1=0.1, A2=-1.0, beta2=1.0, K=3.0))
    4.0
    """
    t, A1, beta1, A2, beta2, K = floats(t, A1, beta1, A2, beta2, K)
    with np.errstate(all="ignore"):
        return np.asarray(A1 * np.exp(-beta1 * t) + A2 * np.exp(-beta2 * t) + K)


def two_exp_gradient(
    t: Numbers, A1: Numbers, beta1: Numbers, A2: Numbers, beta2: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """Derivatives with respect to A1, beta1, A2, beta2, K."""
    t, A1, beta1, A2, beta2, K = floats(t, A1, beta1, A2, beta2, K)
    with np.errstate(all="ignore"):
        slow, fast = np.exp(-beta1 * t), np.exp(-beta2 * t)
        return floats(slow, -A1 * t * slow, fast, -A2 * t * fast, np.ones_like(slow + fast + K))


class TwoExp(OffsetForm):
    """`two_exp` with p = beta1 and r = beta2 / beta1 > 1: columns 1, (1 - e^{-pt}) / p, (1 - e^{-rpt}) / (rp)."""

    name = "two_exp"
    title = "two exponentials"
    colour = "#c2453d"
    formula = "A1 exp(-beta1 t) + A2 exp(-beta2 t) + K"
    signature = (
        Parameter("A1", Unit.VALUES, signed=True),
        Parameter("beta1", Unit.PER_STEP),
        Parameter("A2", Unit.VALUES, signed=True),
        Parameter("beta2", Unit.PER_STEP),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (40.0, 1e-05, -30.0, 0.001, 5.0)
    value = staticmethod(two_exp)
    gradient = staticmethod(two_exp_gradient)
    per_decade = (8, 8)
    zero = (False, False)
    decay = Decay("beta1", rate=0)
    extrapolated = frozenset({"A1", "beta1", "K"})
    with_plateau = frozenset({"A1", "beta1", "K"})
    family = "two_exp"
    rival_margin = -4.0  # noise bends its settled curves: it must fit better than a form to dispute its plateau

    def box(self, t: np.ndarray) -> np.ndarray:
        """Beta1 from 1e-3 / T to 10 per first step; the ratio from 1.05, almost critically damped, to 1e6."""
        return np.array([[SLOWEST / t[-1], 10 / first_positive(t)], [1.05, 1e6]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        p, r = rates[:, :, None]
        return [np.ones((1, t.size)), -np.expm1(-p * t) / p, -np.expm1(-r * p * t) / (r * p)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        p, r = rates[:, :, None]
        slow = a[:, 1:2] * (t * np.exp(-p * t) - columns[1])
        fast = a[:, 2:3] * (t * np.exp(-r * p * t) - columns[2])
        return [slow + fast, fast]

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        p, fast = rates[0], rates[0] * rates[1]
        return np.stack([-a[:, 1] / p, p, -a[:, 2] / fast, fast, a[:, 0] + a[:, 1] / p + a[:, 2] / fast], axis=1)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        slow, fast = np.sort(values[:, [1, 3]], axis=1).T
        return np.stack([slow, fast / slow])
