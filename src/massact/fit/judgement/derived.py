"""Quantities of the curve itself, which stay determined where the raw parameters are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from massact.fit.forms import FORMS
from massact.fit.schemas import DERIVED

HALVINGS = 50  # of the log step
GRID = 200  # points of the search for the first peak and crossing of a form without a formula for its peak
GOLDEN = 40  # golden sections: they reach half of the digits of a double


def derived(form: str, values: np.ndarray, first: float, last: float) -> dict[str, np.ndarray]:
    """Derived quantities (curve,) on the trained range [first, last] steps, keyed as `massact.fit.schemas.DERIVED`.

    `values` is (curve, parameter) in the table's order; curves with NaN parameters have NaN quantities. `peak_value` is
    the largest value of the curve in the range. `peak_step` is NaN if that value is at an end of the range.
    `half_rise_step` is the first step halfway from f_start to peak_value, NaN if f_start is the largest value.
    `end_slope` is df / d(ln t) at the last step. `decay_share` is 1 - exp(-b T) with the slowest rate b (1/tau for
    step1), NaN for forms without one.
    """
    chosen = FORMS[form]

    def curve(t: np.ndarray) -> np.ndarray:
        return chosen.value(t, *values.T)

    count = len(values)
    start, end = curve(np.full(count, first)), curve(np.full(count, last))
    grid = heights = None
    top = chosen.peak_step(values, first)
    if top is None:
        grid = np.r_[first, np.geomspace(max(first, 1e-6 * last), last, GRID)[int(first > 0) :]]
        heights = chosen.value(grid, *values.T[:, :, None])
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
    share = -np.expm1(-chosen.slowest_rate(values) * last)
    out = (start, end, largest, np.where(inside, top, np.nan), half, chosen.end_slope(values, last), share)
    return dict(zip(DERIVED, out, strict=True))


def _highest(curve: Callable[[np.ndarray], np.ndarray], grid: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The step (curve,) of the highest point: golden section between the neighbours of the highest grid point."""
    at = np.argmax(np.where(np.isnan(heights), -np.inf, heights), axis=1)
    low, high = grid[np.maximum(at - 1, 0)], grid[np.minimum(at + 1, grid.size - 1)]
    ratio = (np.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    fa, fb = curve(a), curve(b)
    for _ in range(GOLDEN):
        lower = fa > fb  # the maximum is in the lower part
        low, high = np.where(lower, low, a), np.where(lower, b, high)
        a, b = np.where(lower, high - ratio * (high - low), b), np.where(lower, a, low + ratio * (high - low))
        new = curve(np.where(lower, a, b))
        fa, fb = np.where(lower, new, fb), np.where(lower, fa, new)
    return (low + high) / 2


def _bracket(
    grid: np.ndarray, heights: np.ndarray, level: np.ndarray, top: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The grid points between which each curve first reaches a level; it has reached it at `top` (curve,)."""
    reached = (heights >= level[:, None]) & (grid > grid[0])
    after = np.where(reached.any(axis=1), reached.argmax(axis=1), grid.size - 1)
    return grid[after - 1], np.minimum(grid[after], top)


def _crossing(
    curve: Callable[[np.ndarray], np.ndarray], level: np.ndarray, low: np.ndarray, high: np.ndarray, last: float
) -> np.ndarray:
    """The step where curves below `level` at `low` and above it at `high` cross it once, by bisection in log t."""
    shift = 1e-6 * last
    a, b = np.log(low + shift), np.log(high + shift)
    for _ in range(HALVINGS):
        middle = (a + b) / 2
        below = curve(np.exp(middle) - shift) < level
        a, b = np.where(below, middle, a), np.where(below, b, middle)
    return np.maximum(np.exp((a + b) / 2) - shift, low)
