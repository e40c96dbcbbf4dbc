"""The paper's forms as separable least-squares problems: few nonlinear rates, the rest linear.

f(t) = sum_j a_j phi_j(t; rates). The columns phi depend on t and one to three rates only, so a scan over the rates is
shared by all curves. Rates are stepped in logarithms; a rate of exactly 0 is the limit curve, and because its
logarithmic derivative is 0 it stays there: edges of the family need no code of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from massact.fit.paper_forms import step_response, step_response_by_zeta

Rates = Float[np.ndarray, "rate problem"]
Column = np.ndarray  # (problem, step), or (1, step) where it does not depend on the rates

LOG_GAMMA_CAP = 600.0  # |log gamma| and beta tau0 that Eq. 9 can draw with room for A, lambda and t0 in a double
TAU_FLOOR_AT_ZERO = 1e-2  # smallest tau as a share of the first step > 0 when t = 0 is fitted: below, tau is a dummy
TAU_FLOOR = 1e-3  # the same when t = 0 is not fitted: the limit log(t) is reached within .1 %


@runtime_checkable
class Basis(Protocol):
    """What the engine needs to know of a form."""

    @property
    def constant(self) -> bool:
        """Whether the first column is 1."""
        ...

    def box(self, t: np.ndarray) -> np.ndarray:
        """Bounds (rate, 2) of the rates for steps t."""
        ...

    def grid(self, t: np.ndarray) -> list[np.ndarray]:
        """Nodes of each rate, with the exact edge 0 where it is a curve."""
        ...

    def clip(self, box: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Rates moved into the box; 0 stays 0 where it is a curve."""
        ...

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """phi_j at t."""
        ...

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """d f / d log rate at coefficients a (problem, j)."""
        ...


