"""Our tanh, exp and log of float32 against the library's float64, over every bit pattern that there is.

Where the true value lies within half a unit of the last place of something plain (x itself, 1, 0), ours must be that,
bit for bit; everywhere else the error is measured at every single number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from study.training.fused.scalar import exp32, log32, tanh32

Range = tuple[int, int]  # bits of the first float32, and of the one after the last
SIGN, INFINITY = 2**31, 0x7F800000  # NaN lie between infinity and the next sign bit
SUBNORMAL = 2**23  # bits of the smallest normal number
CHUNK = 4096
LN2 = math.log(2)


def bits(x: float) -> int:
    """The bits of the float32 that is nearest to x."""
    return int(np.float32(x).view(np.uint32))


def pattern(n: int) -> Any:
    """The float32 of these bits."""
    return np.uint32(n).view(np.float32)


def both(first: int, after: int) -> list[Range]:
    """The numbers of both signs whose magnitudes have these bits."""
    return [(first, after), (SIGN + first, SIGN + after)]


@njit
def errors(y: Any, exact: Any, found: Any) -> None:
    """found = |y − exact| in units of the last place of exact; where y is NaN, or infinite, NaN or infinity."""
    exponent = (exact.astype(np.float32).view(np.int32) >> 23) & 255
    ulp = ((np.maximum(exponent, 1).astype(np.int64) + (1023 - 150)) << 52).view(np.float64)
    for i in range(y.size):
        found[i] = abs(np.float64(y[i]) - exact[i]) / ulp[i]


@njit
def worst(found: Any) -> Any:
    """Largest of errors (n,), or infinity or NaN where there is one: as integers, floats ≥ 0 keep that order."""
    largest = np.int64(0)
    for error in found.view(np.int64):
        largest = max(largest, error)
    return np.array([largest]).view(np.float64)[0]


def largest_error(ours: Any, library: Any, ranges: list[Range]) -> float:
    """Of ours against the library's float64, over every number of the ranges."""

    @njit(error_model="numpy")
    def scan(first: int, after: int) -> Any:
        y, exact, found = np.empty(CHUNK, np.float32), np.empty(CHUNK), np.empty(CHUNK)
        largest = 0.0
        for start in range(first, after, CHUNK):
            x = np.arange(start, min(start + CHUNK, after)).astype(np.uint32).view(np.float32)
            for i in range(x.size):
                y[i] = ours(x[i])
            for i in range(x.size):
                exact[i] = library(np.float64(x[i]))
            errors(y[: x.size], exact[: x.size], found)
            largest = max(largest, worst(found[: x.size]))
        return largest

    return max(scan(*each) for each in ranges)


def unlike(ours: Any, wanted: Any, ranges: list[Range]) -> int:
    """In how many of the numbers of the ranges ours is not `wanted` (of x), bit for bit."""
    wanted = njit(wanted)

    @njit(error_model="numpy")
    def scan(first: int, after: int) -> int:
        y, z = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
        count = 0
        for start in range(first, after, CHUNK):
            x = np.arange(start, min(start + CHUNK, after)).astype(np.uint32).view(np.float32)
            for i in range(x.size):
                y[i], z[i] = ours(x[i]), wanted(x[i])
            for i in range(x.size):
                count += y.view(np.int32)[i] != z.view(np.int32)[i]
        return count

    return sum(scan(*each) for each in ranges)


def nan_is_not_kept(ours: Any) -> int:
    """Of how many NaN ours makes a number."""

    @njit(error_model="numpy")
    def scan(first: int, after: int) -> int:
        count = 0
        for x in np.arange(first, after).astype(np.uint32).view(np.float32):
            count += not math.isnan(ours(x))
        return count

    return sum(scan(*each) for each in both(INFINITY + 1, SIGN))


# Bounds: half a unit for the last operation, the rest for the ones before it. tanh's worst lies where it is just under
# 1 and a unit is half of what it is at 1, so that it is an error of 3e-7.


