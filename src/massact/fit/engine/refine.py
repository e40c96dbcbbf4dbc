"""Variable projection by Levenberg-Marquardt over a few rates, for a batch of (curve, start) problems at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from massact.fit.forms.basis import Basis

BLOCK = 96  # problems evaluated together: their rows stay in the second-level cache
DEPENDENT = 1e-12  # a column this much shorter after projection is a combination of the ones before it
MAX_STEP = 2.0  # largest change of a log rate in one iteration
MAX_ITERATIONS = 60
# Relative decrease of the SSE below which a descent is finished: one of several, the best before `polish`, a lone one.
ROUGH, FINE, TOLERANCE = 1e-7, 1e-9, 1e-12
ROUGHLY_DONE, POLISHED = 1e-8, 1e-18  # promised share of the SSE at which undamped steps begin and end
SAME = 0.03  # log rates nearer than this to the best minimum's lead to it
MATTERS = 1e-4  # a descent is never hopeless that is behind by less than this share of the total sum of squares
DAMPED, PROMISES = 0.1, 4.0  # a nearly undamped step promises the way to the minimum; it is taken for this many times
VANISHING = 1e-100  # squared length of a Jacobian column that counts as 0
NOTHING = 1e-28  # share of the total sum of squares that counts as an exact fit


class Projection(NamedTuple):
    """Least squares on the columns: coefficients (problem, j), residual and orthonormal columns (problem, step)."""

    a: np.ndarray
    residual: np.ndarray
    orthonormal: list[np.ndarray]


class Point(NamedTuple):
    """Problems at given rates: SSE, coefficients, and the normal equations of Kaufman's Jacobian in the log rates.

    `normal` is (rate, rate, problem), `gradient` (rate, problem): the Jacobian's products with itself and with the
    residual.
    """

    sse: np.ndarray
    a: np.ndarray
    normal: np.ndarray
    gradient: np.ndarray


class Minima(NamedTuple):
    """The best minimum known of each curve: rates (rate, curve) and SSE (curve,)."""

    rates: np.ndarray
    sse: np.ndarray


def project(columns: list[np.ndarray], y: np.ndarray) -> Projection:
    """Least squares of y (problem, step) on columns by modified Gram-Schmidt; a dependent column gets coefficient 0."""
    count, size = len(y), len(columns)
    upper = np.zeros((count, size, size))
    z = np.zeros((count, size))
    orthonormal: list[np.ndarray] = []
    residual = y
    for j, column in enumerate(columns):
        length = np.sqrt(np.vecdot(column, column))
        for i, unit in enumerate(orthonormal):
            share = np.vecdot(unit, column)
            upper[:, i, j] = share
            column = column - share[:, None] * unit
        left = np.sqrt(np.vecdot(column, column))
        kept = left > DEPENDENT * length
        upper[:, j, j] = np.where(kept, left, 1.0)
        unit = column * np.where(kept, 1 / np.where(kept, left, 1.0), 0.0)[:, None]
        z[:, j] = np.vecdot(unit, residual)
        residual = residual - z[:, j : j + 1] * unit
        orthonormal.append(unit)
    a = np.zeros((count, size))
    for j in range(size - 1, -1, -1):
        a[:, j] = (z[:, j] - np.vecdot(upper[:, j, j + 1 :], a[:, j + 1 :])) / upper[:, j, j]
    return Projection(a, residual, orthonormal)


def evaluate(basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, rates: np.ndarray) -> Point:
    """The reduced problem at rates (rate, problem); `y` (problem, step) is weighted by w, (step,) or y's shape."""
    parts = []
    for start in range(0, max(len(y), 1), BLOCK):
        rows = slice(start, start + BLOCK)
        parts.append(_evaluate(basis, t, w[rows] if w.ndim == 2 else w, y[rows], rates[:, rows]))
    if len(parts) == 1:
        return parts[0]
    sse, a, normal, gradient = zip(*parts, strict=True)
    return Point(
        np.concatenate(sse), np.concatenate(a), np.concatenate(normal, axis=2), np.concatenate(gradient, axis=1)
    )


