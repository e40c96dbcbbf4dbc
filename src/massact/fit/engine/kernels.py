"""The compiled search of Eqs. 9 and 14: exp and log, the reduced problem, starts from a scan, Levenberg-Marquardt.

The same search as `scan` and `refine` in numpy, but one curve after the other. Each start knows the best SSE so far,
and is abandoned as soon as it cannot improve on it. Loops run over one curve's points, and the compiler turns each into
vector instructions; a curve's rows stay in the first-level cache.

All kernels are in this one file because numba caches compiled code beside it, and recompiles only when the file itself
changes. Compiled functions are `no_type_check` because numba must not see the wrapper that checks annotations in
the tests.
"""

from __future__ import annotations

import math
from typing import Any, no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# exp and log: branch-free, so that loops run on vectors (libm's run one by one); within 4 units in the last place.
# Nothing here may be compiled with `reassoc`: it would cancel the corrections.

LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01  # its last 21 bits are 0: k times it is exact
LN2_LOW = 1.90821492927058770002e-10
ROUNDING = 6755399441055744.0  # 1.5 * 2^52: adding it leaves the nearest integer in the low bits
ROUNDING_BITS = 0x4338000000000000
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD  # of sqrt(1/2)
UNDERFLOW = -708.0
# Stated, because numba hands a caller's fastmath down to functions that state none.
EXACT = {"contract"}


@intrinsic
@no_type_check
def _bits_of(context: Any, x: Any) -> Any:
    """The 64 bits of a double as an integer."""

    @no_type_check
    def code(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), code


@intrinsic
@no_type_check
def _double_of(context: Any, i: Any) -> Any:
    """The double that has these 64 bits."""

    @no_type_check
    def code(_context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), code


bits_of: Any = _bits_of  # numba supplies the first argument
double_of: Any = _double_of


@njit(cache=True, error_model="numpy", fastmath=EXACT)
@no_type_check
def expm1(x: float) -> float:
    """exp(x) - 1 for x <= 0; x below -708 counts as -708.

    exp(x) = 2^k exp(r) with |r| <= log(2) / 2, and exp(r) - 1 by its Taylor series to r^13.
    """
    x = max(x, UNDERFLOW)
    shifted = x * LOG2_E + ROUNDING
    k = shifted - ROUNDING
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    h = 1 / 6227020800.0
    h = h * r + 1 / 479001600.0
    h = h * r + 1 / 39916800.0
    h = h * r + 1 / 3628800.0
    h = h * r + 1 / 362880.0
    h = h * r + 1 / 40320.0
    h = h * r + 1 / 5040.0
    h = h * r + 1 / 720.0
    h = h * r + 1 / 120.0
    h = h * r + 1 / 24.0
    h = h * r + 1 / 6.0
    h = h * r + 0.5
    small = r + r * r * h
    power = double_of((bits_of(shifted) - ROUNDING_BITS + 1023) << 52)
    return power * small + (power - 1.0)


@njit(cache=True, error_model="numpy", fastmath=EXACT)
@no_type_check
def log1p(x: float) -> float:
    """log(1 + x) for finite x >= 0.

    log(u) of u = 1 + x as e log(2) + log(m), m in [sqrt(1/2), sqrt(2)], and log(m) by the series of atanh; to it comes
    the part of x that u lost, divided by u.
    """
    u = 1.0 + x
    e = (bits_of(u) - ROOT_HALF_BITS) >> 52
    f = double_of(bits_of(u) - (e << 52)) - 1.0
    k = double_of(e + ROUNDING_BITS) - ROUNDING
    s = f / (2.0 + f)
    z = s * s
    h = 2 / 21.0
    h = h * z + 2 / 19.0
    h = h * z + 2 / 17.0
    h = h * z + 2 / 15.0
    h = h * z + 2 / 13.0
    h = h * z + 2 / 11.0
    h = h * z + 2 / 9.0
    h = h * z + 2 / 7.0
    h = h * z + 2 / 5.0
    h = h * z + 2 / 3.0
    return k * LN2_HIGH + (2.0 * s + (s * z * h + (k * LN2_LOW + (x - (u - 1.0)) / u)))


# The reduced problem at one point of the two rates: `columns` of Eq. 14 and `refine.evaluate`.

