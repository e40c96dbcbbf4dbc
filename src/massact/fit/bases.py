"""The forms as separable least-squares problems: few nonlinear rates, the rest linear.

f(t) = sum_j a_j phi_j(t; p, q). The columns phi depend on t and two rates only, so a scan over (p, q) is shared by all
curves. Rates are stepped in logarithms; a rate of exactly 0 is the limit curve, and because its logarithmic derivative
is 0 it stays there: edges of the family need no code of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from massact.fit.forms import step_response

Rates = Float[np.ndarray, "problem 1"]
Column = np.ndarray  # (problem, step), or (1, step) where it does not depend on the rates

LOG_GAMMA_CAP = 600.0  # |log gamma| and beta tau0 that Eq. 9 can draw with room for A, lambda and t0 in a double
TAU_FLOOR_AT_ZERO = 1e-2  # smallest tau as a share of the first step > 0 when t = 0 is fitted: below, tau is a dummy
TAU_FLOOR = 1e-3  # the same when t = 0 is not fitted: the limit log(t) is reached within .1 %


@dataclass(frozen=True)
class Box:
    """Bounds of the two rates in 1/step (or without unit for zeta)."""

    p: tuple[float, float]
    q: tuple[float, float]


@runtime_checkable
class Basis(Protocol):
    """What the engine needs to know of a form."""

    @property
    def constant(self) -> bool:
        """Whether the first column is 1."""
        ...

    def box(self, t: np.ndarray) -> Box:
        """Bounds of the rates for steps t."""
        ...

    def grid(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nodes of p and of q, with the exact edges 0."""
        ...

    def clip(self, t: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rates moved into the box; 0 stays 0."""
        ...

    def columns(self, t: np.ndarray, p: Rates, q: Rates) -> list[Column]:
        """phi_j at t."""
        ...

    def slopes(self, t: np.ndarray, p: Rates, q: Rates, columns: list[Column], a: np.ndarray) -> tuple[Column, Column]:
        """d f / d log p and d f / d log q at coefficients a (problem, j)."""
        ...


def first_positive(t: np.ndarray) -> float:
    """The first step after 0."""
    return float(t[1] if t[0] == 0 else t[0])


def tau_floor(t: np.ndarray) -> float:
    """The smallest tau of Eq. 14 that is searched, in steps."""
    return first_positive(t) * (TAU_FLOOR_AT_ZERO if t[0] == 0 else TAU_FLOOR)


def _nodes(low: float, high: float, per_decade: int) -> np.ndarray:
    return np.geomspace(low, high, max(2, int(np.ceil(np.log10(high / low) * per_decade)) + 1))


def _clip(rate: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return np.where(rate == 0, 0.0, np.clip(rate, *bounds))


class LogDecay:
    """Eqs. 9 and 14 with s = t - t[0], p = beta, q = 1 / (tau0 + t[0]).

    Columns 1, (1 - e^{-ps}) / p, e^{-ps} log(1 + q s) / q: those of t up to constant factors, but independent also
    where the first step is late. At p = 0 they are 1, s, log(1 + q s) / q; at q = 0 the last is s e^{-ps}; at both it
    is s^2.
    tau0 has the floor `tau_floor` because at t = 0 a smaller one fits that single point and nothing else.
    """

    constant = True
    per_decade = 6

    def box(self, t: np.ndarray) -> Box:
        """Beta from 1e-4 / range to 3 per first interval (600 / t[0] if that is less); tau0 from its floor to 1e4 T."""
        fastest = min(3 / (t[1] - t[0]), LOG_GAMMA_CAP / first_positive(t))
        return Box((1e-4 / np.ptp(t), fastest), (1e-4 / t[-1], 1 / (t[0] + tau_floor(t))))

    def grid(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Six nodes a decade from ten times the lower bounds, and 0."""
        box = self.box(t)
        p = _nodes(10 * box.p[0], box.p[1], self.per_decade)
        q = _nodes(10 * box.q[0], box.q[1], self.per_decade)
        return np.r_[0.0, p], np.r_[0.0, q]

    def clip(self, t: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each rate into its bounds."""
        box = self.box(t)
        return _clip(p, box.p), _clip(q, box.q)

    def columns(self, t: np.ndarray, p: Rates, q: Rates) -> list[Column]:
        """See the class."""
        s, at_p, at_q = t - t[0], p == 0, q == 0
        fallen = np.expm1(-p * s)
        rise = np.where(at_p, s, -fallen / np.where(at_p, 1.0, p))
        log = np.where(at_q, s, np.log1p(q * s) / np.where(at_q, 1.0, q))
        return [np.ones((1, t.size)), rise, np.where(at_p & at_q, s**2, (1 + fallen) * log)]

    def slopes(self, t: np.ndarray, p: Rates, q: Rates, columns: list[Column], a: np.ndarray) -> tuple[Column, Column]:
        """See the protocol."""
        _, rise, log = columns
        s, decay = t - t[0], 1 - p * rise
        by_p = a[:, 1:2] * np.where(p == 0, 0.0, s * decay - rise) - a[:, 2:3] * p * s * log
        by_q = a[:, 2:3] * np.where(q == 0, 0.0, decay * s / (1 + q * s) - log)
        return by_p, by_q


@dataclass(frozen=True)
class CappedLogDecay(LogDecay):
    """Eq. 9 at the largest |log gamma| it can draw: columns 1, e^{-ps} (log(s + 1/q) + c) / |c|, c = +-`LOG_GAMMA_CAP`.

    Used where the best curve of the family needs a gamma that no double holds.
    """

    sign: int = 1
    per_decade = 6

    def grid(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `LogDecay`, without the edges 0: Eq. 9 cannot draw them."""
        p, q = super().grid(t)
        return p[1:], q[1:]

    def clip(self, t: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Into the bounds, and beta (tau0 + t[0]) <= `LOG_GAMMA_CAP`."""
        box = self.box(t)
        p = np.clip(p, *box.p)
        return p, np.maximum(np.clip(q, *box.q), p / LOG_GAMMA_CAP)

    def columns(self, t: np.ndarray, p: Rates, q: Rates) -> list[Column]:
        """See the class."""
        s = t - t[0]
        return [np.ones((1, t.size)), np.exp(-p * s) * (np.log(s + 1 / q) / LOG_GAMMA_CAP + self.sign)]

    def slopes(self, t: np.ndarray, p: Rates, q: Rates, columns: list[Column], a: np.ndarray) -> tuple[Column, Column]:
        """See the protocol."""
        s = t - t[0]
        by_q = -np.exp(-p * s) / (1 + q * s) / LOG_GAMMA_CAP
        return -a[:, 1:2] * p * s * columns[1], a[:, 1:2] * by_q


class Step1:
    """step1 with p = 1 / tau: column (1 - e^{-pt}) / p, which is t at p = 0. q has no meaning and is 1."""

    constant = False

    def box(self, t: np.ndarray) -> Box:
        """Tau from a tenth of the first step after 0 to 1e4 T."""
        return Box((1e-4 / t[-1], 10 / first_positive(t)), (1.0, 1.0))

    def grid(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Thirty nodes a decade, and 0."""
        box = self.box(t)
        return np.r_[0.0, _nodes(10 * box.p[0], box.p[1], 30)], np.ones(1)

    def clip(self, t: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P into its bounds."""
        return _clip(p, self.box(t).p), q

    def columns(self, t: np.ndarray, p: Rates, q: Rates) -> list[Column]:
        """See the class."""
        return [np.where(p == 0, t, -np.expm1(-p * t) / np.where(p == 0, 1.0, p))]

    def slopes(self, t: np.ndarray, p: Rates, q: Rates, columns: list[Column], a: np.ndarray) -> tuple[Column, Column]:
        """See the protocol."""
        by_p = a[:, :1] * np.where(p == 0, 0.0, t * np.exp(-p * t) - columns[0])
        return by_p, np.zeros_like(by_p)


class Step2:
    """step2 with p = omega / (1 + 2 zeta), which is the slow rate when overdamped, and q = zeta: one column.

    zeta from 0.05 (it rings for about ten periods) to 100 (first-order within 1e-4).
    """

    constant = False

    def box(self, t: np.ndarray) -> Box:
        """P from 1e-3 / T to 10 / the first step after 0."""
        return Box((1e-3 / t[-1], 10 / first_positive(t)), (0.05, 100.0))

    def grid(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sixteen nodes a decade in p, eight in zeta."""
        box = self.box(t)
        return _nodes(*box.p, 16), _nodes(*box.q, 8)

    def clip(self, t: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each rate into its bounds."""
        box = self.box(t)
        return _clip(p, box.p), _clip(q, box.q)

    def columns(self, t: np.ndarray, p: Rates, q: Rates) -> list[Column]:
        """See the class."""
        return [_by_damping(p * (1 + 2 * q) * t, q)[0]]

    def slopes(self, t: np.ndarray, p: Rates, q: Rates, columns: list[Column], a: np.ndarray) -> tuple[Column, Column]:
        """D log omega = d log p + 2 q / (1 + 2 q) d log q; the derivative in zeta alone by central differences."""
        s = p * (1 + 2 * q) * t
        _, by_omega = _by_damping(s, q)
        up, down = (_by_damping(s, q * np.exp(sign * 1e-5))[0] for sign in (1, -1))
        return a[:, :1] * by_omega, a[:, :1] * ((up - down) / 2e-5 + 2 * q / (1 + 2 * q) * by_omega)


def _by_damping(s: np.ndarray, zeta: Rates) -> tuple[np.ndarray, np.ndarray]:
    """`step_response`, each problem by the formula that it needs."""
    response, slope = np.empty_like(s), np.empty_like(s)
    for rows in (zeta[:, 0] < 1, zeta[:, 0] >= 1):
        if rows.any():
            response[rows], slope[rows] = step_response(s[rows], zeta[rows], under=bool(zeta[rows][0, 0] < 1))
    return response, slope


LOG_DECAY = LogDecay()
CAPPED = {sign: CappedLogDecay(sign) for sign in (1, -1)}
BASES: dict[str, Basis] = {"eq9": LOG_DECAY, "eq14": LOG_DECAY, "step1": Step1(), "step2": Step2()}