def _evaluate(basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, rates: np.ndarray) -> Point:
    columns = basis.columns(t, rates)
    a, residual, orthonormal = project([column * w for column in columns], y)
    by = basis.slopes(t, rates, columns, a)
    for slope in by:
        slope *= w
        for unit in orthonormal:
            slope -= np.vecdot(unit, slope)[:, None] * unit
    size = len(by)
    normal, gradient = np.empty((size, size, len(y))), np.empty((size, len(y)))
    for i, slope in enumerate(by):
        gradient[i] = np.vecdot(slope, residual)
        for j in range(i + 1):
            normal[i, j] = normal[j, i] = np.vecdot(slope, by[j])
    return Point(np.vecdot(residual, residual), a, normal, gradient)


def refine(
    basis: Basis,
    t: np.ndarray,
    w: np.ndarray,
    y: np.ndarray,
    rates: np.ndarray,
    *,
    tolerance: float = TOLERANCE,
    best: Minima | None = None,
) -> Minima:
    """Local minima from starts (rate, problem). Never worse than the start.

    Problems that fall behind `best` (one minimum a problem), or come to it, are left.
    """
    box = basis.box(t)
    rates = basis.clip(box, rates.astype(float))
    total = np.vecdot(y, y)
    here = evaluate(basis, t, w, y, rates)
    sse = here.sse.copy()
    damping = np.full(sse.size, 1e-3)
    alive = np.flatnonzero(sse > NOTHING * total)
    here = _take(here, alive)
    for iteration in range(MAX_ITERATIONS):
        if best is not None and iteration:
            left = ~_hopeless(iteration, rates[:, alive], sse[alive], total[alive], best, alive)
            alive, here = alive[left], _take(here, left)
        if not alive.size:
            break
        trial_rates, promised = _step(basis, box, here, rates[:, alive], damping[alive])
        if best is not None and iteration:
            lowest = sse[alive] - PROMISES * promised
            kept = (lowest <= best.sse[alive] + 1e-6 * total[alive]) | (damping[alive] >= DAMPED)
            alive, here = alive[kept], _take(here, kept)
            trial_rates, promised = trial_rates[:, kept], promised[kept]
            if not alive.size:
                break
        trial = evaluate(basis, t, w[alive] if w.ndim == 2 else w, y[alive], trial_rates)
        gain = here.sse - trial.sse
        better = gain > 0
        small = np.maximum(np.where(better, gain, 0.0), promised) <= tolerance * here.sse
        finished = small & (damping[alive] < 1)
        won = alive[better]
        rates[:, won], sse[won] = trial_rates[:, better], trial.sse[better]
        ratio = 2 * gain / np.maximum(promised, 1e-300) - 1
        with np.errstate(over="ignore"):
            damping[alive] *= np.where(better, np.maximum(0.1, 1 - ratio**3), 8.0)
        finished |= (damping[alive] > 1e10) | (sse[alive] <= NOTHING * total[alive])
        here = Point(
            np.where(better, trial.sse, here.sse),
            trial.a,
            np.where(better, trial.normal, here.normal),
            np.where(better, trial.gradient, here.gradient),
        )
        if finished.any():
            alive, here = alive[~finished], _take(here, ~finished)
    return Minima(rates, sse)


def polish(basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, found: Minima) -> Minima:
    """Undamped steps from minima to the last digit of their rates."""
    box, rates, sse = basis.box(t), found.rates.copy(), found.sse.copy()
    alive = np.flatnonzero(sse > NOTHING * np.vecdot(y, y))
    here = evaluate(basis, t, w[alive] if w.ndim == 2 else w, y[alive], rates[:, alive])
    for _ in range(6):
        trial, promised = _step(basis, box, here, rates[:, alive], np.zeros(alive.size))
        size = np.abs(promised)
        left = (size <= ROUGHLY_DONE * sse[alive]) & (size > POLISHED * sse[alive])
        alive, trial = alive[left], trial[:, left]
        if not alive.size:
            break
        here = evaluate(basis, t, w[alive] if w.ndim == 2 else w, y[alive], trial)
        kept = here.sse <= sse[alive] * (1 + 1e-12)
        alive, here = alive[kept], _take(here, kept)
        rates[:, alive], sse[alive] = trial[:, kept], np.minimum(here.sse, sse[alive])
    return Minima(rates, sse)


