"""The matrix products of a layer, x @ W, dy @ Wᵀ and W −= lr xᵀ dy, as loops over tiles that stay in the nearest cache.

A matrix is a pointer and the distance from row to row in elements. Widths are whole vectors, with zeros in the padding.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from study.training.fused.layout import LANES
from study.training.fused.tiles import COLUMNS, ROWS, STRIP, address, sum_rows, tile, transpose
from study.training.fused.workspace import DEPTH, PANEL_SIZE

assert DEPTH * COLUMNS * LANES <= PANEL_SIZE, f"{DEPTH=} {COLUMNS=} {LANES=} {PANEL_SIZE=}"


@njit
def block(left: int, largest: int) -> int:
    """The size of the next block when `left` things are cut into nearly equal blocks of at most `largest`."""
    number = (left + largest - 1) // largest
    return (left + number - 1) // number


@njit
def multiply(
    x: Any, x_row: int, rows: int, w: Any, w_row: int, depth: int, start: Any, out: Any, out_row: int, width: int
) -> None:
    """Write out (rows, width) = start (width) + x (rows, depth) @ w (depth, width)."""
    vectors = width // LANES
    for k in range(0, depth, DEPTH):
        count = min(DEPTH, depth - k)
        v = 0
        while v < vectors:
            columns = block(vectors - v, COLUMNS)
            r = 0
            while r < rows:
                high = block(rows - r, ROWS)
                place = address(out, r * out_row + v * LANES)
                left, right = address(x, r * x_row + k), address(w, k * w_row + v * LANES)
                first, first_row = (address(start, v * LANES), 0) if k == 0 else (place, out_row)
                tile(high, columns, left, x_row, 1, right, w_row, count, first, first_row, place, out_row, False, start)
                r += high
            v += columns


@njit
def multiply_transposed(
    y: Any,
    y_row: int,
    rows: int,
    w: Any,
    w_row: int,
    inputs: int,
    depth: int,
    start: Any,
    zeros: Any,
    panel: Any,
    out: Any,
    out_row: int,
) -> None:
    """Write out (rows, inputs) = start (inputs) + y (rows, depth) @ wᵀ for w (inputs, depth).

    w is transposed block by block in `panel`.
    """
    vectors = (inputs + LANES - 1) // LANES
    for k in range(0, depth, DEPTH):
        count = min(DEPTH, depth - k)
        v = 0
        while v < vectors:
            columns = block(vectors - v, COLUMNS)
            transposed_row = columns * LANES
            for c in range(columns):
                i = (v + c) * LANES
                for m in range(0, count, LANES):
                    source = address(w, i * w_row + k + m)
                    transpose(
                        source, w_row, inputs - i, zeros, address(panel, m * transposed_row + c * LANES), transposed_row
                    )
            r = 0
            while r < rows:
                high = block(rows - r, ROWS)
                place = address(out, r * out_row + v * LANES)
                left = address(y, r * y_row + k)
                first, first_row = (address(start, v * LANES), 0) if k == 0 else (place, out_row)
                tile(
                    high,
                    columns,
                    left,
                    y_row,
                    1,
                    panel,
                    transposed_row,
                    count,
                    first,
                    first_row,
                    place,
                    out_row,
                    False,
                    zeros,
                )
                r += high
            v += columns


@njit
def update(
    x: Any,
    x_row: int,
    inputs: int,
    y: Any,
    y_row: int,
    rows: int,
    zeros: Any,
    scale: Any,
    w: Any,
    w_row: int,
    width: int,
) -> None:
    """Add scale · xᵀ @ y to w (inputs, width), for x (rows, inputs) and y (rows, width)."""
    vectors = width // LANES
    i = 0
    while i < inputs:
        high = block(inputs - i, ROWS)
        v = 0
        while v < vectors:
            columns = block(vectors - v, COLUMNS)
            left, right = address(x, i), address(y, v * LANES)
            place = address(w, i * w_row + v * LANES)
            tile(high, columns, left, 1, x_row, right, y_row, rows, zeros, 0, place, w_row, True, scale)
            v += columns
        i += high


@njit
def gather_sum(table: Any, table_row: int, places: Any, count: int, start: Any, out: Any, width: int) -> None:
    """Write out (width) = start (width) + Σₖ table[places[k]] (width) for k < count, in the order of k."""
    vectors = width // LANES
    v = 0
    while v < vectors:
        columns = block(vectors - v, STRIP)
        left = v * LANES
        sum_rows(columns, address(table, left), table_row, places, count, address(start, left), address(out, left))
        v += columns
