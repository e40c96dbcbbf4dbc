"""The forms beyond the paper as separable problems; what each rate is, and where it is searched."""

from __future__ import annotations

import numpy as np

from massact.fit.bases import Boxed, Column, first_positive

SLOWEST = 1e-3  # slowest rate of decay times T, and smallest T / tau, searched besides the exact limit 0


class Log(Boxed):
    """`log` with q = 1 / tau: columns 1, log(1 + q t) / q, which is t at q = 0."""

    per_decade = (30,)
    zero = (True,)

    def box(self, t: np.ndarray) -> np.ndarray:
        """Tau from a hundredth of the first step after 0 to 1e4 T."""
        return np.array([[0.1 * SLOWEST / t[-1], 100 / first_positive(t)]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        q = rates[0][:, None]
        return [np.ones((1, t.size)), _log(t, q)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
        q = rates[0][:, None]
        return [a[:, 1:2] * np.where(q == 0, 0.0, t / (1 + q * t) - columns[1])]


class LogDecayFromStart(Boxed):
    """`log_decay` with p = beta, q = 1 / tau0: columns 1, e^{-pt} log(1 + q t) / q, exact at p = 0 and at q = 0."""

    per_decade = (6, 6)
    zero = (True, True)

    def box(self, t: np.ndarray) -> np.ndarray:
        """Beta from 1e-4 / T to 3 per first step, tau0 from a hundredth of that step to 1e4 T."""
        low = 0.1 * SLOWEST / t[-1]
        return np.array([[low, 3 / first_positive(t)], [low, 100 / first_positive(t)]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        p, q = rates[:, :, None]
        return [np.ones((1, t.size)), np.exp(-p * t) * _log(t, q)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
        p, q = rates[:, :, None]
        by_q = np.where(q == 0, 0.0, np.exp(-p * t) * t / (1 + q * t) - columns[1])
        return [-a[:, 1:2] * p * t * columns[1], a[:, 1:2] * by_q]


class TwoExp(Boxed):
    """`two_exp` with p = beta1 and r = beta2 / beta1 > 1: columns 1, (1 - e^{-pt}) / p, (1 - e^{-rpt}) / (rp)."""

    per_decade = (8, 8)
    zero = (False, False)

    def box(self, t: np.ndarray) -> np.ndarray:
        """Beta1 from 1e-3 / T to 10 per first step; the ratio from 1.05, almost critically damped, to 1e6."""
        return np.array([[SLOWEST / t[-1], 10 / first_positive(t)], [1.05, 1e6]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        p, r = rates[:, :, None]
        return [np.ones((1, t.size)), -np.expm1(-p * t) / p, -np.expm1(-r * p * t) / (r * p)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
        p, r = rates[:, :, None]
        slow = a[:, 1:2] * (t * np.exp(-p * t) - columns[1])
        fast = a[:, 2:3] * (t * np.exp(-r * p * t) - columns[2])
        return [slow + fast, fast]


class Hill(Boxed):
    """`hill` with h = 1 / t_half and n: columns 1, 1 / (1 + (h t)^-n)."""

    per_decade = (10, 10)
    zero = (False, False)

    def box(self, t: np.ndarray) -> np.ndarray:
        """t_half from half the first step after 0 to 10 T; n from 0.1 to 20."""
        return np.array([[0.1 / t[-1], 2 / first_positive(t)], [0.1, 20.0]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        h, n = rates[:2, :, None]
        return [np.ones((1, t.size)), _share(t, h, n)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
        h, n = rates[:2, :, None]
        return _share_slopes(t, h, n, columns[1], a[:, 1:2])


class HillDecay(Boxed):
    """`hill_decay` with h = 1 / t_half, n and p = beta: columns 1, e^{-pt} / (1 + (h t)^-n), exact at p = 0."""

    per_decade = (6, 5, 5)
    zero = (False, False, True)

    def box(self, t: np.ndarray) -> np.ndarray:
        """As `Hill`; beta from 1e-3 / T to 3 per first step after 0."""
        return np.array([*HILL.box(t), [0.1 * SLOWEST / t[-1], 3 / first_positive(t)]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        h, n, p = rates[:, :, None]
        return [np.ones((1, t.size)), np.exp(-p * t) * _share(t, h, n)]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
        h, n, p = rates[:, :, None]
        decay = np.exp(-p * t)
        by_h, by_n = _share_slopes(t, h, n, _share(t, h, n), a[:, 1:2])
        return [decay * by_h, decay * by_n, -a[:, 1:2] * p * t * columns[1]]


class Bump(Boxed):
    """`bump` with h = 1 / t_bump and its width: columns 1, exp(-log(h t)^2 / (2 width^2)), log(1 + t)."""

    per_decade = (10, 12)
    zero = (False, False)

    def box(self, t: np.ndarray) -> np.ndarray:
        """t_bump from half the first step after 0 to 10 T; width from 0.15 to 10 e-folds."""
        return np.array([[0.1 / t[-1], 2 / first_positive(t)], [0.15, 10.0]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        h, width = rates[:, :, None]
        with np.errstate(divide="ignore"):
            return [np.ones((1, t.size)), np.exp(-((np.log(h * t) / width) ** 2) / 2), np.log1p(t)[None]]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
        h, width = rates[:, :, None]
        with np.errstate(divide="ignore"):
            z = np.where(columns[1] > 0, np.log(h * t) / width, 0.0)
        return [-a[:, 1:2] * columns[1] * z / width, a[:, 1:2] * columns[1] * z**2]


class Power(Boxed):
    """`power` with q = 1 / tau and n: columns 1, (1 - (1 + q t)^-n) / n."""

    per_decade = (8, 5)
    zero = (False, False)

    def box(self, t: np.ndarray) -> np.ndarray:
        """Tau from a hundredth of the first step after 0 to 1e3 T; n from 1e-3, almost `log`, to 100."""
        return np.array([[SLOWEST / t[-1], 100 / first_positive(t)], [1e-3, 100.0]])

    def columns(self, t: np.ndarray, rates: np.ndarray) -> list[Column]:
        """See the class."""
        q, n = rates[:, :, None]
        return [np.ones((1, t.size)), -np.expm1(-n * np.log1p(q * t)) / n]

    def slopes(self, t: np.ndarray, rates: np.ndarray, columns: list[Column], a: np.ndarray) -> list[Column]:
        """See the protocol."""
        q, n = rates[:, :, None]
        growth = np.log1p(q * t)
        left = np.exp(-n * growth)
        return [a[:, 1:2] * left * q * t / (1 + q * t), a[:, 1:2] * (growth * left - columns[1])]


def _log(t: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.where(q == 0, t, np.log1p(q * t) / np.where(q == 0, 1.0, q))


def _share(t: np.ndarray, h: np.ndarray, n: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / (1 + np.exp(-n * np.log(h * t)))


def _share_slopes(t: np.ndarray, h: np.ndarray, n: np.ndarray, share: np.ndarray, a: np.ndarray) -> list[np.ndarray]:
    """a dh / d log(h) and a dh / d log(n)."""
    with np.errstate(divide="ignore"):
        slope = a * n * share * (1 - share)
        return [slope, slope * np.where(slope != 0, np.log(h * t), 0.0)]


HILL = Hill()
