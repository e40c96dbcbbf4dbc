"""Variable projection by Levenberg-Marquardt over a few rates, for a batch of (curve, start) problems at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from massact.fit.forms.basis import Basis

BLOCK = 96  # problems evaluated together, so that their rows stay in the second-level cache
DEPENDENT = 1e-12  # a column that projection shortens to this share is a combination of the columns before it
MAX_STEP = 2.0  # largest change of a log rate in one iteration
MAX_ITERATIONS = 60
# A descent is finished below this relative decrease of the SSE: one of several, the best before `polish`, a single one.
ROUGH, FINE, TOLERANCE = 1e-7, 1e-9, 1e-12
ROUGHLY_DONE, POLISHED = 1e-8, 1e-18  # undamped steps begin and end where they promise this share of the SSE
SAME = 0.03  # a descent whose log rates are closer than this to the best minimum leads to it
MATTERS = 1e-4  # a descent that is behind by less than this share of the total sum of squares is not hopeless
DAMPED, PROMISES = 0.1, 4.0  # the gain still to come is at most this many times what a step of less damping promises
VANISHING = 1e-100  # squared length of a Jacobian column that counts as 0
NOTHING = 1e-28  # a fit with less than this share of the total sum of squares is exact


class Projection(NamedTuple):
    """Least squares on the columns: coefficients (problem, j), residual and orthonormal columns (problem, step)."""

    a: np.ndarray
    residual: np.ndarray
    orthonormal: list[np.ndarray]


class Point(NamedTuple):
    """Problems at given rates: SSE, coefficients, and the normal equations of Kaufman's Jacobian in the log rates.

    `normal` (rate, rate, problem) and `gradient` (rate, problem) are the Jacobian's products with itself and with the
    residual.
    """

    sse: np.ndarray
    a: np.ndarray
    normal: np.ndarray
    gradient: np.ndarray


class Minima(NamedTuple):
    """The best known minimum of each curve: rates (rate, curve) and SSE (curve,)."""

    rates: np.ndarray
    sse: np.ndarray


def project(columns: list[np.ndarray], y: np.ndarray) -> Projection:
    """Least squares of y (problem, step) on columns by modified Gram-Schmidt; dependent columns get coefficient 0."""
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
        rest = np.sqrt(np.vecdot(column, column))
        independent = rest > DEPENDENT * length
        upper[:, j, j] = np.where(independent, rest, 1.0)
        unit = column * np.where(independent, 1 / np.where(independent, rest, 1.0), 0.0)[:, None]
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
    """Local minima from starts (rate, problem), never worse than the start.

    Descents that fall behind `best` (one minimum per problem), or approach it, are abandoned.
    """
    box = basis.box(t)
    rates = basis.clip(box, rates.astype(float))
    total = np.vecdot(y, y)
    point = evaluate(basis, t, w, y, rates)
    sse = point.sse.copy()
    damping = np.full(sse.size, 1e-3)
    active = np.flatnonzero(sse > NOTHING * total)
    point = _take(point, active)
    for iteration in range(MAX_ITERATIONS):
        if best is not None and iteration:
            hopeful = ~_hopeless(iteration, rates[:, active], sse[active], total[active], best, active)
            active, point = active[hopeful], _take(point, hopeful)
        if not active.size:
            break
        trial_rates, promised = _step(basis, box, point, rates[:, active], damping[active])
        if best is not None and iteration:
            lowest = sse[active] - PROMISES * promised
            hopeful = (lowest <= best.sse[active] + 1e-6 * total[active]) | (damping[active] >= DAMPED)
            active, point = active[hopeful], _take(point, hopeful)
            trial_rates, promised = trial_rates[:, hopeful], promised[hopeful]
            if not active.size:
                break
        trial = evaluate(basis, t, w[active] if w.ndim == 2 else w, y[active], trial_rates)
        gain = point.sse - trial.sse
        better = gain > 0
        small = np.maximum(np.where(better, gain, 0.0), promised) <= tolerance * point.sse
        finished = small & (damping[active] < 1)
        rows = active[better]
        rates[:, rows], sse[rows] = trial_rates[:, better], trial.sse[better]
        ratio = 2 * gain / np.maximum(promised, 1e-300) - 1
        with np.errstate(over="ignore"):
            damping[active] *= np.where(better, np.maximum(0.1, 1 - ratio**3), 8.0)
        finished |= (damping[active] > 1e10) | (sse[active] <= NOTHING * total[active])
        point = Point(
            np.where(better, trial.sse, point.sse),
            trial.a,
            np.where(better, trial.normal, point.normal),
            np.where(better, trial.gradient, point.gradient),
        )
        if finished.any():
            active, point = active[~finished], _take(point, ~finished)
    return Minima(rates, sse)


def polish(basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, minima: Minima) -> Minima:
    """Minima refined by undamped steps to the last digit of their rates."""
    box, rates, sse = basis.box(t), minima.rates.copy(), minima.sse.copy()
    active = np.flatnonzero(sse > NOTHING * np.vecdot(y, y))
    point = evaluate(basis, t, w[active] if w.ndim == 2 else w, y[active], rates[:, active])
    for _ in range(6):
        trial, promised = _step(basis, box, point, rates[:, active], np.zeros(active.size))
        size = np.abs(promised)
        unfinished = (size <= ROUGHLY_DONE * sse[active]) & (size > POLISHED * sse[active])
        active, trial = active[unfinished], trial[:, unfinished]
        if not active.size:
            break
        point = evaluate(basis, t, w[active] if w.ndim == 2 else w, y[active], trial)
        accepted = point.sse <= sse[active] * (1 + 1e-12)
        active, point = active[accepted], _take(point, accepted)
        rates[:, active], sse[active] = trial[:, accepted], np.minimum(point.sse, sse[active])
    return Minima(rates, sse)


def _take(point: Point, rows: np.ndarray) -> Point:
    return Point(point.sse[rows], point.a[rows], point.normal[:, :, rows], point.gradient[:, rows])


def _hopeless(
    iteration: int, rates: np.ndarray, sse: np.ndarray, total: np.ndarray, best: Minima, active: np.ndarray
) -> np.ndarray:
    """Which descents are far behind the best minimum, or about to end in it."""
    goal, goal_rates = best.sse[active], best.rates[:, active]
    factor = 5.0 if iteration < 5 else 2.0 if iteration < 10 else 1.2 if iteration < 20 else 1.02
    behind = (sse > factor * goal + MATTERS * total) & (iteration >= 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(np.log(rates / goal_rates))
    near = (distance < SAME) | ((rates == 0) & (goal_rates == 0))
    return behind | near.all(axis=0)


def _step(
    basis: Basis, box: np.ndarray, point: Point, rates: np.ndarray, damping: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A damped Gauss-Newton step in the log rates, kept inside the box, and the decrease of the SSE that it promises.

    Where a bound cuts the change of one rate, the others are solved for again. If the whole step shrank with a flat
    direction, a steep one would never converge.
    """
    normal, gradient, size = point.normal, point.gradient, len(point.gradient)
    fixed = np.stack([normal[i, i] <= VANISHING for i in range(size)])
    change = np.zeros_like(gradient)
    new = rates
    with np.errstate(over="ignore"):
        for _ in range(size + 1):
            solution = _solve(normal, gradient, damping, fixed, change)
            new, change = _limited(basis, box, rates, solution)
            cut = (change != solution) & ~fixed
            if not cut.any():
                break
            fixed = fixed | cut
    bent = [sum(normal[i, j] * change[j] for j in range(size)) for i in range(size)]
    return new, np.sum([change[i] * (2 * gradient[i] - bent[i]) for i in range(size)], axis=0)


