"""Our tanh, exp and log of float32 against the library's float64, over samples of every sign, exponent and mantissa."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from study.engines.scalar import exp32, log32, tanh32

STRIDE = (
    97  # odd, so that a walk over bit patterns meets every exponent with all kinds of mantissas: 44 million numbers
)


@njit
def over(function: Any, x: Any, y: Any) -> None:
    for i in range(x.size):
        y[i] = function(x[i])


def apply(function: Any, x: Any) -> Any:
    x = np.ascontiguousarray(x, np.float32)
    y = np.empty_like(x)
    over(function, x, y)
    return y


def every_kind_of_float32() -> list[Any]:
    """Bit patterns over the whole of float32 in chunks of some millions, infinities and NaN among them."""
    chunk = STRIDE * 2**22
    lows = range(0, 2**32, chunk)
    return [np.arange(low, min(low + chunk, 2**32), STRIDE, dtype=np.uint32).view(np.float32) for low in lows]


# Bounds: half an ulp for the last operation, the rest for the ones before it; measured 4.7, 1.0 and 1.2. tanh's worst
# lies where it is just under 1 and an ulp is half of what it is at 1, so that it is an error of 3e-7.
@pytest.mark.parametrize(
    ("ours", "library", "bound"), [(tanh32, np.tanh, 5.0), (exp32, np.exp, 1.01), (log32, np.log, 1.25)]
)
def test_largest_error_in_units_of_the_last_place(ours: Any, library: Callable[[Any], Any], bound: float) -> None:
    worst = 0.0
    for x in every_kind_of_float32():
        with np.errstate(all="ignore"):
            y, exact = apply(ours, x), library(x.astype(np.float64))
            rounded = exact.astype(np.float32)
            finite = np.isfinite(rounded)
            ulp = np.spacing(np.abs(rounded)).astype(np.float64)
            errors = np.abs(y - exact)[finite] / ulp[finite]
        worst = max(worst, float(errors.max(initial=0)))
        assert np.array_equal(
            y[~finite], rounded[~finite], equal_nan=True
        )  # infinities and NaN where the library has them
    assert worst <= bound


def test_tanh_never_leaves_minus_one_to_one_and_is_odd() -> None:
    for x in every_kind_of_float32()[::7]:
        x = x[~np.isnan(x)]
        y = apply(tanh32, x)
        assert np.abs(y).max(initial=0) <= 1
        assert np.array_equal(apply(tanh32, -x), -y)


def test_exact_values() -> None:
    assert apply(tanh32, [0, 10, -10, np.inf]).tolist() == [0, 1, -1, 1]
    assert apply(exp32, [0, -np.inf, np.inf]).tolist() == [1, 0, np.inf]
    assert apply(log32, [1, 0, np.inf]).tolist() == [0, -np.inf, np.inf]