@pytest.mark.slow
def test_tanh_of_all_of_float32() -> None:
    small, end = bits(2**-12.5), bits(9.02)
    assert 5.22 < largest_error(tanh32, math.tanh, [(small, end)]) < 5.23
    assert unlike(tanh32, lambda x: -tanh32(-x), [(small, end)]) == 0  # odd
    # tanh x = x − x³/3 + …: within x²/3 < 2⁻²⁶ of x, a quarter of a unit
    assert unlike(tanh32, lambda x: x, both(0, small)) == 0
    # 1 − tanh x ≈ 2 exp(−2x) < 2⁻²⁵, half of a unit below 1
    assert unlike(tanh32, lambda x: np.float32(math.copysign(1, x)), both(end, INFINITY + 1)) == 0
    assert nan_is_not_kept(tanh32) == 0


@pytest.mark.slow
def test_exp_of_all_of_float32() -> None:
    small, high, low = bits(2**-25), bits(88.72284), bits(103.97209)
    assert 1.01 < largest_error(exp32, math.exp, [(small, high), (SIGN + small, SIGN + low)]) < 1.02
    # exp x ≈ 1 + x, and half a unit is 2⁻²⁴ above 1 and 2⁻²⁵ below
    assert unlike(exp32, lambda x: np.float32(1), both(0, small)) == 0
    assert math.exp(pattern(high)) > 2.0**128 * (1 - 2**-25)  # rounds to infinity
    assert unlike(exp32, lambda x: np.float32(np.inf), [(high, INFINITY + 1)]) == 0
    assert math.exp(-pattern(low)) < 2.0**-150  # rounds to 0
    assert unlike(exp32, lambda x: np.float32(0), [(SIGN + low, SIGN + INFINITY + 1)]) == 0
    assert nan_is_not_kept(exp32) == 0


@njit(error_model="numpy")
def largest_error_of_log(mantissas: int, exponents: NDArray[Any]) -> Any:
    """Over normal numbers with these exponents: log(2ⁿ m) = n ln 2 + log m, so the library takes each m once."""
    y, exact, found = np.empty(CHUNK, np.float32), np.empty(CHUNK), np.empty(CHUNK)
    largest = 0.0
    for start in range(0, mantissas, CHUNK):
        fraction = np.arange(start, start + CHUNK).astype(np.uint32)
        logs = np.log((fraction | np.uint32(127 << 23)).view(np.float32).astype(np.float64))
        for exponent in exponents:
            x = (fraction | np.uint32(exponent << 23)).view(np.float32)
            for i in range(CHUNK):
                y[i] = log32(x[i])
            for i in range(CHUNK):
                exact[i] = (exponent - 127) * LN2 + logs[i]
            errors(y, exact, found)
            largest = max(largest, worst(found))
    return largest


@pytest.mark.slow
def test_log_of_all_of_float32() -> None:
    # subnormal numbers, and those from ½ to 2, where n ln 2 + log m would cancel
    near = largest_error(log32, math.log, [(1, SUBNORMAL), (126 << 23, 128 << 23)])
    others = np.array([e for e in range(1, 255) if e not in (126, 127)])
    assert 1.22 < max(near, largest_error_of_log(SUBNORMAL, others)) < 1.24
    assert unlike(log32, lambda x: np.float32(-np.inf), both(0, 1)) == 0
    assert unlike(log32, lambda x: np.float32(np.inf), [(INFINITY, INFINITY + 1)]) == 0
    assert unlike(log32, lambda x: np.float32(0), [(bits(1), bits(1) + 1)]) == 0
    assert number_of_logs_below_zero() == 0
    assert nan_is_not_kept(log32) == 0


@njit(error_model="numpy")
def number_of_logs_below_zero() -> int:
    """How many numbers below 0 have a log that is not NaN."""
    count = 0
    for start in range(SIGN + 1, SIGN + INFINITY + 1, 2**16):
        x = np.arange(start, min(start + 2**16, SIGN + INFINITY + 1)).astype(np.uint32).view(np.float32)
        for i in range(x.size):
            count += not math.isnan(log32(x[i]))
    return count