CAP, DEPENDENT = 600.0, 1e-12  # as in bases and refine
ROWS = 9  # of `work`
DECAY, RISE, LOG, SHARE, FIRST, SECOND, RESIDUAL, BY_P, BY_Q = range(ROWS)
# `solution`: SSE, the columns' coefficients (the constant one's times the length of w), what 1 is over the other two
# columns' squared lengths once orthogonal, and the normal equations of the log rates.
SOLUTION = 11
SSE, A0, A1, A2, OVER1, OVER2, PP, QQ, PQ, GP, GQ = range(SOLUTION)
SUMS = {"reassoc", "nsz", "contract", "arcp"}  # not "nnan": a NaN has to stay one


@njit(cache=True, error_model="numpy", fastmath=EXACT)
@no_type_check
def _columns(s, w, p, q, sign, work):
    """`LogDecay.columns` (or `CappedLogDecay` where sign is not 0): rows DECAY, RISE, LOG, SHARE = s / (1 + q s)."""
    decay, rise, log, share = work[DECAY], work[RISE], work[LOG], work[SHARE]
    first, second = work[FIRST], work[SECOND]
    over_p = -1.0 / p if p > 0 else 0.0
    over_q = 1.0 / q if q > 0 else 0.0
    for i in range(s.size):
        fallen = expm1(-p * s[i])
        decay[i] = 1.0 + fallen
        rise[i] = fallen * over_p
        log[i] = log1p(q * s[i]) * over_q
        share[i] = s[i] / (1.0 + q * s[i])
    if p == 0:
        for i in range(s.size):
            rise[i] = s[i]
    if sign != 0:
        for i in range(s.size):
            log[i] = (log[i] * q - math.log(q)) / CAP + sign
    elif q == 0:
        for i in range(s.size):
            log[i] = s[i] * s[i] if p == 0 else s[i]
    for i in range(s.size):
        log[i] *= decay[i]
        first[i] = rise[i] * w[i]
        second[i] = log[i] * w[i]


@njit(cache=True, error_model="numpy", fastmath=SUMS)
@no_type_check
def _share(row, unit):
    """The row's product with a unit vector, and the row's squared length."""
    share, square = 0.0, 0.0
    for i in range(row.size):
        share += row[i] * unit[i]
        square += row[i] * row[i]
    return share, square


@njit(cache=True, error_model="numpy", fastmath=SUMS)
@no_type_check
def _without(row, other, share, with_it):
    """Take `share` of another row out; the row's squared length then and its product with `with_it`."""
    square, product = 0.0, 0.0
    for i in range(row.size):
        left = row[i] - share * other[i]
        row[i] = left
        square += left * left
        product += left * with_it[i]
    return square, product


@njit(cache=True, error_model="numpy", fastmath=SUMS)
@no_type_check
def value(s, w, one, y, p, q, sign, work, solution):
    """SSE and coefficients at (p, q) into `solution`; the residual and the orthogonal columns into `work`."""
    _columns(s, w, p, q, sign, work)
    first, second, residual = work[FIRST], work[SECOND], work[RESIDUAL]
    share1, before = _share(first, one)
    square1, product = _without(first, one, share1, y)
    kept1 = sign == 0 and square1 > DEPENDENT * DEPENDENT * before
    over1 = 1.0 / square1 if kept1 else 0.0
    z1 = product * over1
    share2, before = _share(second, one)
    square2, product = _without(second, one, share2, first)
    shared = product * over1
    square2, product = _without(second, first, shared, y)
    kept2 = square2 > DEPENDENT * DEPENDENT * before
    over2 = 1.0 / square2 if kept2 else 0.0
    z2 = product * over2
    sse = 0.0
    for i in range(y.size):
        left = y[i] - z1 * first[i] - z2 * second[i]
        residual[i] = left
        sse += left * left
    a1 = z1 - shared * z2
    solution[SSE], solution[A0], solution[A1], solution[A2] = sse, -a1 * share1 - z2 * share2, a1, z2
    solution[OVER1], solution[OVER2] = over1, over2


