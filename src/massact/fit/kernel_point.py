"""The reduced problem of Eqs. 9 and 14 at one point of the two rates, compiled: `bases.LogDecay` and `refine.evaluate`.

Written as loops over one curve's points, each of which the compiler turns into vector instructions; a curve's rows stay
in the first-level cache. `work` holds the rows named below.
"""

from __future__ import annotations

import math
from typing import no_type_check

from numba import njit

from massact.fit.kernel_math import EXACT, expm1, log1p

CAP, DEPENDENT = 600.0, 1e-12  # as in bases and refine
ROWS = 9  # of `work`
DECAY, RISE, LOG, SHARE, FIRST, SECOND, RESIDUAL, BY_P, BY_Q = range(ROWS)
# `found`: SSE, the columns' coefficients (the constant one's times the length of w), what 1 is over the other two
# columns' squared lengths once orthogonal, and the normal equations of the log rates.
FOUND = 11
SSE, A0, A1, A2, OVER1, OVER2, PP, QQ, PQ, GP, GQ = range(FOUND)
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
def value(s, w, one, y, p, q, sign, work, found):
    """SSE and coefficients at (p, q) into `found`; the residual and the orthogonal columns into `work`."""
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
    found[SSE], found[A0], found[A1], found[A2] = sse, -a1 * share1 - z2 * share2, a1, z2
    found[OVER1], found[OVER2] = over1, over2


@njit(cache=True, error_model="numpy", fastmath=SUMS)
@no_type_check
def slopes(s, w, one, p, q, sign, work, found):
    """Kaufman's normal equations of the log rates into `found`, after `value` at the same rates."""
    decay, rise, log, share = work[DECAY], work[RISE], work[LOG], work[SHARE]
    first, second, residual, by_p, by_q = work[FIRST], work[SECOND], work[RESIDUAL], work[BY_P], work[BY_Q]
    a1, a2 = found[A1], found[A2]
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
    over1, over2 = found[OVER1], found[OVER2]
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
    found[PP], found[QQ], found[PQ], found[GP], found[GQ] = pp, qq, pq, gp, gq
