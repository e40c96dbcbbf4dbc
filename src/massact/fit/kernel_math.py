"""exp and log for compiled loops: branch-free, so that the compiler runs them on vectors (libm's run one by one).

Both are within 4 units in the last place. Nothing here may be compiled with `reassoc`: it would cancel the corrections.
Compiled functions are `no_type_check` because numba must not see the wrapper that checks annotations in the tests.
"""

from __future__ import annotations

from typing import Any, no_type_check

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

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
