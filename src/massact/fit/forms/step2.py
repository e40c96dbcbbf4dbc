"""The second-order step response, `step2`."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import BasisColumn, first_positive
from massact.fit.forms.form import Edge, Form, Line, Parameter, Unit
from massact.fit.status import FitStatus

SERIES_BELOW = 0.05  # angle below which sin(x) - x cos(x) comes from its series


def step2(t: Numbers, K: Numbers, zeta: Numbers, omega: Numbers) -> np.ndarray:
    """Second-order step response with damping `zeta` and natural frequency `omega` per step, from rest at 0 to K.

    f = K (1 - exp(-zeta s) (C + zeta s S)), s = omega t, with C = cos(s r), S = sin(s r) / (s r), r = sqrt(1 - zeta^2)
    for zeta < 1, their hyperbolic twins for zeta > 1, and C = S = 1 at zeta = 1: continuous in zeta, and without
    overflow because for zeta > 1 the growing exponential is merged with the decaying one.

    >>> step2(np.ones(1), K=1.0, zeta=1.0, omega=1.0).round(6)
    array([0.264241])
    """
    t, K, zeta, omega = floats(t, K, zeta, omega)
    with np.errstate(all="ignore"):
        s = np.asarray(omega * t)
        under, over = (step_response(s, zeta, under=side)[0] for side in (True, False))
        return np.asarray(K * np.where(zeta < 1, under, over))


def step2_gradient(t: Numbers, K: Numbers, zeta: Numbers, omega: Numbers) -> tuple[np.ndarray, ...]:
    """Derivatives with respect to K, zeta, omega."""
    t, K, zeta, omega = floats(t, K, zeta, omega)
    with np.errstate(all="ignore"):
        s = np.asarray(omega * t)
        under, over = (step_response(s, zeta, under=side) for side in (True, False))
        response, slope = (np.where(zeta < 1, a, b) for a, b in zip(under, over, strict=True))
        return floats(response, K * step_response_by_zeta(s, zeta), K * slope / omega)


def step_response(s: np.ndarray, zeta: np.ndarray, *, under: bool) -> tuple[np.ndarray, ...]:
    """`step2` of K = 1 at s = omega t, and its derivative d f / d log s, for zeta < 1 (`under`) or zeta >= 1.

    d f / ds is the impulse response s exp(-zeta s) S. The result has no meaning on the other side of zeta = 1.
    """
    if under:
        angle = np.sqrt(np.maximum(1 - zeta**2, 0.0)) * s
        decay, cosine, sine = np.exp(-zeta * s), np.cos(angle), np.sinc(angle / np.pi)
        return floats(1 - decay * (cosine + zeta * s * sine), s**2 * decay * sine)
    root = np.sqrt(np.maximum(zeta**2 - 1, 0.0))
    fast = 2 * root * s
    small = fast < 1e-8
    fallen = np.expm1(-fast)
    slow, sine = np.exp(-s / (zeta + root)), np.where(small, 1 - fast / 2, -fallen / np.where(small, 1.0, fast))
    return floats(1 - slow * (1 + fallen / 2 + zeta * s * sine), s**2 * slow * sine)


def step_response_by_zeta(s: np.ndarray, zeta: np.ndarray) -> np.ndarray:
    """Derivative d f / d zeta of `step2` of K = 1 at s = omega t: -s^3 exp(-zeta s) E.

    E = (S - C) / x^2 for zeta < 1 and (C - S) / x^2 for zeta > 1, with C, S of `step2` at the angle x; 1/3 at zeta = 1.
    """
    with np.errstate(all="ignore"):
        angle = np.sqrt(np.abs(1 - zeta**2)) * s
        square = np.where(zeta < 1, -(angle**2), angle**2)
        series = 1 / 3 + square / 30 + square**2 / 840
        safe = np.where(angle < SERIES_BELOW, 1.0, angle)
        under = (np.sin(safe) / safe - np.cos(safe)) / safe**2
        fallen = np.exp(-2 * safe)
        over = ((1 + fallen) - (1 - fallen) / safe) / (2 * safe**2)
        # For zeta > 1, C and S lack their factor exp(x).
        growth = np.where((zeta > 1) & (angle >= SERIES_BELOW), angle, 0.0)
        root = np.sqrt(np.maximum(zeta**2 - 1, 0.0))
        slow = np.where(growth > 0, np.exp(-s / (zeta + root)), np.exp(-zeta * s))
        return np.asarray(-(s**3) * slow * np.where(angle < SERIES_BELOW, series, np.where(zeta < 1, under, over)))


def _by_damping(s: np.ndarray, zeta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`step_response`, each problem by the formula on its side of zeta = 1."""
    response, slope = np.empty_like(s), np.empty_like(s)
    for rows in (zeta[:, 0] < 1, zeta[:, 0] >= 1):
        if rows.any():
            response[rows], slope[rows] = step_response(s[rows], zeta[rows], under=bool(zeta[rows][0, 0] < 1))
    return response, slope


