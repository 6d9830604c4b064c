"""The first layer, whose inputs are characters: products with C and W, once per distinct character and position.

A batch of 32 contexts of names has about 13 distinct characters at each position, so that less than half of the
products remain.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from study.training.fused.layout import LANES
from study.training.fused.products import gather_sum, multiply, multiply_transposed, update
from study.training.fused.tiles import add, address, move, step, transpose
from study.training.fused.workspace import (
    C_ROW,
    DC,
    DGATHERED,
    DTRANSPOSED,
    EMBEDDING,
    EXAMPLES,
    FAN_OUT,
    GATHERED,
    PANEL,
    RATE,
    ROW,
    SUMS,
    ZEROS,
    B,
    C,
    D,
    H,
    W,
)


@njit
def find_distinct(contexts: Any, batch: Any, tables: Any, stamp: int) -> int:
    """Fill `tables` (see Workspace) for one minibatch, and return the newest stamp.

    The characters are in the order in which they first appear.
    """
    found, counts, terms, order, starts, slots, stamps = tables
    context, most = found.shape
    for t in range(context):
        stamp += 1
        count = 0
        for n in range(batch.size):
            character = contexts[batch[n], t]
            if stamps[character] != stamp:
                stamps[character] = stamp
                slots[character] = count
                found[t, count] = character
                count += 1
                starts[t, count] = 0
            s = slots[character]
            terms[n * context + t] = t * most + s
            starts[t, s + 1] += 1
        counts[t] = count
        starts[t, 0] = 0
        for s in range(count):
            starts[t, s + 1] += starts[t, s]
        for n in range(batch.size):  # a start moves with every example to the place of the next one
            s = terms[n * context + t] - t * most
            order[t * batch.size + starts[t, s]] = n
            starts[t, s] += 1
        for s in range(count, 0, -1):
            starts[t, s] = starts[t, s - 1]
        starts[t, 0] = 0
    return stamp


@njit(inline="always")
def embed_forward(params: Any, work: Any, p: Any, sizes: Any, tables: Any) -> None:
    """Write preact (N, H) of the first layer = b + Σ over positions t of C[character] @ W[rows of t]."""
    found, counts, terms, _, _, _, _ = tables
    size, c_row, row = sizes[EMBEDDING], sizes[C_ROW], p[ROW]
    context, most = found.shape
    zeros, products = address(work, sizes[ZEROS]), address(work, sizes[SUMS])
    for t in range(context):
        first = sizes[GATHERED] + t * most * c_row
        for s in range(counts[t]):
            move(address(params, sizes[C] + found[t, s] * c_row), address(work, first + s * c_row), c_row)
        weight, out = address(params, p[W] + t * size * row), address(products, t * most * row)
        multiply(address(work, first), c_row, counts[t], weight, row, size, zeros, out, row, row)
    start = address(params, p[B]) if p[B] >= 0 else zeros
    for n in range(sizes[EXAMPLES]):
        gather_sum(products, row, address(terms, n * context), context, start, address(work, p[H] + n * row), row)


@njit(inline="always")
def embed_back(params: Any, work: Any, p: Any, sizes: Any, tables: Any, stamp: int) -> int:
    """Step C and W by the gradient d (N, H), and return the newest stamp.

    The rows of d are summed per distinct character before they are multiplied.
    """
    found, counts, _, order, starts, _, stamps = tables
    examples, size, c_row, row = sizes[EXAMPLES], sizes[EMBEDDING], sizes[C_ROW], p[ROW]
    context, most = found.shape
    zeros, rate, panel = address(work, sizes[ZEROS]), address(work, sizes[RATE]), address(work, sizes[PANEL])
    sums, dgathered, dc = address(work, sizes[SUMS]), address(work, sizes[DGATHERED]), address(work, sizes[DC])
    transposed = address(work, sizes[DTRANSPOSED])
    for t in range(context):
        for s in range(counts[t]):
            move(zeros, address(dc, found[t, s] * c_row), c_row)
    for t in range(context):
        for s in range(counts[t]):
            members, number = address(order, t * examples + starts[t, s]), starts[t, s + 1] - starts[t, s]
            gather_sum(address(work, p[D]), row, members, number, zeros, address(sums, s * row), row)
        weight = address(params, p[W] + t * size * row)
        count, depth = counts[t], p[FAN_OUT]
        if count <= LANES and size < count * (c_row // LANES):  # a lane per character makes fewer vectors of sums
            multiply_transposed(weight, row, size, sums, row, count, depth, zeros, zeros, panel, transposed, LANES)
            for e in range(0, c_row, LANES):
                transpose(address(transposed, e * LANES), LANES, size - e, zeros, address(dgathered, e), c_row)
        else:
            multiply_transposed(sums, row, count, weight, row, size, depth, zeros, zeros, panel, dgathered, c_row)
        for s in range(counts[t]):
            add(address(dgathered, s * c_row), address(dc, found[t, s] * c_row), c_row)
        gathered = address(work, sizes[GATHERED] + t * most * c_row)  # C with the values of the forward pass
        update(gathered, c_row, size, sums, row, counts[t], zeros, rate, weight, row, row)
    stamp += 1
    for t in range(context):
        for s in range(counts[t]):
            if stamps[found[t, s]] != stamp:  # so that a character at two positions is stepped once
                stamps[found[t, s]] = stamp
                place = found[t, s] * c_row
                step(rate, address(dc, place), address(params, sizes[C] + place), c_row)
    return stamp
