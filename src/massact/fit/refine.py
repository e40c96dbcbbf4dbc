"""Variable projection by Levenberg-Marquardt over two rates, for a batch of (curve, start) problems at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from massact.fit.bases import Basis

DEPENDENT = 1e-12  # a column this much shorter after projection is a combination of the ones before it
MAX_STEP = 2.0  # largest change of a log rate in one iteration
MAX_ITERATIONS = 60
TOLERANCE = 1e-11  # relative decrease of the SSE below which a problem is finished
# After so many iterations a problem stops whose SSE is this many times the best, and worse by `MATTERS` of the total.
HOPELESS = {5: 2.0, 10: 1.2, 20: 1.02}
MATTERS = 1e-4
VANISHING = 1e-100  # squared length of a Jacobian column that counts as 0
NOTHING = 1e-28  # share of the total sum of squares that counts as an exact fit


class Projection(NamedTuple):
    """Least squares on the columns: coefficients (problem, j), residual and orthonormal columns (problem, step)."""

    a: np.ndarray
    residual: np.ndarray
    orthonormal: list[np.ndarray]


class Point(NamedTuple):
    """Problems at given rates: SSE, coefficients, residual and Kaufman's Jacobian in the log rates."""

    sse: np.ndarray
    a: np.ndarray
    residual: np.ndarray
    by_p: np.ndarray
    by_q: np.ndarray


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


def evaluate(basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, p: np.ndarray, q: np.ndarray) -> Point:
    """The reduced problem at rates p, q (problem,); `y` (problem, step) is weighted by w (step,) already."""
    p, q = p[:, None], q[:, None]
    columns = basis.columns(t, p, q)
    a, residual, orthonormal = project([column * w for column in columns], y)
    by_p, by_q = basis.slopes(t, p, q, columns, a)
    by_p, by_q = by_p * w, by_q * w
    for unit in orthonormal:
        by_p = by_p - np.vecdot(unit, by_p)[:, None] * unit
        by_q = by_q - np.vecdot(unit, by_q)[:, None] * unit
    return Point(np.vecdot(residual, residual), a, residual, by_p, by_q)


def refine(
    basis: Basis,
    t: np.ndarray,
    w: np.ndarray,
    y: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
    curve: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local minima from starts (p, q): rates p, q and SSE, each (problem,). Never worse than the start.

    With `curve` (problem,) only the best problem of each curve matters, and those far behind are left: `HOPELESS`.
    """
    p, q = (rate.astype(float) for rate in basis.clip(t, p, q))
    total = np.vecdot(y, y)
    point = evaluate(basis, t, w, y, p, q)
    sse = point.sse.copy()
    damping = np.full(p.size, 1e-3)
    alive = np.flatnonzero(sse > NOTHING * total)
    here = Point(*(part[alive] for part in point))
    for iteration in range(MAX_ITERATIONS):
        if curve is not None and iteration in HOPELESS:
            best = np.full(curve.max() + 1, np.inf)
            np.minimum.at(best, curve, sse)
            kept = sse[alive] <= HOPELESS[iteration] * best[curve[alive]] + MATTERS * total[alive]
            alive, here = alive[kept], Point(*(part[kept] for part in here))
        if not alive.size:
            break
        trial_p, trial_q, promised = _step(basis, t, here, p[alive], q[alive], damping[alive])
        trial = evaluate(basis, t, w, y[alive], trial_p, trial_q)
        better = trial.sse < here.sse
        gain = np.where(better, here.sse - trial.sse, 0.0)
        finished = (np.maximum(gain, promised) <= TOLERANCE * here.sse) & (damping[alive] < 1)
        won = alive[better]
        p[won], q[won], sse[won] = trial_p[better], trial_q[better], trial.sse[better]
        damping[alive] *= np.where(better, 0.2, 8.0)
        finished |= (damping[alive] > 1e10) | (sse[alive] <= NOTHING * total[alive])
        pick = better[:, None]
        here = Point(
            np.where(better, trial.sse, here.sse),
            trial.a,
            np.where(pick, trial.residual, here.residual),
            np.where(pick, trial.by_p, here.by_p),
            np.where(pick, trial.by_q, here.by_q),
        )
        alive, here = alive[~finished], Point(*(part[~finished] for part in here))
    return p, q, sse


def _step(
    basis: Basis, t: np.ndarray, here: Point, p: np.ndarray, q: np.ndarray, damping: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A damped Gauss-Newton step in the log rates, held inside the box; and the decrease of the SSE it promises.

    Where a bound cuts the change of one rate, the other is solved for again: in a flat direction the step must not
    shrink as a whole, or the steep one never converges.
    """
    pp, qq = np.vecdot(here.by_p, here.by_p), np.vecdot(here.by_q, here.by_q)
    pq = np.vecdot(here.by_p, here.by_q)
    gp, gq = np.vecdot(here.by_p, here.residual), np.vecdot(here.by_q, here.residual)
    free_p, free_q = pp > VANISHING, qq > VANISHING
    hp, hq = np.where(free_p, pp * (1 + damping), 1.0), np.where(free_q, qq * (1 + damping), 1.0)
    determinant = np.maximum(hp * hq - pq**2, 1e-15 * hp * hq)
    dp = (gp * hq - gq * pq) / determinant
    dq = (gq * hp - gp * pq) / determinant
    new_q, held_q = _limited(lambda rate: basis.clip(t, p, rate)[1], q, dq, free_q)
    dp = np.where(held_q != dq, (gp - pq * held_q) / hp, dp)
    new_p, held_p = _limited(lambda rate: basis.clip(t, rate, q)[0], p, dp, free_p)
    dq = np.where(held_p != dp, (gq - pq * held_p) / hq, held_q)
    new_q, dq = _limited(lambda rate: basis.clip(t, p, rate)[1], q, dq, free_q)
    promised = 2 * (held_p * gp + dq * gq) - (held_p**2 * pp + 2 * held_p * dq * pq + dq**2 * qq)
    return *basis.clip(t, new_p, new_q), promised


def _limited(
    clip: Callable[[np.ndarray], np.ndarray], rate: np.ndarray, change: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The rate after a change of its logarithm, and the change that the bounds and `MAX_STEP` leave of it."""
    change = np.where(free, np.clip(change, -MAX_STEP, MAX_STEP), 0.0)
    wanted = rate * np.exp(change)
    new = clip(wanted)
    return new, np.where(new == wanted, change, np.log(np.where(rate > 0, new, 1.0) / np.where(rate > 0, rate, 1.0)))
