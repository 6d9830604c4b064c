"""The training of one model as compiled code: minibatches of (context, next character) become SGD steps, in place.

Backpropagation is written out by hand. Every sum has one fixed order, and every term is rounded in one way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from study.training.fused.embedding import embed_back, embed_forward, find_distinct
from study.training.fused.layers import activate, loss_and_gradient, normalise, normalise_back, pass_back, view
from study.training.fused.products import multiply, multiply_transposed, update
from study.training.fused.tiles import address
from study.training.fused.workspace import (
    ACTIVATION,
    BNGAIN,
    EXAMPLES,
    FAN_IN,
    FAN_OUT,
    FIRST,
    ONE,
    PANEL,
    RATE,
    ROW,
    SECOND,
    TOP,
    TOTAL,
    TRANSPOSED,
    VOCABULARY,
    ZEROS,
    B,
    D,
    H,
    W,
)


@njit(inline="always")
def pass_forward(params: Any, work: Any, layers: Any, sizes: Any, tables: Any, tanh: Any) -> None:
    """Write h (N, H) of every layer, the logits last."""
    examples, zeros = sizes[EXAMPLES], address(work, sizes[ZEROS])
    for layer in range(layers.shape[0]):
        p = layers[layer]
        row, h = p[ROW], view(work, p[H], examples * p[ROW])
        if layer == 0:
            embed_forward(params, work, p, sizes, tables)
        else:
            x, weight, panel = layers[layer - 1], address(params, p[W]), address(work, sizes[PANEL])
            start = address(params, p[B]) if p[B] >= 0 else zeros
            i, o = x[ROW], p[FAN_OUT]
            inputs, out = address(work, x[H]), address(work, p[H])
            multiply_transposed(inputs, i, examples, weight, i, o, p[FAN_IN], start, zeros, panel, out, row)
        if p[BNGAIN] >= 0:
            first, second = view(work, sizes[FIRST], row), view(work, sizes[SECOND], row)
            normalise(params, work, p, h, examples, first, second)
        activate(h, p[ACTIVATION], tanh)


@njit(inline="always")
def backward(params: Any, work: Any, layers: Any, sizes: Any, tables: Any, stamp: int) -> int:
    """Step every parameter, from the gradient of the logits down to the first layer, and return the newest stamp.

    The gradient of a layer's input is taken before the layer's own step.
    """
    examples, zeros, rate = sizes[EXAMPLES], address(work, sizes[ZEROS]), address(work, sizes[RATE])
    still, single = stamp * 0, stamp * 0 + 1  # strides of a column of ones: 0 between rows, 1 between columns
    for layer in range(layers.shape[0] - 1, -1, -1):
        p = layers[layer]
        row, h, d = p[ROW], view(work, p[H], examples * p[ROW]), view(work, p[D], examples * p[ROW])
        pass_back(d, h, p[ACTIVATION])
        if p[BNGAIN] >= 0:
            first, second = view(work, sizes[FIRST], row), view(work, sizes[SECOND], row)
            normalise_back(params, work, p, d, examples, work[sizes[RATE]], first, second)
        after = address(work, p[D])
        if p[B] >= 0:
            one, bias = address(work, sizes[ONE]), address(params, p[B])
            update(one, still, single, after, row, examples, zeros, rate, bias, row, row)
        if layer == 0:
            stamp = embed_back(params, work, p, sizes, tables, stamp)
        else:
            x, weight = layers[layer - 1], address(params, p[W])
            i, o = x[ROW], p[FAN_OUT]
            inputs, before = address(work, x[H]), address(work, x[D])
            multiply(after, row, examples, weight, i, o, zeros, before, i, i)
            update(after, row, o, inputs, i, examples, zeros, rate, weight, i, i)
    return stamp


def kernel(tanh: Any, exp: Any, log: Any, sources: int) -> Any:
    """The training loop with the given functions of one number, compiled on first use and kept on disk.

    Numba finds a compiled loop on disk by the values that the loop closes over. Therefore the functions are closed
    over instead of passed to the loop, and they are plain functions (of `math`, or marked `register_jitable`). Numba
    identifies a plain function by its name. It identifies a compiled function by a number that every process draws
    again, so that every process would compile the loop. The loop also closes over `sources`, a number for the sources
    from which it is made: Numba itself watches only the file of the outermost function, and would run stale code after
    a change in another module.
    """

    @njit(error_model="numpy", nogil=True, cache=True)
    def train(
        params: Any,
        work: Any,
        layers: Any,
        sizes: Any,
        tables: Any,
        contexts: Any,
        characters: Any,
        indices: Any,
        rates: Any,
        losses: Any,
    ) -> int:
        """Train one model for len(indices) steps in place; write the losses (steps,) of its minibatches, in nats."""
        last, lanes = layers[layers.shape[0] - 1], sizes[TOTAL] - sizes[TOP]
        row, zeros = last[ROW], address(work, sizes[ZEROS])
        logits, d = view(work, last[H], lanes * row), view(work, last[D], lanes * row)
        transposed = view(work, sizes[TRANSPOSED], row * lanes)
        top, total = view(work, sizes[TOP], lanes), view(work, sizes[TOTAL], lanes)
        targets = np.empty(indices.shape[1], np.int64)
        vocabulary, stamp = sizes[VOCABULARY], np.int64(0)
        for step in range(indices.shape[0]):
            for n in range(targets.size):
                targets[n] = characters[indices[step, n]]
            work[sizes[RATE]] = -rates[step]
            stamp = find_distinct(contexts, indices[step], tables, stamp)
            pass_forward(params, work, layers, sizes, tables, tanh)
            losses[step] = loss_and_gradient(
                logits, row, targets, vocabulary, zeros, transposed, top, total, d, exp, log
            )
            stamp = backward(params, work, layers, sizes, tables, stamp)
        return sources

    return train
