"""The working memory of one training at one batch size, and the offsets by which compiled code finds its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from study.training.fused.kinds import ACTIVATIONS
from study.training.fused.layout import LANES, NOWHERE, Layout, aligned, padded, row_length

# The columns of `layers`, a row per layer: sizes, places among the parameters (NOWHERE: none), places in floats.
FAN_IN, FAN_OUT, ROW, ACTIVATION, W, B, BNGAIN, BNBIAS, MEAN, STD, H, D, XHAT, INVERSE = range(14)
# The entries of `sizes`: sizes and the place of C, then places in floats that all layers share.
EXAMPLES, EMBEDDING, C, C_ROW, VOCABULARY = range(5)
ZEROS, ONE, RATE, PANEL, FIRST, SECOND, TRANSPOSED, TOP, TOTAL, GATHERED, SUMS, DGATHERED, DTRANSPOSED, DC = range(
    5, 19
)

DEPTH = 128  # the summed indices of a matrix product per pass: DEPTH × 3 vectors stay in the first-level cache
PANEL_SIZE = DEPTH * 3 * LANES  # the elements of one such block of a transposed matrix


class Workspace:
    """The flat arrays of the kernel: `floats` for activations and gradients, `tables` of a minibatch's characters."""

    def __init__(self, layout: Layout, examples: int, dtype: Any) -> None:
        network, vocabulary = layout.network, layout.vocabulary
        shapes, lanes = network.shapes(vocabulary), padded(examples)
        self.size = 0
        self.layers = np.full((len(shapes), INVERSE + 1), NOWHERE, np.int64)
        for p, layer, (fan_in, fan_out), n in zip(
            self.layers, network.layers, shapes, range(1, len(shapes) + 1), strict=True
        ):
            row = row_length(fan_out)
            p[:W] = fan_in, fan_out, row, ACTIVATIONS[layer.activation]
            p[W:H] = [layout.offset(f"{name}{n}") for name in ("W", "b", "bngain", "bnbias", "mean", "std")]
            p[H], p[D] = self._take(lanes * row), self._take(lanes * row)
            if layer.norm != "none":
                p[XHAT], p[INVERSE] = self._take(lanes * row), self._take(row)

        context, most, c_row = network.context, min(examples, vocabulary), layout.places["C"].row
        rows = self.layers[:, ROW].tolist()
        widest = max(*rows, c_row)
        shared = [
            *((ZEROS, widest), (ONE, 1), (RATE, 1), (PANEL, PANEL_SIZE), (FIRST, widest), (SECOND, widest)),
            *((TRANSPOSED, rows[-1] * lanes), (TOP, lanes), (TOTAL, lanes)),
            *((GATHERED, context * most * c_row), (SUMS, context * most * rows[0])),
            *((DGATHERED, max(most, LANES) * c_row), (DTRANSPOSED, c_row * LANES), (DC, vocabulary * c_row)),
        ]
        self.sizes = np.zeros(DC + 1, np.int64)
        self.sizes[:ZEROS] = examples, network.embedding_size, layout.offset("C"), c_row, vocabulary
        for entry, size in shared:
            self.sizes[entry] = self._take(size)
        self.floats = aligned(self.size, dtype)
        self.floats[self.sizes[ONE]] = 1
        self.tables = (
            # found: the distinct characters of each position
            np.zeros((context, most), np.int64),
            # counts: the number of distinct characters of each position
            np.zeros(context, np.int64),
            # terms: for each example and position, its row among the products of all positions
            np.zeros(examples * context, np.int64),
            # order: for each position, the examples sorted by character
            np.zeros(context * examples, np.int64),
            # starts: the place in `order` at which the examples of a character begin
            np.zeros((context, most + 1), np.int64),
            # slots: the place of a character in `found`, valid where its stamp is the newest
            np.zeros(vocabulary, np.int64),
            # stamps: the stamp with which a character was seen last
            np.zeros(vocabulary, np.int64),
        )

    def _take(self, size: int) -> int:
        offset = self.size
        self.size += padded(size)
        return offset
