"""Example of a form defined outside massact: a hyperbolic tangent. CONTRIBUTING.md says how to register it."""

import numpy as np

from massact.fit.forms import OffsetForm, Parameter, Unit
from massact.fit.forms.basis import first_positive


def saturation(t, A, tau, K):
    return A * np.tanh(np.asarray(t) / tau) + K


def saturation_gradient(t, A, tau, K):
    share = np.tanh(t / tau)
    return share, -A * t / tau**2 * (1 - share**2), np.ones_like(share + K)


class Saturation(OffsetForm):
    """A tanh(t / tau) + K, with q = 1 / tau: columns 1, tanh(q t)."""

    name = "saturation"
    title = "hyperbolic tangent"
    colour = "#123456"
    formula = "A tanh(t / tau) + K"
    signature = (
        Parameter("A", Unit.VALUES, signed=True),
        Parameter("tau", Unit.STEPS),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (20.0, 9e3, 3.0)
    value = staticmethod(saturation)
    gradient = staticmethod(saturation_gradient)
    per_decade = (20,)
    zero = (False,)
    decay = None
    extrapolated = frozenset()
    with_plateau = frozenset({"A", "tau"})
    monotone = True
    family = "saturation"

    def box(self, t):
        return np.array([[0.01 / t[-1], 10 / first_positive(t)]])

    def columns(self, t, rates):
        return [np.ones((1, t.size)), np.tanh(rates[0][:, None] * t)]

    def slopes(self, t, rates, columns, a):
        q = rates[0][:, None]
        return [a[:, 1:2] * q * t * (1 - columns[1] ** 2)]

    def parameters_of(self, a, rates, first):
        return np.stack([a[:, 1], 1 / rates[0], a[:, 0]], axis=1)

    def rates_of(self, values, first):
        return 1 / values[:, 1][None]
