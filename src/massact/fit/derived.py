"""Quantities of the curve itself: what stays determined where the raw parameters are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import wrightomega

from massact.fit.checks import Numbers
from massact.fit.forms import FORMS, Eq14, eq14_from_eq9
from massact.fit.table import DERIVED

HALVINGS = 50  # of the log step
GRID = 200  # points on which the first peak and crossing of a form without a formula for them are looked for
GOLDEN = 40  # sections: to the square root of a double's digits
MONOTONE = ("step1", "log", "hill", "power")
OWN_FORMULA = ("eq9", "eq14", "step2", *MONOTONE)
RATES = {"log_decay": "beta", "two_exp": "beta1", "hill_decay": "beta"}  # the slowest decay of a form beyond the paper


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
    is df / d(ln t) at the last step; `decay_share` is 1 - exp(-b T) with the slowest rate b (1/tau for step1), NaN for
    forms without one.
    """
    function = FORMS[form].function

    def curve(t: np.ndarray) -> np.ndarray:
        return function(t, *values.T)

    count = len(values)
    start, end = curve(np.full(count, first)), curve(np.full(count, last))
    grid = heights = None
    if form in OWN_FORMULA:
        top = _stationary(form, values, first)
    else:
        grid = np.r_[first, np.geomspace(max(first, 1e-6 * last), last, GRID)[int(first > 0) :]]
        heights = function(grid, *values.T[:, :, None])
        top = _highest(curve, grid, heights)
    inside = np.isfinite(top) & (top > first) & (top < last)
    at_top = curve(np.where(inside, top, last))
    ends = np.maximum(start, end)
    inside &= at_top > ends
    largest = np.where(inside, at_top, ends)
    where_largest = np.where(inside, top, last)
    level = (start + largest) / 2
    low, high = np.full(count, first), where_largest
    if grid is not None and heights is not None:
        low, high = _bracket(grid, heights, level, where_largest)
    half = np.where(largest > start, _crossing(curve, level, low, high, last), np.nan)
    share = -np.expm1(-slowest_rate(form, values) * last)
    out = (start, end, largest, np.where(inside, top, np.nan), half, _end_slope(form, values, last), share)
    return dict(zip(DERIVED, out, strict=True))


def slowest_rate(form: str, values: np.ndarray) -> np.ndarray:
    """The rate (curve,) per step of the slowest decay: beta, 1 / tau, or step2's slow pole; NaN for forms without."""
    with np.errstate(all="ignore"):
        if form in ("eq9", "eq14"):
            return _eq14(form, values).beta
        if form == "step1":
            return 1 / values[:, 1]
        if form == "step2":
            zeta, omega = values[:, 1], values[:, 2]
            return np.where(zeta < 1, zeta * omega, omega / (zeta + np.sqrt(np.maximum(zeta**2 - 1, 0.0))))
    if form in RATES:
        return values[:, FORMS[form].parameters.index(RATES[form])]
    return np.full(len(values), np.nan)


def _eq14(form: str, values: np.ndarray) -> Eq14:
    return eq14_from_eq9(*values.T) if form == "eq9" else Eq14(*values.T)


def _stationary(form: str, values: np.ndarray, first: float) -> np.ndarray:
    """The step (curve,) of the only maximum of Eqs. 9 and 14, or of step2's first overshoot after `first`; else NaN."""
    if form in ("eq9", "eq14"):
        A1, A2, beta, tau0, _ = _eq14(form, values)
        return peak_step(A1, A2, beta, tau0)
    if form in MONOTONE:
        return np.full(len(values), np.nan)
    K, zeta, omega = values.T
    with np.errstate(all="ignore"):
        half_period = np.pi / (omega * np.sqrt(np.where(zeta < 1, 1 - zeta**2, np.nan)))
        odd = 2 * np.ceil((first / half_period - 1) / 2) + 1
        even = 2 * np.ceil(first / half_period / 2)
        return half_period * np.where(K > 0, np.maximum(odd, 1), np.maximum(even, 2))


def _highest(curve: Callable[[np.ndarray], np.ndarray], grid: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The step (curve,) of the highest point of curves known on a grid, by golden section between its neighbours."""
    at = np.argmax(np.where(np.isnan(heights), -np.inf, heights), axis=1)
    low, high = grid[np.maximum(at - 1, 0)], grid[np.minimum(at + 1, grid.size - 1)]
    ratio = (np.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    fa, fb = curve(a), curve(b)
    for _ in range(GOLDEN):
        left = fa > fb
        low, high = np.where(left, low, a), np.where(left, b, high)
        a, b = np.where(left, high - ratio * (high - low), b), np.where(left, a, low + ratio * (high - low))
        new = curve(np.where(left, a, b))
        fa, fb = np.where(left, new, fb), np.where(left, fa, new)
    return (low + high) / 2


def _bracket(
    grid: np.ndarray, heights: np.ndarray, level: np.ndarray, top: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Between which points of a grid each curve first reaches a level; `top` (curve,) where it certainly has."""
    reached = (heights >= level[:, None]) & (grid > grid[0])
    after = np.where(reached.any(axis=1), reached.argmax(axis=1), grid.size - 1)
    return grid[after - 1], np.minimum(grid[after], top)


def _crossing(
    curve: Callable[[np.ndarray], np.ndarray], level: np.ndarray, low: np.ndarray, high: np.ndarray, last: float
) -> np.ndarray:
    """Where curves that are below `level` at `low` and above at `high`, crossing once, cross: bisecting log(t)."""
    shift = 1e-6 * last
    a, b = np.log(low + shift), np.log(high + shift)
    for _ in range(HALVINGS):
        middle = (a + b) / 2
        below = curve(np.exp(middle) - shift) < level
        a, b = np.where(below, middle, a), np.where(below, b, middle)
    return np.maximum(np.exp((a + b) / 2) - shift, low)


def _end_slope(form: str, values: np.ndarray, last: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        if form in ("eq9", "eq14"):
            A1, A2, beta, tau0, _ = _eq14(form, values)
            x = last + tau0
            return last * np.exp(-beta * last) * (A1 / x - beta * (A1 * np.log(x) + A2))
        if form == "step1":
            K, tau = values.T
            return K * last / tau * np.exp(-last / tau)
        step, function = np.exp(1e-4), FORMS[form].function
        return (function(last * step, *values.T) - function(last / step, *values.T)) / 2e-4
