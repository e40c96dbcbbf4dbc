"""The first-order step response, `step1`."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import BasisColumn, first_positive
from massact.fit.forms.form import Edge, Form, Line, Parameter, Unit
from massact.fit.status import FitStatus


def step1(t: Numbers, K: Numbers, tau: Numbers) -> np.ndarray:
    """f = K (1 - exp(-t / tau)), the first-order step response; tau in steps.

    Limits: f(0) = 0, so series that start elsewhere do not fit; f -> K for t -> inf; (K / tau) t for t << tau.

    >>> float(step1(0.0, K=2.0, tau=10.0))
    0.0
    """
    t, K, tau = floats(t, K, tau)
    with np.errstate(all="ignore"):
        return np.asarray(-K * np.expm1(-t / tau))


def step1_gradient(t: Numbers, K: Numbers, tau: Numbers) -> tuple[np.ndarray, ...]:
    """Derivatives with respect to K, tau."""
    t, K, tau = floats(t, K, tau)
    with np.errstate(all="ignore"):
        return floats(-np.expm1(-t / tau), -K * t / tau**2 * np.exp(-t / tau))


class Step1(Form):
    """`step1` with p = 1 / tau: column (1 - e^{-pt}) / p, which is t at p = 0."""

    name = "step1"
    title = "first-order step"
    colour = "#d9822b"
    line = Line(1.1, (1, 1.2))
    formula = "K (1 - exp(-t / tau))"
    signature = (Parameter("K", Unit.VALUES, signed=True), Parameter("tau", Unit.STEPS))
    example = (30.0, 2000.0)
    value = staticmethod(step1)
    gradient = staticmethod(step1_gradient)
    constant = False
    per_decade = (30,)
    zero = (True,)
    edges = (Edge(0, "low", FitStatus.AT_EDGE_B_ZERO), Edge(0, "high", FitStatus.AT_EDGE_B_CEILING))
    meaningless = {
        FitStatus.AT_EDGE_B_ZERO: frozenset({"K", "tau"}),
        FitStatus.AT_EDGE_B_CEILING: frozenset({"tau"}),
        FitStatus.CONSTANT: frozenset({"tau"}),
    }
    extrapolated = frozenset()
    with_plateau = frozenset({"K", "tau"})
    monotone = True
    family = "step1"

    def box(self, t: np.ndarray) -> np.ndarray:
        """Tau from a tenth of the first step after 0 to 1e4 T."""
        return np.array([[1e-4 / t[-1], 10 / first_positive(t)]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        p = rates[0][:, None]
        return [np.where(p == 0, t, -np.expm1(-p * t) / np.where(p == 0, 1.0, p))]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        p = rates[0][:, None]
        return [a[:, :1] * np.where(p == 0, 0.0, t * np.exp(-p * t) - columns[0])]

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        return np.stack([a[:, 0] / rates[0], 1 / rates[0]], axis=1)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        return 1 / values[:, 1][None]

    def slowest_rate(self, values: np.ndarray) -> np.ndarray:
        """1 / tau."""
        with np.errstate(all="ignore"):
            return 1 / values[:, 1]

    def end_slope(self, values: np.ndarray, last: float) -> np.ndarray:
        K, tau = values.T
        with np.errstate(all="ignore"):
            return K * last / tau * np.exp(-last / tau)
