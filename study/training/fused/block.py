"""The fused engine: one model trained in one core's cache, compiled, the same bits on every CPU; plain NumPy arrays.

    layout = Layout(setup, vocabulary)
    buffer = layout.pack(arrays)                                    # (size,) float32
    train_block(layout, buffer, X, Y, indices, lr, loss, train)     # in place, without the GIL
    arrays = layout.unpack(buffer)

A model's bits depend on its parameters, data, indices and rates alone: not on neighbours, threads or block length.
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
    """Advances one model by len(indices) SGD steps: writes `buffer` and `loss` (steps,), nats, in place.

    X (N, T) and Y (N,) are the training split, indices (steps, batch) rows of it, lr (steps,) the learning rates. With
    X, Y and indices in int32 nothing is copied. `train` is the compiled loop: `compiled.train()`, or a kernel with other
    functions than our own tanh, exp and log, which are float32's: with the library's, a float64 buffer runs the same code, to check the algebra. Errors: an index
    outside the split or a character outside the vocabulary is an assertion, since the compiled code does not look.
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
    # One kind of array, one compilation: Numba tells read-only and strided arrays from others.
    data = [np.require(array, np.int32, ["C", "W"]) for array in (X, Y, indices)]
    rates = np.require(lr, dtype, ["C", "W"])
    train(buffer, space.floats, space.layers, space.sizes, space.tables, *data, rates, loss)