def _take(point: Point, rows: np.ndarray) -> Point:
    return Point(point.sse[rows], point.a[rows], point.normal[:, :, rows], point.gradient[:, rows])


def _hopeless(
    iteration: int, rates: np.ndarray, sse: np.ndarray, total: np.ndarray, best: Minima, alive: np.ndarray
) -> np.ndarray:
    """Which descents are far behind the best minimum, or on their way into it."""
    goal, goal_rates = best.sse[alive], best.rates[:, alive]
    factor = 5.0 if iteration < 5 else 2.0 if iteration < 10 else 1.2 if iteration < 20 else 1.02
    behind = (sse > factor * goal + MATTERS * total) & (iteration >= 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(np.log(rates / goal_rates))
    near = (far < SAME) | ((rates == 0) & (goal_rates == 0))
    return behind | near.all(axis=0)


def _step(
    basis: Basis, box: np.ndarray, here: Point, rates: np.ndarray, damping: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A damped Gauss-Newton step in the log rates, held inside the box; and the decrease of the SSE it promises.

    Where a bound cuts the change of one rate, the others are solved for again: in a flat direction the step must not
    shrink as a whole, or the steep one never converges.
    """
    normal, gradient, size = here.normal, here.gradient, len(here.gradient)
    held = np.stack([normal[i, i] <= VANISHING for i in range(size)])
    change = np.zeros_like(gradient)
    new = rates
    with np.errstate(over="ignore"):
        for _ in range(size + 1):
            wanted = _solve(normal, gradient, damping, held, change)
            new, change = _limited(basis, box, rates, wanted)
            cut = (change != wanted) & ~held
            if not cut.any():
                break
            held = held | cut
    bent = [sum(normal[i, j] * change[j] for j in range(size)) for i in range(size)]
    return new, np.sum([change[i] * (2 * gradient[i] - bent[i]) for i in range(size)], axis=0)


def _solve(
    normal: np.ndarray, gradient: np.ndarray, damping: np.ndarray, held: np.ndarray, change: np.ndarray
) -> np.ndarray:
    """The damped normal equations (rate, rate, problem) with some changes held, by elimination without pivots."""
    size = len(gradient)
    any_held = bool(held.any())
    diagonal = [normal[i, i] * (1 + damping) for i in range(size)]
    right = list(gradient)
    m = [[normal[i, j] for j in range(size)] for i in range(size)]
    if any_held:
        diagonal = [np.where(held[i], 1.0, diagonal[i]) for i in range(size)]
        for i in range(size):
            for j in range(size):
                if i != j:
                    right[i] = right[i] - normal[i, j] * np.where(held[j], change[j], 0.0)
                    m[i][j] = np.where(held[i] | held[j], 0.0, normal[i, j])
            right[i] = np.where(held[i], change[i], right[i])
    pivot = list(diagonal)
    for i in range(size):
        pivot[i] = np.maximum(pivot[i], 1e-15 * diagonal[i])
        for k in range(i + 1, size):
            factor = m[k][i] / pivot[i]
            pivot[k] = pivot[k] - factor * m[i][k]
            for j in range(i + 1, size):
                if j != k:
                    m[k][j] = m[k][j] - factor * m[i][j]
            right[k] = right[k] - factor * right[i]
    out = np.empty_like(gradient)
    for i in range(size - 1, -1, -1):
        left = right[i]
        for j in range(i + 1, size):
            left = left - m[i][j] * out[j]
        out[i] = left / pivot[i]
    return out


def _limited(basis: Basis, box: np.ndarray, rates: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates after a change of their logarithms, and the change that the bounds and `MAX_STEP` leave of it."""
    change = np.clip(change, -MAX_STEP, MAX_STEP)
    wanted = rates * np.exp(change)
    new = basis.clip(box, wanted)
    moved = np.where(rates > 0, new, 1.0) / np.where(rates > 0, rates, 1.0)
    return new, np.where(new == wanted, change, np.log(moved))