@njit(cache=True, error_model="numpy", fastmath=SUMS)
@no_type_check
def slopes(s, w, one, p, q, sign, work, solution):
    """Kaufman's normal equations of the log rates into `solution`, after `value` at the same rates."""
    decay, rise, log, share = work[DECAY], work[RISE], work[LOG], work[SHARE]
    first, second, residual, by_p, by_q = work[FIRST], work[SECOND], work[RESIDUAL], work[BY_P], work[BY_Q]
    a1, a2 = solution[A1], solution[A2]
    if sign != 0:
        for i in range(s.size):
            by_p[i] = -a2 * p * s[i] * log[i] * w[i]
            by_q[i] = -a2 * decay[i] * (1.0 - q * share[i]) / CAP * w[i]
    else:
        a1 = a1 if p > 0 else 0.0
        b2 = a2 if q > 0 else 0.0
        for i in range(s.size):
            by_p[i] = (a1 * (s[i] * decay[i] - rise[i]) - a2 * p * s[i] * log[i]) * w[i]
            by_q[i] = b2 * (decay[i] * share[i] - log[i]) * w[i]
    p0, p1, p2, q0, q1, q2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(s.size):
        p0 += by_p[i] * one[i]
        p1 += by_p[i] * first[i]
        p2 += by_p[i] * second[i]
        q0 += by_q[i] * one[i]
        q1 += by_q[i] * first[i]
        q2 += by_q[i] * second[i]
    over1, over2 = solution[OVER1], solution[OVER2]
    p1, p2, q1, q2 = p1 * over1, p2 * over2, q1 * over1, q2 * over2
    pp, qq, pq, gp, gq = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(s.size):
        up = by_p[i] - p0 * one[i] - p1 * first[i] - p2 * second[i]
        uq = by_q[i] - q0 * one[i] - q1 * first[i] - q2 * second[i]
        pp += up * up
        qq += uq * uq
        pq += up * uq
        gp += up * residual[i]
        gq += uq * residual[i]
    solution[PP], solution[QQ], solution[PQ], solution[GP], solution[GQ] = pp, qq, pq, gp, gq


# Where a search starts: the minima of one curve's scan, as `scan` finds them for numpy.

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
    for j in range(q0 + 1, Q - 1):
        if floor[j] <= floor[j - 1] and floor[j] <= floor[j + 1]:
            n = _insert(floor[j], math.exp(where[j]), q_nodes[j], v, a, b, n, VALLEY_STARTS)
    total = 0
    for k in range(n):
        total = _insert(v[k], a[k], b[k], out_v, out_p, out_q, total, STARTS)
    for j in (q0, Q - 1):
        total = _insert(floor[j], math.exp(where[j]), q_nodes[j], out_v, out_p, out_q, total, STARTS)
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


# The search of one curve after the other.

MAX_STEP, MAX_ITERATIONS, VANISHING, NOTHING = 2.0, 60, 1e-100, 1e-28  # as in refine
ROUGH, TOLERANCE = 1e-7, 1e-12
POLISHED = 1e-18  # promised share of the SSE at which the rates of the best minimum are final
EDGE_MARGIN = 1e-9
SAME = 0.03  # log rates nearer than this to the best minimum's lead to it
MATTERS = 1e-4
DAMPED, PROMISES = 0.1, 4.0  # with less damping, a start is left if this many predicted gains fall short


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
def _step(p, q, damping, box, sign, solution):
    """`refine._step`: new rates and the decrease of the SSE they promise."""
    pp, qq, pq, gp, gq = solution[PP], solution[QQ], solution[PQ], solution[GP], solution[GQ]
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
def _descend(s, w, one, y, p, q, box, sign, total, best, best_p, best_q, tolerance, work, solution):
    """The minimum from a start: rates and SSE. Left early where it cannot beat `best` or leads to the same minimum."""
    p, q = _clipped(p, q, box, sign)
    value(s, w, one, y, p, q, sign, work, solution)
    sse, damping = solution[SSE], 1e-3
    for iteration in range(MAX_ITERATIONS):
        if sse <= NOTHING * total or _hopeless(iteration, p, q, sse, total, best, best_p, best_q):
            break
        slopes(s, w, one, p, q, sign, work, solution)
        gain = promised = 0.0
        new_p, new_q = p, q
        while damping <= 1e10:
            new_p, new_q, promised = _step(p, q, damping, box, sign, solution)
            if iteration and damping < DAMPED and sse - PROMISES * promised > best + 1e-6 * total:
                return p, q, sse
            value(s, w, one, y, new_p, new_q, sign, work, solution)
            gain = sse - solution[SSE]
            if gain > 0 or (promised <= tolerance * sse and damping < 1):
                break
            damping *= 8.0
        if gain <= 0:
            break
        p, q, sse = new_p, new_q, solution[SSE]
        if max(gain, promised) <= tolerance * sse and damping < 1:
            break
        ratio = 2 * gain / max(promised, 1e-300) - 1
        damping *= max(0.1, 1 - ratio * ratio * ratio)
    return p, q, sse


