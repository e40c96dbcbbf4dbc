"""Eq. 9 of arXiv 2508.03616, the paper's own parametrisation of the curve of Eq. 14, and the way between the two."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import BasisColumn, Limit
from massact.fit.forms.eq14 import LOG_GAMMA_CAP, ModulatedLog, ModulatedLogForm, end_slope, peak_step
from massact.fit.forms.form import Line, Parameter, Unit
from massact.fit.status import FitStatus

SLOWER = 1e-3  # slowest decay searched at the cap of gamma, times that of the free search
LARGEST_EXPONENT = 700.0  # exp() of more overflows a double


def eq9(t: Numbers, A: Numbers, lam: Numbers, gamma: Numbers, t0: Numbers, K: Numbers) -> np.ndarray:
    """f = A exp(-lam x) log(x) + K with x = gamma t + t0 (Eq. 9, arXiv 2508.03616).

    Limits: f -> K for t -> inf if lam > 0; stationary at x = exp(W(1/lam)), a maximum for A > 0. NaN where x <= 0.
    `lambda` is a Python keyword: the argument is `lam`, the table's column `lambda`.

    >>> float(eq9(0.0, A=2.0, lam=0.5, gamma=0.1, t0=1.0, K=3.0))
    3.0
    """
    t, A, lam, gamma, t0, K = floats(t, A, lam, gamma, t0, K)
    with np.errstate(all="ignore"):
        x = gamma * t + t0
        return np.asarray(A * np.exp(-lam * x) * np.log(np.where(x > 0, x, np.nan)) + K)


def eq9_gradient(
    t: Numbers, A: Numbers, lam: Numbers, gamma: Numbers, t0: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """With respect to A, lam, gamma, t0, K."""
    t, A, lam, gamma, t0, K = floats(t, A, lam, gamma, t0, K)
    with np.errstate(all="ignore"):
        x = gamma * t + t0
        decay, log = np.exp(-lam * x), np.log(np.where(x > 0, x, np.nan))
        by_x = A * decay * (1 / x - lam * log)
        return floats(decay * log, -A * x * decay * log, by_x * t, by_x, np.ones_like(x + K))


class Eq9Parameters(NamedTuple):
    """Parameters of Eq. 9 as arrays; `determined` is False where gamma is not a number a double can hold."""

    A: np.ndarray
    lam: np.ndarray
    gamma: np.ndarray
    t0: np.ndarray
    K: np.ndarray
    log_gamma: np.ndarray
    determined: np.ndarray


class Eq14Parameters(NamedTuple):
    """Parameters of Eq. 14 as arrays."""

    A1: np.ndarray
    A2: np.ndarray
    beta: np.ndarray
    tau0: np.ndarray
    K: np.ndarray


def eq14_from_eq9(A: Numbers, lam: Numbers, gamma: Numbers, t0: Numbers, K: Numbers) -> Eq14Parameters:
    """Eq. 14's parameters of the same curve.

    beta = lam gamma, tau0 = t0 / gamma, A1 = A e^{-lam t0}, A2 = A1 log gamma.
    Exact for gamma > 0 (Appendix of arXiv 2508.03616).
    """
    A, lam, gamma, t0, K = floats(A, lam, gamma, t0, K)
    with np.errstate(all="ignore"):
        A1 = A * np.exp(-lam * t0)
        return Eq14Parameters(A1, A1 * np.log(gamma), lam * gamma, t0 / gamma, K)


def eq9_from_eq14(A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> Eq9Parameters:
    """Eq. 9's parameters of the same curve.

    log gamma = A2 / A1, lam = beta / gamma, t0 = gamma tau0, A = A1 e^{lam t0}.
    Exact while |A2 / A1| and beta tau0 are at most 700. Beyond, gamma, lam, t0 or A are inf or 0 and Eq. 9 cannot draw
    the curve: `determined` is False there and `log_gamma` still says which way.
    """
    A1, A2, beta, tau0, K = floats(A1, A2, beta, tau0, K)
    with np.errstate(all="ignore"):
        log_gamma = A2 / A1
        gamma = np.exp(log_gamma)
        out = (A1 * np.exp(beta * tau0), beta * np.exp(-log_gamma), gamma, gamma * tau0, K)
        drawable = (np.abs(log_gamma) <= LARGEST_EXPONENT) & (np.abs(beta * tau0) <= LARGEST_EXPONENT)
        for value in out:
            drawable = drawable & np.isfinite(value)
        return Eq9Parameters(*out, log_gamma, drawable)


def _stacked(values: Eq9Parameters) -> np.ndarray:
    """Parameters (curve, 5)."""
    return np.stack(values[:5], axis=1)


class CappedLog(ModulatedLog, Limit):
    """Eq. 9 at the largest |log gamma| it can draw: columns 1, e^{-ps} (log(s + 1/q) + c) / |c|, c = +-`LOG_GAMMA_CAP`.

    Used where the best curve of the family needs a gamma that no double holds.
    """

    per_decade = (24, 6)  # its valleys are narrow in beta
    zero = (False, False)  # Eq. 9 cannot draw the limits
    valley = False

    def __init__(self, sign: int) -> None:
        self.sign = sign

    @property
    def kernel(self) -> float | None:
        """The sign of log gamma."""
        return float(self.sign)

    def box(self, t: np.ndarray) -> np.ndarray:
        """As `ModulatedLog`, but with slower decay: A log(x) at this cap is a line of any slope where beta is small."""
        box = super().box(t)
        box[0, 0] *= SLOWER
        return box

    def clip(self, box: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Into the bounds, and beta (tau0 + t[0]) <= `LOG_GAMMA_CAP`."""
        p, q = np.clip(rates, box[:, :1], box[:, 1:])
        return np.stack([p, np.maximum(q, p / LOG_GAMMA_CAP)])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        p, q = rates[:, :, None]
        s = t - t[0]
        return [np.ones((1, t.size)), np.exp(-p * s) * ((np.log1p(q * s) - np.log(q)) / LOG_GAMMA_CAP + self.sign)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        p, q = rates[:, :, None]
        s = t - t[0]
        by_q = -np.exp(-p * s) / (1 + q * s) / LOG_GAMMA_CAP
        return [-a[:, 1:2] * p * s * columns[1], a[:, 1:2] * by_q]

    def near(self, a: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Where the slope and the logarithm of a curve of `ModulatedLog` give log gamma the value of the cap.

        Its log gamma is log q - a1 q / (a2 p): at the same a1, a2 and q, p = a1 q / (a2 (log q - log gamma)).
        """
        _, q = rates
        with np.errstate(all="ignore"):
            p = a[:, 1] * q / (a[:, 2] * (np.log(q) - self.sign * LOG_GAMMA_CAP))
        return np.where(np.isfinite(p) & (p > 0), [p, q], np.nan)

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        """Eq. 9's."""
        p, q = rates
        A1 = a[:, 1] / LOG_GAMMA_CAP * np.exp(p * first)
        return _stacked(eq9_from_eq14(A1, A1 * self.sign * LOG_GAMMA_CAP, p, 1 / q - first, a[:, 0]))


class Eq9(ModulatedLogForm):
    """Eq. 9."""

    name = "eq9"
    title = "Eq. 9"
    colour = "#2a78b5"
    line = Line(2.6, (), 0.65)
    formula = "A exp(-lambda x) log(x) + K, x = gamma t + t0"
    signature = (
        Parameter("A", Unit.VALUES, signed=True),
        Parameter("lambda", Unit.NONE),
        Parameter("gamma", Unit.PER_STEP),
        Parameter("t0", Unit.NONE),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (40.0, 0.05, 0.001, 0.8, 12.0)
    value = staticmethod(eq9)
    gradient = staticmethod(eq9_gradient)
    meaningless = {
        FitStatus.AT_EDGE_B_ZERO: frozenset({"A", "lambda", "gamma", "t0", "K"}),
        FitStatus.AT_EDGE_B_CEILING: frozenset({"A", "lambda", "gamma", "t0"}),
        FitStatus.AT_EDGE_TAU_INFINITE: frozenset({"A", "lambda", "gamma", "t0"}),
        FitStatus.AT_EDGE_TAU_FLOOR: frozenset({"t0"}),
        FitStatus.AT_EDGE_GAMMA: frozenset({"A", "lambda", "gamma", "t0"}),
        FitStatus.CONSTANT: frozenset({"A", "lambda", "gamma", "t0"}),
    }
    extrapolated = frozenset({"A", "lambda", "gamma", "t0", "K"})
    with_plateau = frozenset({"A", "lambda", "gamma", "t0", "K"})
    special_case_of = "eq14"
    limits = (CappedLog(1), CappedLog(-1))
    limit_status = FitStatus.AT_EDGE_GAMMA

    @property
    def relative(self) -> tuple[bool, ...]:
        """Also A, which is beyond doubles where gamma is."""
        return (True, True, True, True, False)

    def within_reach(self, rates: np.ndarray) -> np.ndarray:
        """beta (tau0 + t[0]) <= `LOG_GAMMA_CAP`."""
        return np.stack([rates[0], np.maximum(rates[1], rates[0] / LOG_GAMMA_CAP)])

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        return _stacked(eq9_from_eq14(*super().parameters_of(a, rates, first).T))

    def drawable(self, values: np.ndarray) -> np.ndarray:
        """Whether |log gamma| is at most `LOG_GAMMA_CAP` and doubles hold the parameters."""
        with np.errstate(all="ignore"):
            log_gamma = np.log(values[:, 2])
        return np.isfinite(values).all(axis=1) & (np.abs(log_gamma) <= LOG_GAMMA_CAP)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        _, _, beta, tau0, _ = eq14_from_eq9(*values.T)
        return np.stack([beta, 1 / (tau0 + first)])

    def slowest_rate(self, values: np.ndarray) -> np.ndarray:
        """lambda gamma."""
        return eq14_from_eq9(*values.T).beta

    def peak_step(self, values: np.ndarray, first: float) -> np.ndarray | None:
        """Of Eq. 14."""
        return peak_step(*eq14_from_eq9(*values.T)[:4])

    def end_slope(self, values: np.ndarray, last: float) -> np.ndarray:
        """Of Eq. 14."""
        return end_slope(np.stack(eq14_from_eq9(*values.T), axis=1), last)

    def constants(self, means: np.ndarray, last: float) -> np.ndarray:
        """With gamma = 1."""
        out = super().constants(means, last)
        out[:, 2] = 1.0
        return out

    def jacobian(self, values: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of `reduced_jacobian`; rows of A, lambda, gamma and t0 are relative to them."""
        twin = np.stack(eq14_from_eq9(*values.T), axis=1)
        jacobian, rows = self.reduced_jacobian(twin, t)
        A1, A2, b, tau, _ = twin.T
        first = float(t[0])
        with np.errstate(all="ignore"):
            grown, shifted = np.exp(b * first), tau + first
            B1, B2 = A1 / grown, A2 / grown
            row_c = (rows["B2"] - (B2 / B1)[:, None] * rows["B1"]) / B1[:, None]
            row_A = rows["B1"] / B1[:, None] + (b * shifted)[:, None] * (rows["b"] - rows["q"])
        return jacobian, np.stack([row_A, rows["b"] - row_c, row_c, row_c + rows["tau"], rows["K"]], axis=1)
