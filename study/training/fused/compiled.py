"""The fused engine's training loop as it is run: compiled for the sources that lie here, and whether that is done yet."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import float32, int32, int64, types

from study import environment
from study.training.fused.kernels import kernel
from study.training.fused.scalar import exp32, log32, tanh32

TABLES = (int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[::1])  # of a Workspace
# Types of what `train_block` hands over: the one version of the loop that a study compiles.
ARGUMENTS = (
    *(float32[::1], float32[::1], int64[:, ::1], int64[::1], types.Tuple(TABLES)),
    *(int32[:, ::1], int32[::1], int32[:, ::1], float32[::1], float32[::1]),
)


@cache
def train() -> Any:
    """The loop with our own tanh, exp and log, which give the same bits on every CPU."""
    return kernel(tanh32, exp32, log32, environment.kernel_number())


def cached() -> bool:
    """Whether the loop lies on disk, compiled for this CPU from these sources: then the first training starts at once.

    Looks at Numba's index without loading any code: a millisecond, where loading takes a tenth of a second.
    """
    cache_ = train()._cache
    return cache_._index_key(ARGUMENTS, train().targetctx.codegen()) in cache_._cache_file._load_index()


def warm() -> None:
    """Have the loop ready to be called, compiled in some ten seconds where it is not on disk yet."""
    train().compile(ARGUMENTS)