class Boxed(ABC):
    """A basis whose rates are searched between the bounds of `box`, `per_decade` nodes a decade."""

    constant = True
    per_decade: tuple[int, ...] = ()
    zero: tuple[bool, ...] = ()  # whether a rate of 0 is a curve; nodes then begin at ten times its lower bound

    @abstractmethod
    def box(self, t: np.ndarray) -> np.ndarray:
        """Bounds (rate, 2)."""

    def grid(self, t: np.ndarray) -> list[np.ndarray]:
        """Nodes evenly in the logarithm."""
        out = []
        for (low, high), density, zero in zip(self.box(t), self.per_decade, self.zero, strict=True):
            inner = _nodes(10 * low if zero else low, high, density)
            out.append(np.r_[0.0, inner] if zero else inner)
        return out

    def clip(self, box: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Each rate into its bounds."""
        inside = np.minimum(np.maximum(rates, box[:, :1]), box[:, 1:])
        for row, rate, zero in zip(inside, rates, self.zero, strict=True):
            if zero:
                row[rate == 0] = 0.0
        return inside


def first_positive(t: np.ndarray) -> float:
    """The first step after 0."""
    return float(t[1] if t[0] == 0 else t[0])


def tau_floor(t: np.ndarray) -> float:
    """The smallest tau of Eq. 14 that is searched, in steps."""
    return first_positive(t) * (TAU_FLOOR_AT_ZERO if t[0] == 0 else TAU_FLOOR)


def _nodes(low: float, high: float, per_decade: int) -> np.ndarray:
    return np.geomspace(low, high, max(2, int(np.ceil(np.log10(high / low) * per_decade)) + 1))


class LogDecay(Boxed):
    """Eqs. 9 and 14 with s = t - t[0], p = beta, q = 1 / (tau0 + t[0]).

    Columns 1, (1 - e^{-ps}) / p, e^{-ps} log(1 + q s) / q: those of t up to constant factors, but independent also
    where the first step is late. At p = 0 they are 1, s, log(1 + q s) / q; at q = 0 the last is s e^{-ps}; at both it
    is s^2.
    tau0 has the floor `tau_floor` because at t = 0 a smaller one fits that single point and nothing else.
    """

    per_decade = (6, 6)
    zero = (True, True)

    def box(self, t: np.ndarray) -> np.ndarray:
        """Beta from 1e-4 / range to 3 per first interval (600 / t[0] if that is less); tau0 from its floor to 1e4 T."""
        fastest = min(3 / (t[1] - t[0]), LOG_GAMMA_CAP / first_positive(t))
        return np.array([[1e-4 / np.ptp(t), fastest], [1e-4 / t[-1], 1 / (t[0] + tau_floor(t))]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
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

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
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


@dataclass(frozen=True)
class CappedLogDecay(LogDecay):
    """Eq. 9 at the largest |log gamma| it can draw: columns 1, e^{-ps} (log(s + 1/q) + c) / |c|, c = +-`LOG_GAMMA_CAP`.

    Used where the best curve of the family needs a gamma that no double holds.
    """

    sign: int = 1

    def grid(self, t: np.ndarray) -> list[np.ndarray]:
        """As `LogDecay`, without the edges 0: Eq. 9 cannot draw them."""
        return [nodes[1:] for nodes in super().grid(t)]

    def clip(self, box: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Into the bounds, and beta (tau0 + t[0]) <= `LOG_GAMMA_CAP`."""
        p, q = np.clip(rates, box[:, :1], box[:, 1:])
        return np.stack([p, np.maximum(q, p / LOG_GAMMA_CAP)])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        p, q = rates[:, :, None]
        s = t - t[0]
        return [np.ones((1, t.size)), np.exp(-p * s) * ((np.log1p(q * s) - np.log(q)) / LOG_GAMMA_CAP + self.sign)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
        p, q = rates[:, :, None]
        s = t - t[0]
        by_q = -np.exp(-p * s) / (1 + q * s) / LOG_GAMMA_CAP
        return [-a[:, 1:2] * p * s * columns[1], a[:, 1:2] * by_q]


class Step1(Boxed):
    """step1 with p = 1 / tau: column (1 - e^{-pt}) / p, which is t at p = 0."""

    constant = False
    per_decade = (30,)
    zero = (True,)

    def box(self, t: np.ndarray) -> np.ndarray:
        """Tau from a tenth of the first step after 0 to 1e4 T."""
        return np.array([[1e-4 / t[-1], 10 / first_positive(t)]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        p = rates[0][:, None]
        return [np.where(p == 0, t, -np.expm1(-p * t) / np.where(p == 0, 1.0, p))]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
        p = rates[0][:, None]
        return [a[:, :1] * np.where(p == 0, 0.0, t * np.exp(-p * t) - columns[0])]


class Step2(Boxed):
    """step2 with p = omega / (1 + 2 zeta), which is the slow rate when overdamped, and q = zeta: one column.

    zeta from 0.05 (it rings for about ten periods) to 100 (first-order within 1e-4).
    """

    constant = False
    per_decade = (16, 8)
    zero = (False, False)

    def box(self, t: np.ndarray) -> np.ndarray:
        """P from 1e-3 / T to 10 / the first step after 0."""
        return np.array([[1e-3 / t[-1], 10 / first_positive(t)], [0.05, 100.0]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        p, q = rates[:, :, None]
        return [_by_damping(p * (1 + 2 * q) * t, q)[0]]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """D log omega = d log p + 2 q / (1 + 2 q) d log q."""
        p, q = rates[:, :, None]
        s = p * (1 + 2 * q) * t
        _, by_omega = _by_damping(s, q)
        by_zeta = step_response_by_zeta(s, q)
        return [a[:, :1] * by_omega, a[:, :1] * (q * by_zeta + 2 * q / (1 + 2 * q) * by_omega)]


def _by_damping(s: np.ndarray, zeta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`step_response`, each problem by the formula that it needs."""
    response, slope = np.empty_like(s), np.empty_like(s)
    for rows in (zeta[:, 0] < 1, zeta[:, 0] >= 1):
        if rows.any():
            response[rows], slope[rows] = step_response(s[rows], zeta[rows], under=bool(zeta[rows][0, 0] < 1))
    return response, slope


LOG_DECAY = LogDecay()
CAPPED = {sign: CappedLogDecay(sign) for sign in (1, -1)}
