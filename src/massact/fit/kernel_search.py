"""The global search of Eqs. 9 and 14 over many curves, compiled: starts from the scan, then Levenberg-Marquardt.

The same search as `scan` and `refine` in numpy, but one curve after the other, so that each start knows how good the
best one already is and is left as soon as it cannot win.

numba keeps the compiled code beside this file and compiles anew when this file changes, not when a kernel module it
calls does: after editing those, remove `__pycache__`.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from massact.fit.kernel_point import A0, A1, A2, FOUND, GP, GQ, PP, PQ, QQ, ROWS, SSE, SUMS, slopes, value
from massact.fit.kernel_starts import STARTS, find_starts

MAX_STEP, MAX_ITERATIONS, VANISHING, NOTHING = 2.0, 60, 1e-100, 1e-28  # as in refine
ROUGH, TOLERANCE = 1e-7, 1e-12
POLISHED = 1e-18  # promised share of the SSE at which the rates of the best minimum are final
EDGE_MARGIN = 1e-9
SAME = 0.03  # log rates nearer than this to the best minimum's lead to it
MATTERS = 1e-4
DAMPED, PROMISES = 0.1, 4.0  # a nearly undamped step promises the way to the minimum; it is taken for this many times


@njit(cache=True, error_model="numpy")
@no_type_check
def _clipped(p, q, box, sign):
    """`LogDecay.clip` or, where sign is not 0, `CappedLogDecay.clip`; box is p low, p high, q low, q high."""
    if p != 0 or sign != 0:
        p = min(max(p, box[0]), box[1])
    if q != 0 or sign != 0:
        q = min(max(q, box[2]), box[3])
    if sign != 0:
        q = max(q, p / 600.0)
    return p, q


@njit(cache=True, error_model="numpy")
@no_type_check
def _limited(rate, change, clipped):
    """The change of a log rate that the bounds leave."""
    return change if clipped == rate * math.exp(change) else math.log(clipped / rate)


@njit(cache=True, error_model="numpy")
@no_type_check
def _step(p, q, damping, box, sign, found):
    """`refine._step`: new rates and the decrease of the SSE they promise."""
    pp, qq, pq, gp, gq = found[PP], found[QQ], found[PQ], found[GP], found[GQ]
    free_p, free_q = pp > VANISHING, qq > VANISHING
    hp = pp * (1 + damping) if free_p else 1.0
    hq = qq * (1 + damping) if free_q else 1.0
    determinant = max(hp * hq - pq * pq, 1e-15 * hp * hq)
    dp = (gp * hq - gq * pq) / determinant
    dq = (gq * hp - gp * pq) / determinant
    held_q, held_p = 0.0, 0.0
    if free_q:
        held_q = min(max(dq, -MAX_STEP), MAX_STEP)
        held_q = _limited(q, held_q, _clipped(p, q * math.exp(held_q), box, sign)[1])
    if held_q != dq:
        dp = (gp - pq * held_q) / hp
    if free_p:
        held_p = min(max(dp, -MAX_STEP), MAX_STEP)
        held_p = _limited(p, held_p, _clipped(p * math.exp(held_p), q, box, sign)[0])
    dq = held_q
    if held_p != dp:
        dq = (gq - pq * held_p) / hq
    if free_q:
        dq = min(max(dq, -MAX_STEP), MAX_STEP)
        dq = _limited(q, dq, _clipped(p, q * math.exp(dq), box, sign)[1])
    else:
        dq = 0.0
    promised = 2 * (held_p * gp + dq * gq) - (held_p * held_p * pp + 2 * held_p * dq * pq + dq * dq * qq)
    p, q = _clipped(p * math.exp(held_p), q * math.exp(dq), box, sign)
    return p, q, promised


@njit(cache=True, error_model="numpy")
@no_type_check
def _hopeless(iteration, p, q, sse, total, best, best_p, best_q):
    """Whether a descent is far behind the best minimum, or on its way into it."""
    if iteration == 0 or best == np.inf:
        return False
    factor = 5.0 if iteration < 5 else 2.0 if iteration < 10 else 1.2 if iteration < 20 else 1.02
    if iteration >= 3 and sse > factor * best + MATTERS * total:
        return True
    if (p == 0) != (best_p == 0) or (q == 0) != (best_q == 0):
        return False
    far_p = abs(math.log(p / best_p)) if p > 0 else 0.0
    far_q = abs(math.log(q / best_q)) if q > 0 else 0.0
    return far_p < SAME and far_q < SAME


@njit(cache=True, error_model="numpy")
@no_type_check
def _descend(s, w, one, y, p, q, box, sign, total, best, best_p, best_q, tolerance, work, found):
    """The minimum from a start: rates and SSE. Left early where it cannot beat `best` or leads to the same minimum."""
    p, q = _clipped(p, q, box, sign)
    value(s, w, one, y, p, q, sign, work, found)
    sse, damping = found[SSE], 1e-3
    for iteration in range(MAX_ITERATIONS):
        if sse <= NOTHING * total or _hopeless(iteration, p, q, sse, total, best, best_p, best_q):
            break
        slopes(s, w, one, p, q, sign, work, found)
        gain = promised = 0.0
        new_p, new_q = p, q
        while damping <= 1e10:
            new_p, new_q, promised = _step(p, q, damping, box, sign, found)
            if iteration and damping < DAMPED and sse - PROMISES * promised > best + 1e-6 * total:
                return p, q, sse
            value(s, w, one, y, new_p, new_q, sign, work, found)
            gain = sse - found[SSE]
            if gain > 0 or (promised <= tolerance * sse and damping < 1):
                break
            damping *= 8.0
        if gain <= 0:
            break
        p, q, sse = new_p, new_q, found[SSE]
        if max(gain, promised) <= tolerance * sse and damping < 1:
            break
        ratio = 2 * gain / max(promised, 1e-300) - 1
        damping *= max(0.1, 1 - ratio * ratio * ratio)
    return p, q, sse


@njit(cache=True, error_model="numpy")
@no_type_check
def _polish(s, w, one, y, p, q, box, sign, sse, total, work, found):
    """Undamped steps to the last digit of the rates."""
    if sse <= NOTHING * total:
        return p, q, sse
    value(s, w, one, y, p, q, sign, work, found)
    for _ in range(6):
        slopes(s, w, one, p, q, sign, work, found)
        new_p, new_q, promised = _step(p, q, 0.0, box, sign, found)
        if abs(promised) > 1e-9 * sse or abs(promised) <= POLISHED * sse:
            break
        value(s, w, one, y, new_p, new_q, sign, work, found)
        if found[SSE] > sse * (1 + 1e-12):
            break
        p, q, sse = new_p, new_q, min(found[SSE], sse)
    return p, q, sse


@njit(cache=True, error_model="numpy")
@no_type_check
def _beats(sse, p, q, best, best_p, best_q):
    """Whether a minimum is better than the best; an edge wins a tie."""
    if p == 0 or q == 0:
        sse *= 1 - EDGE_MARGIN
    if best_p == 0 or best_q == 0:
        best *= 1 - EDGE_MARGIN
    return sse < best


@njit(cache=True, error_model="numpy")
@no_type_check
def _best_of(s, w, one, y, ps, qs, count, box, sign, total, p, q, best, tolerance, work, found):
    """The best of a minimum (p, q) and those from the first `count` starts."""
    for k in range(count):
        got = _descend(s, w, one, y, ps[k], qs[k], box, sign, total, best, p, q, tolerance, work, found)
        if _beats(got[2], got[0], got[1], best, p, q):
            p, q, best = got
    return p, q, best


@njit(cache=True, error_model="numpy")
@no_type_check
def _report(s, w, one, y, p, q, sse, sign, work, found, row):
    """What is known of a minimum into a row of the output."""
    value(s, w, one, y, p, q, sign, work, found)
    row[0], row[1], row[2] = p, q, min(sse, found[SSE])
    row[3], row[4], row[5] = found[A0], found[A1], found[A2]


@njit(cache=True, error_model="numpy", fastmath=SUMS)
@no_type_check
def _dot(x, y):
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@njit(cache=True, error_model="numpy", nogil=True)
@no_type_check
def search_rows(s, w, one, targets, explained, p_nodes, q_nodes, box, sign, hops, out):
    """Rates p, q, SSE and coefficients of the best curve of each row of `targets` into `out` (curve, 6).

    `targets` are weighted, without their share of `one`; `explained` (column, curve, p node * q node) are their
    products with the scan's orthonormal columns.
    """
    rows, P, Q = targets.shape[0], p_nodes.size, q_nodes.size
    work, found = np.zeros((ROWS, s.size)), np.zeros(FOUND)
    sse = np.empty((P, Q))
    flat = sse.reshape(P * Q)
    v, a, b = np.empty(STARTS + 1), np.empty(STARTS + 1), np.empty(STARTS + 1)
    for c in range(rows):
        y = targets[c]
        total = _dot(y, y)
        for m in range(flat.size):
            flat[m] = total - explained[0, c, m] * explained[0, c, m]
        for k in range(1, explained.shape[0]):
            for m in range(flat.size):
                flat[m] -= explained[k, c, m] * explained[k, c, m]
        for m in range(flat.size):
            flat[m] = max(flat[m], 0.0)
        n = find_starts(sse, total, p_nodes, q_nodes, v, a, b)
        p, q, best = _best_of(s, w, one, y, a, b, n, box, sign, total, 1.0, 1.0, np.inf, ROUGH, work, found)
        n = 0
        if sign == 0 and p > 0 and q > 0:
            value(s, w, one, y, p, q, sign, work, found)
            if found[A2] < 0:
                for hop in hops:
                    a[n], b[n] = p, q * hop
                    n += 1
        p, q, best = _best_of(s, w, one, y, a, b, n, box, sign, total, p, q, best, ROUGH, work, found)
        p, q, best = _descend(s, w, one, y, p, q, box, sign, total, np.inf, p, q, TOLERANCE, work, found)
        # the inside for what ended on an edge, and the edge for what ended near it
        n = 0
        if p_nodes[0] == 0 and p < 3 * p_nodes[1]:
            a[n], b[n] = p_nodes[1] if p == 0 else 0.0, q
            n += 1
        if q_nodes[0] == 0 and q < 3 * q_nodes[1]:
            a[n], b[n] = p, q_nodes[1] if q == 0 else 0.0
            n += 1
        p, q, best = _best_of(s, w, one, y, a, b, n, box, sign, total, p, q, best, TOLERANCE, work, found)
        p, q, best = _polish(s, w, one, y, p, q, box, sign, best, total, work, found)
        _report(s, w, one, y, p, q, best, sign, work, found, out[c])


@njit(cache=True, error_model="numpy", nogil=True)
@no_type_check
def warm_rows(s, w, one, targets, starts, box, sign, tolerance, out):
    """As `search_rows`, but from the given starts (start, 2) alone, the same for every row."""
    work, found = np.zeros((ROWS, s.size)), np.zeros(FOUND)
    for c in range(targets.shape[0]):
        y = targets[c]
        total = _dot(y, y)
        p, q, best = _best_of(
            s, w, one, y, starts[:, 0], starts[:, 1], len(starts), box, sign, total, 1.0, 1.0, np.inf, tolerance, work,
            found,
        )  # fmt: skip
        _report(s, w, one, y, p, q, best, sign, work, found, out[c])
