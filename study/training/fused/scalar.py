"""The functions tanh, exp and log of one number, by additions, multiplications and divisions alone.

They give the same bits on every CPU, where the functions of a maths library differ between libraries, versions and
CPUs. IEEE 754 defines how each operation used here is rounded, fused multiply-add included, and the operations are
written in one order. Loops over these functions may be vectorised freely, since no lane depends on another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, register_jitable

FLOAT = ir.FloatType()
INT = ir.IntType(32)

# tanh(x) = x P(x²) / Q(x²), with the coefficients whose largest relative error on |x| ≤ 9.02 is least (2.1e-8). All of
# them are positive, so that nothing cancels. P(0) = Q(0) = 1, so that tanh(x) = x for small x.
P1, P2, P3, P4 = (np.float32(c) for c in (0.13379706, 0.0034940208, 2.0583257e-05, 1.3318768e-08))
Q1, Q2, Q3, Q4 = (np.float32(c) for c in (0.4671302, 0.02587102, 0.00032830704, 7.761893e-07))
TANH_END = np.float32(9.02)  # from 9.011 on, the float32 nearest to tanh is 1

# exp(r) = 1 + r + r² E(r), with the coefficients whose largest relative error on |r| ≤ ln 2 / 2 is least (3.1e-9).
E2, E3, E4, E5, E6 = (np.float32(c) for c in (0.49999994, 0.1666652, 0.041668393, 0.008368781, 0.0013814467))
EXP_LOW, EXP_HIGH = np.float32(-104.0), np.float32(89.0)  # beyond these, exp is 0 or infinity in float32

# log(1 + f) = f − f²/2 + f³ L(f), with the coefficients whose largest relative error on √½ ≤ 1 + f ≤ √2 is least
# (5.8e-9).
L3, L4, L5, L6 = (
    np.float32(c) for c in (0.3333333134651184, -0.2500081956386566, 0.20001226663589478, -0.1662335693836)
)
L7, L8, L9, L10 = (np.float32(c) for c in (0.14201758801937, -0.13160182535648, 0.127615749835968, -0.0763449296355247))

LOG2E = np.float32(1.4426950216293335)
LN2_HIGH = np.float32(0.693145751953125)  # ln 2 in 15 bits, so that its products with exponents are exact
LN2_LOW = np.float32(1.428606765330187e-06)
ROUND = np.float32(1.5 * 2**23)  # adding it and subtracting it again rounds to a whole number
ZERO, HALF, ONE, INFINITY = np.float32(0), np.float32(0.5), np.float32(1), np.float32(np.inf)
SMALLEST, LIFT = np.float32(2**-126), np.float32(2**23)  # the smallest normal number; a subnormal times LIFT is normal
BIAS, MANTISSA, ROOT_HALF = np.int32(127), np.int32(23), np.int32(0x3F3504F3)  # of the float32 layout; bits of √½


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """The sum a·b + c, rounded once. Where the CPU has no such instruction, software gives the same bits."""
    if not (isinstance(a, types.Float) and a == b == c):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return a(a, a, a), codegen


@intrinsic
def bits(typing: Any, x: Any) -> Any:
    """The 32 bits of a float32, as an int32."""
    if x != types.float32:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], INT)

    return types.int32(types.float32), codegen


@intrinsic
def from_bits(typing: Any, n: Any) -> Any:
    """The float32 that has these 32 bits."""
    if n != types.int32:
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], FLOAT)

    return types.float32(types.int32), codegen


@register_jitable(error_model="numpy")
def tanh32(x: Any) -> Any:
    """The tanh of x in float32, within 5.3 units in the last place, never beyond ±1. NaN stays NaN."""
    x = TANH_END if x > TANH_END else (-TANH_END if x < -TANH_END else x)
    u = x * x
    p = fma(fma(fma(fma(P4, u, P3), u, P2), u, P1), u, ONE)
    q = fma(fma(fma(fma(Q4, u, Q3), u, Q2), u, Q1), u, ONE)
    y = x * p / q
    return ONE if y > ONE else (-ONE if y < -ONE else y)


@register_jitable(error_model="numpy")
def exp32(x: Any) -> Any:
    """The exp of x in float32, within 1.02 units in the last place, subnormal results included. NaN stays NaN."""
    x = EXP_HIGH if x > EXP_HIGH else (EXP_LOW if x < EXP_LOW else x)
    shifted = fma(x, LOG2E, ROUND)
    n = shifted - ROUND  # x = n ln 2 + r
    r = fma(-n, LN2_LOW, fma(-n, LN2_HIGH, x))
    p = fma(fma(fma(fma(fma(E6, r, E5), r, E4), r, E3), r, E2), r * r, r) + ONE
    k = np.int32(bits(shifted) - bits(ROUND))
    half = np.int32(k >> np.int32(1))  # 2ⁿ as two factors, neither of which overflows or underflows
    rest = np.int32(k - half)
    return p * from_bits(np.int32((half + BIAS) << MANTISSA)) * from_bits(np.int32((rest + BIAS) << MANTISSA))


@register_jitable(error_model="numpy")
def log32(x: Any) -> Any:
    """The natural logarithm of x in float32, within 1.24 units in the last place. It is −inf at 0 and NaN below 0."""
    lift = x < SMALLEST
    lifted = x * LIFT if lift else x
    k = np.int32(np.int32(bits(lifted) - ROOT_HALF) >> MANTISSA)  # x = 2ᵏ (1 + f), √½ ≤ 1 + f < √2
    f = from_bits(np.int32(bits(lifted) - np.int32(k << MANTISSA))) - ONE
    n = np.float32(k - MANTISSA if lift else k)
    p = fma(fma(fma(fma(fma(fma(fma(L10, f, L9), f, L8), f, L7), f, L6), f, L5), f, L4), f, L3)
    s = f * f
    y = fma(n, LN2_HIGH, fma(n, LN2_LOW, fma(s * f, p, fma(-HALF, s, f))))
    if x == ZERO:
        return -INFINITY
    if x < ZERO or x == INFINITY or x != x:
        return x if x > ZERO else x * np.float32(np.nan)
    return y
