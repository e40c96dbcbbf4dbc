"""A form of one's own: a hyperbolic tangent. CONTRIBUTING.md says how to make it known."""

import numpy as np

from massact.fit.forms import Edge, Form, Parameter, Unit
from massact.fit.forms.basis import first_positive
from massact.fit.status import FitStatus


def saturation(t, A, tau, K):
    return A * np.tanh(np.asarray(t) / tau) + K


def saturation_gradient(t, A, tau, K):
    share = np.tanh(t / tau)
    return share, -A * t / tau**2 * (1 - share**2), np.ones_like(share + K)


class Saturation(Form):
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
    constant = True
    per_decade = (20,)
    zero = (False,)
    edges = (Edge(0, "low", FitStatus.AT_EDGE_RATE), Edge(0, "high", FitStatus.AT_EDGE_RATE))
    meaningless = {FitStatus.AT_EDGE_RATE: frozenset({"A", "tau"}), FitStatus.CONSTANT: frozenset({"A", "tau"})}
    extrapolated = frozenset()
    with_plateau = frozenset({"A", "tau"})
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

    def slowest_rate(self, values):
        return np.full(len(values), np.nan)

    def peak_step(self, values, first):
        return np.full(len(values), np.nan)