class Step2(Form):
    """`step2` with p = omega / (1 + 2 zeta), which is the slow rate when overdamped, and q = zeta: one column.

    zeta from 0.05 (it rings for about ten periods) to 100 (first-order within 1e-4).
    """

    name = "step2"
    title = "second-order step"
    colour = "#3c9a6c"
    line = Line(1.1, (5, 1.5, 1, 1.5))
    formula = "second-order step response with K, zeta, omega"
    signature = (
        Parameter("K", Unit.VALUES, signed=True),
        Parameter("zeta", Unit.NONE),
        Parameter("omega", Unit.PER_STEP),
    )
    example = (30.0, 0.4, 0.001)
    value = staticmethod(step2)
    gradient = staticmethod(step2_gradient)
    constant = False
    per_decade = (16, 8)
    zero = (False, False)
    edges = (
        Edge(0, "low", FitStatus.AT_EDGE_B_ZERO),
        Edge(0, "high", FitStatus.AT_EDGE_B_CEILING),
        Edge(1, "low", FitStatus.AT_EDGE_ZETA),
        Edge(1, "high", FitStatus.AT_EDGE_ZETA),
    )
    meaningless = {
        FitStatus.AT_EDGE_B_ZERO: frozenset({"K", "zeta", "omega"}),
        FitStatus.AT_EDGE_B_CEILING: frozenset({"omega"}),
        FitStatus.AT_EDGE_ZETA: frozenset({"zeta", "omega"}),
        FitStatus.CONSTANT: frozenset({"zeta", "omega"}),
    }
    extrapolated = frozenset()
    with_plateau = frozenset({"K", "zeta", "omega"})
    family = "step2"

    def box(self, t: np.ndarray) -> np.ndarray:
        """Rate p from 1e-3 / T to 10 per first step after 0; zeta from 0.05 to 100."""
        return np.array([[1e-3 / t[-1], 10 / first_positive(t)], [0.05, 100.0]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        p, q = rates[:, :, None]
        return [_by_damping(p * (1 + 2 * q) * t, q)[0]]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        """Uses d log omega = d log p + 2 q / (1 + 2 q) d log q."""
        p, q = rates[:, :, None]
        s = p * (1 + 2 * q) * t
        _, by_omega = _by_damping(s, q)
        by_zeta = step_response_by_zeta(s, q)
        return [a[:, :1] * by_omega, a[:, :1] * (q * by_zeta + 2 * q / (1 + 2 * q) * by_omega)]

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        return np.stack([a[:, 0], rates[1], rates[0] * (1 + 2 * rates[1])], axis=1)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        _, zeta, omega = values.T
        return np.stack([omega / (1 + 2 * zeta), zeta])

    def slowest_rate(self, values: np.ndarray) -> np.ndarray:
        """The slow pole."""
        zeta, omega = values[:, 1], values[:, 2]
        with np.errstate(all="ignore"):
            return np.where(zeta < 1, zeta * omega, omega / (zeta + np.sqrt(np.maximum(zeta**2 - 1, 0.0))))

    def peak_step(self, values: np.ndarray, first: float) -> np.ndarray | None:
        """The first overshoot after `first`; NaN when overdamped."""
        K, zeta, omega = values.T
        with np.errstate(all="ignore"):
            half_period = np.pi / (omega * np.sqrt(np.where(zeta < 1, 1 - zeta**2, np.nan)))
            odd = 2 * np.ceil((first / half_period - 1) / 2) + 1
            even = 2 * np.ceil(first / half_period / 2)
            return half_period * np.where(K > 0, np.maximum(odd, 1), np.maximum(even, 2))