@njit(cache=True, error_model="numpy")
@no_type_check
def _polish(s, w, one, y, p, q, box, sign, sse, total, work, solution):
    """Undamped steps to the last digit of the rates."""
    if sse <= NOTHING * total:
        return p, q, sse
    value(s, w, one, y, p, q, sign, work, solution)
    for _ in range(6):
        slopes(s, w, one, p, q, sign, work, solution)
        new_p, new_q, promised = _step(p, q, 0.0, box, sign, solution)
        if abs(promised) > 1e-9 * sse or abs(promised) <= POLISHED * sse:
            break
        value(s, w, one, y, new_p, new_q, sign, work, solution)
        if solution[SSE] > sse * (1 + 1e-12):
            break
        p, q, sse = new_p, new_q, min(solution[SSE], sse)
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
def _best_of(s, w, one, y, ps, qs, count, box, sign, total, p, q, best, tolerance, work, solution):
    """The best of a minimum (p, q) and those from the first `count` starts."""
    for k in range(count):
        got = _descend(s, w, one, y, ps[k], qs[k], box, sign, total, best, p, q, tolerance, work, solution)
        if _beats(got[2], got[0], got[1], best, p, q):
            p, q, best = got
    return p, q, best


@njit(cache=True, error_model="numpy")
@no_type_check
def _report(s, w, one, y, p, q, sse, sign, work, solution, row):
    """What is known of a minimum into a row of the output."""
    value(s, w, one, y, p, q, sign, work, solution)
    row[0], row[1], row[2] = p, q, min(sse, solution[SSE])
    row[3], row[4], row[5] = solution[A0], solution[A1], solution[A2]


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
    work, solution = np.zeros((ROWS, s.size)), np.zeros(SOLUTION)
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
        p, q, best = _best_of(s, w, one, y, a, b, n, box, sign, total, 1.0, 1.0, np.inf, ROUGH, work, solution)
        n = 0
        if sign == 0 and p > 0 and q > 0:
            value(s, w, one, y, p, q, sign, work, solution)
            if solution[A2] < 0:
                for hop in hops:
                    a[n], b[n] = p, q * hop
                    n += 1
        p, q, best = _best_of(s, w, one, y, a, b, n, box, sign, total, p, q, best, ROUGH, work, solution)
        p, q, best = _descend(s, w, one, y, p, q, box, sign, total, np.inf, p, q, TOLERANCE, work, solution)
        # the inside for what ended on an edge, and the edge for what ended near it
        n = 0
        if p_nodes[0] == 0 and p < 3 * p_nodes[1]:
            a[n], b[n] = p_nodes[1] if p == 0 else 0.0, q
            n += 1
        if q_nodes[0] == 0 and q < 3 * q_nodes[1]:
            a[n], b[n] = p, q_nodes[1] if q == 0 else 0.0
            n += 1
        p, q, best = _best_of(s, w, one, y, a, b, n, box, sign, total, p, q, best, TOLERANCE, work, solution)
        p, q, best = _polish(s, w, one, y, p, q, box, sign, best, total, work, solution)
        _report(s, w, one, y, p, q, best, sign, work, solution, out[c])


@njit(cache=True, error_model="numpy", nogil=True)
@no_type_check
def warm_rows(s, w, one, targets, starts, box, sign, tolerance, out):
    """As `search_rows`, but from the given starts (start, 2) alone, the same for every row."""
    work, solution = np.zeros((ROWS, s.size)), np.zeros(SOLUTION)
    for c in range(targets.shape[0]):
        y = targets[c]
        total = _dot(y, y)
        p, q, best = _best_of(
            s, w, one, y, starts[:, 0], starts[:, 1], len(starts), box, sign, total, 1.0, 1.0, np.inf, tolerance, work,
            solution,
        )  # fmt: skip
        _report(s, w, one, y, p, q, best, sign, work, solution, out[c])
