"""Train one model by the fused engine: compiled, in one core's cache, on NumPy arrays, with the same bits on every CPU.

    layout = Layout(network, vocabulary)
    buffer = layout.pack(arrays)                                    # (size,) float32
    train_block(layout, buffer, X, Y, indices, lr, loss, train)     # in place, without the GIL
    arrays = layout.unpack(buffer)

A model's bits depend on its parameters, data, indices and rates alone, not on other models, threads or block lengths.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.training.fused.layout import Layout
from study.training.fused.workspace import Workspace


def train_block(
    layout: Layout,
    buffer: NDArray[Any],
    X: NDArray[Any],
    Y: NDArray[Any],
    indices: NDArray[Any],
    lr: NDArray[Any],
    loss: NDArray[Any],
    train: Any,
) -> None:
    """Train one model for len(indices) SGD steps: `buffer` and `loss` (steps,), in nats, are written in place.

    X (N, T) and Y (N,) are the training split, indices (steps, batch) are rows of it, lr (steps,) are the learning
    rates. Where X, Y and indices are int32, nothing is copied. `train` is the compiled loop: `compiled.train()`, or a
    kernel with other functions than our tanh, exp and log, which are for float32. With the functions of a library the
    same code runs on a float64 buffer, to check the algebra. AssertionError: an index outside the split, or a character
    outside the vocabulary; the compiled code does not check them.
    """
    steps, examples = indices.shape
    dtype = buffer.dtype
    assert buffer.shape == (layout.size,), f"{buffer.shape=} {layout.size=}"
    assert all(array.flags.c_contiguous for array in (buffer, loss)), "buffer and loss must be contiguous"
    assert X.shape == (len(Y), layout.network.context), f"{X.shape=} {Y.shape=} context={layout.network.context}"
    assert lr.shape == loss.shape == (steps,), f"{lr.shape=} {loss.shape=} {steps=}"
    assert loss.dtype == dtype, f"{loss.dtype=} {dtype=}"
    if steps == 0:
        return
    for name, values, end in (("indices", indices, len(Y)), ("X", X, layout.vocabulary), ("Y", Y, layout.vocabulary)):
        low, high = values.min(), values.max()
        assert 0 <= low <= high < end, f"{name} {low}–{high}, expected 0–{end - 1}"
    space = Workspace(layout, examples, dtype)
    # Numba compiles the loop again for read-only and for strided arrays, so that all arrays are made of one kind.
    data = [np.require(array, np.int32, ["C", "W"]) for array in (X, Y, indices)]
    rates = np.require(lr, dtype, ["C", "W"])
    train(buffer, space.floats, space.layers, space.sizes, space.tables, *data, rates, loss)
