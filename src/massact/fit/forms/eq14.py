"""Eq. 14 of arXiv 2508.03616, an exponentially modulated logarithm with three linear parameters."""

from __future__ import annotations

import numpy as np

from massact.fit.checks import Numbers, floats
from massact.fit.forms.basis import Basis, BasisColumn, first_positive
from massact.fit.forms.form import Edge, Form, Line, Parameter, Unit
from massact.fit.status import FitStatus

LOG_GAMMA_CAP = 600.0  # |log gamma| and beta tau0 that Eq. 9 can draw with room for A, lambda and t0 in a double
TAU_FLOOR_AT_ZERO = 1e-2  # smallest tau as a share of the first step > 0 when t = 0 is fitted: below, tau is a dummy
TAU_FLOOR = 1e-3  # the same when t = 0 is not fitted: the limit log(t) is reached within .1 %


def eq14(t: Numbers, A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers, K: Numbers) -> np.ndarray:
    """f = exp(-beta t) (A1 log(t + tau0) + A2) + K (Eq. 14, arXiv 2508.03616), tau0 in steps, beta per step.

    Limits: f -> K for t -> inf if beta > 0; pure log growth at beta = 0; a critically damped step as tau0 -> inf;
    an exponential at A1 = 0. NaN where t + tau0 <= 0.

    >>> float(eq14(1.0, A1=1.0, A2=2.0, beta=0.0, tau0=0.0, K=3.0))
    5.0
    """
    t, A1, A2, beta, tau0, K = floats(t, A1, A2, beta, tau0, K)
    with np.errstate(all="ignore"):
        x = t + tau0
        return np.asarray(np.exp(-beta * t) * (A1 * np.log(np.where(x > 0, x, np.nan)) + A2) + K)


def eq14_gradient(
    t: Numbers, A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers, K: Numbers
) -> tuple[np.ndarray, ...]:
    """With respect to A1, A2, beta, tau0, K."""
    t, A1, A2, beta, tau0, K = floats(t, A1, A2, beta, tau0, K)
    with np.errstate(all="ignore"):
        x, decay = t + tau0, np.exp(-beta * t)
        log = np.log(np.where(x > 0, x, np.nan))
        return floats(decay * log, decay, -t * decay * (A1 * log + A2), decay * A1 / x, np.ones_like(x + K))


def peak_step(A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers) -> np.ndarray:
    """The step of the maximum of Eq. 14 over all t > -tau0; NaN for A1 <= 0, inf where it lies beyond a double.

    f' = 0 where w + log w = c - log beta with w = log(t + tau0) + c, c = A2 / A1: w is Wright's omega function of the
    right side (the Lambert W of the paper's x* = exp(W(1/lam)) in a form that does not overflow for small lam), and
    t = exp(w - c) - tau0.

    >>> round(float(peak_step(1.0, 0.0, 1.0, 0.0)), 6)  # e^{-t} log t
    1.763223
    """
    from scipy.special import wrightomega

    A1, A2, beta, tau0 = (np.asarray(value, dtype=float) for value in (A1, A2, beta, tau0))
    with np.errstate(all="ignore"):
        c = A2 / A1
        w = wrightomega(c - np.log(beta))
        return np.where(A1 > 0, np.exp(w - c) - tau0, np.nan)


def end_slope(values: np.ndarray, last: float) -> np.ndarray:
    """df / d(ln t) (curve,) of Eq. 14's parameters (curve, 5) at the last step."""
    A1, A2, beta, tau0, _ = values.T
    with np.errstate(all="ignore"):
        x = last + tau0
        return last * np.exp(-beta * last) * (A1 / x - beta * (A1 * np.log(x) + A2))


def tau_floor(t: np.ndarray) -> float:
    """The smallest tau of Eq. 14 that is searched, in steps."""
    return first_positive(t) * (TAU_FLOOR_AT_ZERO if t[0] == 0 else TAU_FLOOR)