def _solve(
    normal: np.ndarray, gradient: np.ndarray, damping: np.ndarray, fixed: np.ndarray, change: np.ndarray
) -> np.ndarray:
    """The damped normal equations (rate, rate, problem) with some changes fixed, solved without pivoting."""
    size = len(gradient)
    any_fixed = bool(fixed.any())
    diagonal = [normal[i, i] * (1 + damping) for i in range(size)]
    right = list(gradient)
    m = [[normal[i, j] for j in range(size)] for i in range(size)]
    if any_fixed:
        diagonal = [np.where(fixed[i], 1.0, diagonal[i]) for i in range(size)]
        for i in range(size):
            for j in range(size):
                if i != j:
                    right[i] = right[i] - normal[i, j] * np.where(fixed[j], change[j], 0.0)
                    m[i][j] = np.where(fixed[i] | fixed[j], 0.0, normal[i, j])
            right[i] = np.where(fixed[i], change[i], right[i])
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
        value = right[i]
        for j in range(i + 1, size):
            value = value - m[i][j] * out[j]
        out[i] = value / pivot[i]
    return out


def _limited(basis: Basis, box: np.ndarray, rates: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates after a change of their logarithms, and that change within the bounds and `MAX_STEP`."""
    change = np.clip(change, -MAX_STEP, MAX_STEP)
    unlimited = rates * np.exp(change)
    new = basis.clip(box, unlimited)
    moved = np.where(rates > 0, new, 1.0) / np.where(rates > 0, rates, 1.0)
    return new, np.where(new == unlimited, change, np.log(moved))
