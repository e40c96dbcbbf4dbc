"""The global search: every curve on one scan over two rates, then the best minima refined.

Variable projection (Golub and Pereyra 1973) with Kaufman's Jacobian. One search takes one set of steps and weights; NaN
and weights that differ between curves are for `massact.fit.many`, which groups the curves first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from massact.fit.bases import BASES, CAPPED, LOG_DECAY, Basis
from massact.fit.refine import evaluate, project, refine
from massact.fit.scan import starts

CHUNK = 128  # curves searched together: their arrays stay in the cache
HOPS = (0.5, 0.8, 1.25, 2.0)
EDGE_MARGIN = 1e-9  # an edge is taken when its SSE is no worse than this, relatively


class Optimum(NamedTuple):
    """The best curve of each series: rates (curve,), coefficients (curve, j) of the basis's columns, weighted SSE."""

    p: np.ndarray
    q: np.ndarray
    a: np.ndarray
    sse: np.ndarray


def search(
    form: str, t: Float[np.ndarray, " step"], y: Float[np.ndarray, "curve step"], w: Float[np.ndarray, " step"]
) -> Optimum:
    """The global optimum of a form, the limit curves included (a rate of 0 says which).

    Steps ascending and not negative, no NaN, weights w > 0 that multiply residuals.
    """
    return _search(BASES[form], t, y, w)


def search_capped(t: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[Optimum, np.ndarray]:
    """The best curve of Eq. 9 at the largest |log gamma| it can draw, and the sign (curve,) of that log gamma."""
    plus, minus = (_search(CAPPED[sign], t, y, w) for sign in (1, -1))
    first = plus.sse <= minus.sse
    best = (np.where(first.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(plus, minus, strict=True))
    return Optimum(*best), np.where(first, 1, -1)


def linear_fit(
    basis: Basis, t: np.ndarray, y: np.ndarray, w: np.ndarray, p: np.ndarray, q: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (curve, j) and weighted SSE (curve,) at given rates (curve,)."""
    fitted = project([column * w for column in basis.columns(t, p[:, None], q[:, None])], y * w)
    return fitted.a, np.vecdot(fitted.residual, fitted.residual)


def _search(basis: Basis, t: np.ndarray, y: np.ndarray, w: np.ndarray) -> Optimum:
    parts = [_search_chunk(basis, t, y[start : start + CHUNK], w) for start in range(0, len(y), CHUNK)]
    return Optimum(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _search_chunk(basis: Basis, t: np.ndarray, y: np.ndarray, w: np.ndarray) -> Optimum:
    middle = (y @ w**2 / np.sum(w**2))[:, None] if basis.constant else np.zeros((len(y), 1))
    size = np.abs(y - middle).max(axis=1, keepdims=True)
    size = np.where(size > 0, size, 1.0)
    target = (y - middle) / size * w
    curve, p, q = starts(basis, t, w, target)
    p, q, sse = refine(basis, t, w, target[curve], p, q, curve)
    p, q, sse = _best(curve, p, q, sse, len(y))
    p, q, sse = _across_edges(basis, t, w, target, p, q, sse)
    if basis is LOG_DECAY:
        p, q, sse = _nearby(basis, t, w, target, p, q, sse)
    a = evaluate(basis, t, w, target, p, q).a * size
    if basis.constant:
        a[:, 0] += middle[:, 0]
    return Optimum(p, q, a, sse * size[:, 0] ** 2)


def _best(curve: np.ndarray, p: np.ndarray, q: np.ndarray, sse: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """Of each curve's problems the one with the smallest SSE; an edge wins a tie."""
    rank = sse * np.where((p == 0) | (q == 0), 1 - EDGE_MARGIN, 1.0)
    order = np.lexsort((rank, curve))
    first = order[np.searchsorted(curve[order], np.arange(count))]
    return p[first], q[first], sse[first]


def _nearby(
    basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, p: np.ndarray, q: np.ndarray, sse: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Start again at either side of falling curves, whose valley can hold two minima closer than the scan's nodes."""
    falling = np.flatnonzero((evaluate(basis, t, w, y, p, q).a[:, -1] < 0) & (p > 0) & (q > 0))
    if not falling.size:
        return p, q, sse
    curve = np.tile(falling, len(HOPS))
    moved = np.concatenate([q[falling] * hop for hop in HOPS])
    new_p, new_q, new_sse = refine(basis, t, w, y[curve], p[curve], moved, curve)
    every = np.arange(len(y))
    return _best(np.r_[every, curve], np.r_[p, new_p], np.r_[q, new_q], np.r_[sse, new_sse], len(y))


def _across_edges(
    basis: Basis, t: np.ndarray, w: np.ndarray, y: np.ndarray, p: np.ndarray, q: np.ndarray, sse: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Try the inside for curves that ended on an edge, and the edge for those that ended near it."""
    p_nodes, q_nodes = basis.grid(t)
    every = np.arange(len(y))
    curves, ps, qs = [every], [p], [q]
    for nodes, is_p in ((p_nodes, True), (q_nodes, False)):
        if nodes[0] != 0:
            continue
        rate = p if is_p else q
        inside = np.flatnonzero(rate == 0)
        edge = np.flatnonzero((rate > 0) & (rate < 3 * nodes[1]))
        for chosen, value in ((inside, nodes[1]), (edge, 0.0)):
            moved = np.full(chosen.size, value)
            curves.append(chosen)
            ps.append(moved if is_p else p[chosen])
            qs.append(q[chosen] if is_p else moved)
    curve, p, q = np.concatenate(curves), np.concatenate(ps), np.concatenate(qs)
    extra = curve.size - len(y)
    if extra:
        new_p, new_q, new_sse = refine(basis, t, w, y[curve[-extra:]], p[-extra:], q[-extra:])
        p, q, sse = np.r_[p[:-extra], new_p], np.r_[q[:-extra], new_q], np.r_[sse, new_sse]
    return _best(curve, p, q, sse, len(y))
