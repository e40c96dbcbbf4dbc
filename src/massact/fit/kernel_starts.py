"""Where a compiled search starts: the minima of one curve's scan, as `scan` finds them for numpy."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

NODE_STARTS, VALLEY_STARTS, WORTH_AN_EDGE, EDGE_MATTERS = 2, 5, 4.0, 0.01  # as in scan
STARTS = 32


@njit(cache=True, error_model="numpy")
@no_type_check
def _insert(value_, p, q, list_v, list_p, list_q, count, most):
    """Put a start into a list kept in order of its SSE, of at most `most`."""
    if count == most:
        if value_ >= list_v[most - 1]:
            return count
        count -= 1
    k = count
    while k > 0 and list_v[k - 1] > value_:
        list_v[k], list_p[k], list_q[k] = list_v[k - 1], list_p[k - 1], list_q[k - 1]
        k -= 1
    list_v[k], list_p[k], list_q[k] = value_, p, q
    return count + 1


@njit(cache=True, error_model="numpy")
@no_type_check
def find_starts(sse, square, p_nodes, q_nodes, out_v, out_p, out_q):
    """Starts (p, q) of one curve from its SSE (p node, q node), the lowest first."""
    P, Q = p_nodes.size, q_nodes.size
    p0, q0 = int(p_nodes[0] == 0), int(q_nodes[0] == 0)
    step = math.log(p_nodes[p0 + 1] / p_nodes[p0])
    v, a, b = np.empty(8), np.empty(8), np.empty(8)
    # the valley's floor
    floor, where, low = np.empty(Q), np.empty(Q), np.empty(Q, dtype=np.int64)
    least = np.full(Q, np.inf)
    for j in range(Q):
        low[j] = p0
    for i in range(p0, P):
        for j in range(q0, Q):
            if sse[i, j] < least[j]:
                least[j] = sse[i, j]
                low[j] = i
    for j in range(q0, Q):
        i = low[j]
        floor[j], where[j] = least[j], math.log(p_nodes[i])
        if p0 < i < P - 1:
            before, after = sse[i - 1, j], sse[i + 1, j]
            bend = before - 2 * least[j] + after
            if bend > 0:
                floor[j] -= (before - after) ** 2 / (8 * bend)
                where[j] += (before - after) / (2 * bend) * step
    n = 0
    for j in range(q0, Q):
        left = floor[j - 1] if j > q0 else np.inf
        right = floor[j + 1] if j < Q - 1 else np.inf
        if floor[j] <= left and floor[j] <= right:
            n = _insert(floor[j], math.exp(where[j]), q_nodes[j], v, a, b, n, VALLEY_STARTS)
    total = 0
    for k in range(n):
        total = _insert(v[k], a[k], b[k], out_v, out_p, out_q, total, STARTS)
    # minima among nodes that the valley has not
    n = 0
    for i in range(P):
        for j in range(Q):
            here = sse[i, j]
            if n == NODE_STARTS and here >= v[n - 1]:
                continue
            if here > min(sse[max(i - 1, 0), j], sse[min(i + 1, P - 1), j]):
                continue
            if here > min(sse[i, max(j - 1, 0)], sse[i, min(j + 1, Q - 1)]):
                continue
            if (
                here > sse[max(i - 1, 0), max(j - 1, 0)]
                or here > sse[max(i - 1, 0), min(j + 1, Q - 1)]
                or here > sse[min(i + 1, P - 1), max(j - 1, 0)]
                or here > sse[min(i + 1, P - 1), min(j + 1, Q - 1)]
            ):
                continue
            n = _insert(here, p_nodes[i], q_nodes[j], v, a, b, n, NODE_STARTS)
    for k in range(n):
        new = True
        for m in range(total):
            if a[k] > 0 and b[k] > 0 and out_p[m] > 0 and out_q[m] > 0:
                new &= abs(math.log(a[k] / out_p[m])) > step or abs(math.log(b[k] / out_q[m])) > 0.1 * step
        if new:
            total = _insert(v[k], a[k], b[k], out_v, out_p, out_q, total, STARTS)
    # the edges, where they are not hopeless
    best = np.inf
    for i in range(P):
        for j in range(Q):
            best = min(best, sse[i, j])
    if p0:
        j = int(np.argmin(sse[0]))
        if sse[0, j] <= WORTH_AN_EDGE * best + EDGE_MATTERS * square:
            total = _insert(sse[0, j], 0.0, q_nodes[j], out_v, out_p, out_q, total, STARTS)
    if q0:
        k = 0
        for i in range(P):
            if sse[i, 0] < sse[k, 0]:
                k = i
        if sse[k, 0] <= WORTH_AN_EDGE * best + EDGE_MATTERS * square:
            total = _insert(sse[k, 0], p_nodes[k], 0.0, out_v, out_p, out_q, total, STARTS)
    return total
