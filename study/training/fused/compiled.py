"""The training loop of the fused engine, compiled from the installed sources, and whether it is compiled already."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import float32, int32, int64, types

from study import codehash
from study.training.fused.kernels import kernel
from study.training.fused.scalar import exp32, log32, tanh32

# the types of the tables of a Workspace
TABLES = (int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[::1])
# The types of the arguments that `train_block` passes: a study compiles the loop for these alone.
ARGUMENTS = (
    *(float32[::1], float32[::1], int64[:, ::1], int64[::1], types.Tuple(TABLES)),
    *(int32[:, ::1], int32[::1], int32[:, ::1], float32[::1], float32[::1]),
)


@cache
def train() -> Any:
    """The training loop with our own tanh, exp and log, which give the same bits on every CPU."""
    return kernel(tanh32, exp32, log32, codehash.kernel_number())


def cached() -> bool:
    """Whether the loop is on disk, compiled for this CPU from these sources. The first training starts at once then.

    This looks at Numba's index without loading any code. It takes a millisecond; loading takes a tenth of a second.
    """
    cache_ = train()._cache
    return cache_._index_key(ARGUMENTS, train().targetctx.codegen()) in cache_._cache_file._load_index()


def warm() -> None:
    """Make the loop ready to be called. Where it is not on disk yet, it is compiled, which takes some ten seconds."""
    train().compile(ARGUMENTS)