class ModulatedLog(Basis):
    """Eqs. 9 and 14 with s = t - t[0], p = beta, q = 1 / (tau0 + t[0]).

    Columns 1, (1 - e^{-ps}) / p, e^{-ps} log(1 + q s) / q: those of t up to constant factors, but independent also
    where the first step is late. At p = 0 they are 1, s, log(1 + q s) / q; at q = 0 the last is s e^{-ps}; at both it
    is s^2.
    tau0 has the floor `tau_floor` because at t = 0 a smaller one fits that single point and nothing else.
    """

    constant = True
    per_decade = (6, 6)
    zero = (True, True)
    valley = True

    @property
    def kernel(self) -> float | None:
        """Log gamma is free."""
        return 0.0

    def box(self, t: np.ndarray) -> np.ndarray:
        """Beta from 1e-4 / range to 3 per first interval (600 / t[0] if that is less); tau0 from its floor to 1e4 T."""
        fastest = min(3 / (t[1] - t[0]), LOG_GAMMA_CAP / first_positive(t))
        return np.array([[1e-4 / np.ptp(t), fastest], [1e-4 / t[-1], 1 / (t[0] + tau_floor(t))]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[BasisColumn]:
        p, q = rates[:, :, None]
        s, at_p, at_q = t - t[0], p == 0, q == 0
        fallen = np.expm1(-p * s)
        rise = fallen * (-1 / np.where(at_p, 1.0, p))
        log = np.log1p(q * s) * (1 / np.where(at_q, 1.0, q))
        if at_p.any() or at_q.any():
            rise = np.where(at_p, s, rise)
            log = np.where(at_q, np.where(at_p, s**2, s), log)
        fallen += 1
        log *= fallen
        return [np.ones((1, t.size)), rise, log]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[BasisColumn], a: np.ndarray) -> list[BasisColumn]:
        p, q = rates[:, :, None]
        _, rise, log = columns
        s, decay = t - t[0], 1 - p * rise
        by_p = s * decay
        by_p -= rise
        by_p *= a[:, 1:2] * (p > 0)
        by_p -= a[:, 2:3] * p * s * log
        by_q = decay * s
        by_q /= 1 + q * s
        by_q -= log
        by_q *= a[:, 2:3] * (q > 0)
        return [by_p, by_q]

    def parameters_of(self, a: np.ndarray, rates: np.ndarray, first: float) -> np.ndarray:
        """Eq. 14's, which draw every curve of the family."""
        p, q = rates
        A1, grown = a[:, 2] / q, np.exp(p * first)
        A2 = A1 * np.log(q) - a[:, 1] / p
        return np.stack([A1 * grown, A2 * grown, p, 1 / q - first, a[:, 0] + a[:, 1] / p], axis=1)


class ModulatedLogForm(ModulatedLog, Form):
    """What Eqs. 9 and 14 share as forms: one curve in two parametrisations."""

    edges = (
        Edge(0, "low", FitStatus.AT_EDGE_B_ZERO),
        Edge(0, "high", FitStatus.AT_EDGE_B_CEILING),
        Edge(1, "low", FitStatus.AT_EDGE_TAU_INFINITE),
        Edge(1, "high", FitStatus.AT_EDGE_TAU_FLOOR),
    )
    family = "eq9"
    drawn_by = "eq14"
    fixed_at = {
        FitStatus.AT_EDGE_B_ZERO: 3,
        FitStatus.AT_EDGE_B_CEILING: 3,
        FitStatus.AT_EDGE_TAU_INFINITE: 4,
        FitStatus.AT_EDGE_TAU_FLOOR: 4,
    }

    def reduced_jacobian(self, values: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Jacobian (curve, step, 5) in a0, a1, a2, log p, log q at Eq. 14's parameters, and rows (curve, 5) in them.

        Rows of B1, B2 (A1 and A2 of time counted from the first step), b, log q, tau0 and K. The columns stay
        independent where those of the parameters do not.
        """
        A1, A2, b, tau, K = values.T
        first = float(t[0])
        with np.errstate(all="ignore"):
            grown, shifted = np.exp(b * first), tau + first
            B1, B2 = A1 / grown, A2 / grown
            q, log_q = 1 / shifted, -np.log(shifted)
            a1 = -b * (B2 - B1 * log_q)
            a = np.stack([K - a1 / b, a1, B1 * q], axis=1)
            rates = np.stack([b, q])
            columns = self.columns(t, rates)
            slopes = self.slopes(t, rates, columns, a)
            shape = (len(values), t.size)
            jacobian = np.stack([np.broadcast_to(column, shape) for column in (*columns, *slopes)], axis=2)
            zero, one = np.zeros_like(b), np.ones_like(b)
            by_b, by_q = (np.stack([zero] * j + [one] + [zero] * (4 - j), axis=1) for j in (3, 4))
            rows = {
                "B1": np.stack([zero, zero, shifted, zero, -B1], axis=1),
                "B2": np.stack([zero, -1 / b, log_q * shifted, a1 / b, B1 * (1 - log_q)], axis=1),
                "b": by_b,
                "q": by_q,
                "tau": -(shifted / tau)[:, None] * by_q,
                "K": np.stack([one, 1 / b, zero, -a1 / b, zero], axis=1),
            }
        return jacobian, rows


class Eq14(ModulatedLogForm):
    """Eq. 14."""

    name = "eq14"
    title = "Eq. 14"
    colour = "#d1459b"
    line = Line(1.0, (4, 2))
    formula = "exp(-beta t) (A1 log(t + tau0) + A2) + K"
    signature = (
        Parameter("A1", Unit.VALUES, signed=True),
        Parameter("A2", Unit.VALUES, signed=True),
        Parameter("beta", Unit.PER_STEP),
        Parameter("tau0", Unit.STEPS),
        Parameter("K", Unit.VALUES, signed=True),
    )
    example = (40.0, -200.0, 3e-05, 300.0, 12.0)
    value = staticmethod(eq14)
    gradient = staticmethod(eq14_gradient)
    meaningless = {
        FitStatus.AT_EDGE_B_ZERO: frozenset({"A2", "beta", "K"}),
        FitStatus.AT_EDGE_B_CEILING: frozenset({"A1", "A2", "beta", "tau0"}),
        FitStatus.AT_EDGE_TAU_INFINITE: frozenset({"A1", "A2", "tau0"}),
        FitStatus.AT_EDGE_TAU_FLOOR: frozenset({"tau0"}),
        FitStatus.CONSTANT: frozenset({"A1", "A2", "beta", "tau0"}),
    }
    extrapolated = frozenset({"A2", "beta", "K"})
    with_plateau = frozenset({"A2", "beta", "K"})
    candidate = False  # Eq. 9's curve
    rival_margin = 0.0
    unknown_in_units = ("A2",)

    def rates_of(self, values: np.ndarray, first: float) -> np.ndarray:
        _, _, beta, tau0, _ = values.T
        return np.stack([beta, 1 / (tau0 + first)])

    def slowest_rate(self, values: np.ndarray) -> np.ndarray:
        """beta."""
        return values[:, 2]

    def peak_step(self, values: np.ndarray, first: float) -> np.ndarray | None:
        return peak_step(*values[:, :4].T)

    def end_slope(self, values: np.ndarray, last: float) -> np.ndarray:
        return end_slope(values, last)

    def jacobian(self, values: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of `reduced_jacobian`; beta and tau0 by their logarithms."""
        jacobian, rows = self.reduced_jacobian(values, t)
        A1, A2, b, *_ = values.T
        first = float(t[0])
        with np.errstate(all="ignore"):
            grown = np.exp(b * first)
            row_A1, row_A2 = (
                grown[:, None] * row + (A * b * first)[:, None] * rows["b"]
                for row, A in ((rows["B1"], A1), (rows["B2"], A2))
            )
        return jacobian, np.stack([row_A1, row_A2, rows["b"], rows["tau"], rows["K"]], axis=1)

    def rescaled(self, values: np.ndarray, step: float) -> np.ndarray:
        """log(t + tau0) is counted in the unit of the steps, which moves A2."""
        out = values.copy()
        out[:, 1] += out[:, 0] * np.log(step)
        return out


EQ14 = Eq14()
