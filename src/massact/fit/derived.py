"""Quantities of the curve itself: what stays determined where the raw parameters are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import wrightomega

from massact.fit.checks import Numbers
from massact.fit.forms import FORMS, Eq14, eq14_from_eq9, step2
from massact.fit.table import DERIVED

BISECTIONS = 60


def peak_step(A1: Numbers, A2: Numbers, beta: Numbers, tau0: Numbers) -> np.ndarray:
    """The step of the maximum of Eq. 14 over all t > -tau0; NaN for A1 <= 0, inf where it lies beyond a double.

    f' = 0 where w + log w = c - log beta with w = log(t + tau0) + c, c = A2 / A1: w is Wright's omega function of the
    right side (the Lambert W of the paper's x* = exp(W(1/lam)) in a form that does not overflow for small lam), and
    t = exp(w - c) - tau0.

    >>> round(float(peak_step(1.0, 0.0, 1.0, 0.0)), 6)  # e^{-t} log t
    1.763223
    """
    A1, A2, beta, tau0 = (np.asarray(value, dtype=float) for value in (A1, A2, beta, tau0))
    with np.errstate(all="ignore"):
        c = A2 / A1
        w = wrightomega(c - np.log(beta))
        return np.where(A1 > 0, np.exp(w - c) - tau0, np.nan)


def derived(form: str, values: np.ndarray, first: float, last: float) -> dict[str, np.ndarray]:
    """Derived quantities (curve,) on the trained range [first, last] steps, keyed as `massact.fit.table.DERIVED`.

    `values` is (curve, parameter) in the table's order; curves with NaN parameters have NaN quantities. `peak_value` is
    the largest value of the curve in the range; `peak_step` is NaN when that value is at an end of the range;
    `half_rise_step` is the first step halfway from f_start to peak_value, NaN when f_start is the largest; `end_slope`
    is df / d(ln t) at the last step; `decay_share` is 1 - exp(-b T) with the slowest rate b (1/tau for step1).
    """
    function = FORMS[form].function
    columns = [column[:, None] for column in values.T]

    def curve(t: np.ndarray) -> np.ndarray:
        return function(t[:, None], *columns)[:, 0]

    count = len(values)
    start, end = curve(np.full(count, first)), curve(np.full(count, last))
    top = _stationary(form, values, first)
    inside = np.isfinite(top) & (top > first) & (top < last)
    at_top = curve(np.where(inside, top, last))
    ends = np.maximum(start, end)
    inside &= at_top > ends
    largest = np.where(inside, at_top, ends)
    where_largest = np.where(inside, top, last)
    rises = largest > start
    half = np.where(rises, _first_crossing(curve, (start + largest) / 2, first, where_largest), np.nan)
    out = (start, end, largest, np.where(inside, top, np.nan), half, _end_slope(form, values, last))
    share = -np.expm1(-slowest_rate(form, values) * last)
    return dict(zip(DERIVED, (*out, share), strict=True))


def slowest_rate(form: str, values: np.ndarray) -> np.ndarray:
    """The rate (curve,) per step of the slowest decay: beta, 1 / tau, or step2's slow pole."""
    with np.errstate(all="ignore"):
        if form in ("eq9", "eq14"):
            return _eq14(form, values).beta
        if form == "step1":
            return 1 / values[:, 1]
        zeta, omega = values[:, 1], values[:, 2]
        return np.where(zeta < 1, zeta * omega, omega / (zeta + np.sqrt(np.maximum(zeta**2 - 1, 0.0))))


def _eq14(form: str, values: np.ndarray) -> Eq14:
    return eq14_from_eq9(*values.T) if form == "eq9" else Eq14(*values.T)


def _stationary(form: str, values: np.ndarray, first: float) -> np.ndarray:
    """The step (curve,) of the only maximum of Eqs. 9 and 14, or of step2's first overshoot after `first`; else NaN."""
    if form in ("eq9", "eq14"):
        A1, A2, beta, tau0, _ = _eq14(form, values)
        return peak_step(A1, A2, beta, tau0)
    if form == "step1":
        return np.full(len(values), np.nan)
    K, zeta, omega = values.T
    with np.errstate(all="ignore"):
        half_period = np.pi / (omega * np.sqrt(np.where(zeta < 1, 1 - zeta**2, np.nan)))
        odd = 2 * np.ceil((first / half_period - 1) / 2) + 1
        even = 2 * np.ceil(first / half_period / 2)
        return half_period * np.where(K > 0, np.maximum(odd, 1), np.maximum(even, 2))


def _first_crossing(
    curve: Callable[[np.ndarray], np.ndarray], level: np.ndarray, first: float, last: np.ndarray
) -> np.ndarray:
    """Where a curve that begins below `level` and ends above it, crossing once, crosses: by bisection."""
    low, high = np.full(last.shape, first), last.astype(float)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = curve(middle) < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _end_slope(form: str, values: np.ndarray, last: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        if form in ("eq9", "eq14"):
            A1, A2, beta, tau0, _ = _eq14(form, values)
            x = last + tau0
            return last * np.exp(-beta * last) * (A1 / x - beta * (A1 * np.log(x) + A2))
        if form == "step1":
            K, tau = values.T
            return K * last / tau * np.exp(-last / tau)
        step = np.exp(1e-4)
        return (step2(last * step, *values.T) - step2(last / step, *values.T)) / 2e-4
