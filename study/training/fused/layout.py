"""Turn a network and a vocabulary size into places in one flat buffer, which holds everything that a model trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.network.layers import Network
from study.training.fused.kinds import NORMS

LANES = 16  # elements of a vector; every row of every array starts at a multiple of it
NOWHERE = -1  # the offset of an array that a network does not have


def padded(size: int) -> int:
    """The smallest multiple of the vector length that is not below `size`."""
    return -(-size // LANES) * LANES


def row_length(size: int) -> int:
    """The distance from row to row in elements: a whole number of vectors, but no multiple of a memory page in bytes.

    Rows that are a page apart fall into the same sets of the cache, so that eight of them evict one another.
    """
    row = padded(size)
    return row + LANES if row % 512 == 0 else row


@dataclass(frozen=True)
class Place:
    """The place of one named array in the buffer.

    `offset` is its first element. `row` is the distance in elements from row to row, or from column to column where the
    array is transposed.
    """

    name: str
    shape: tuple[int, int]
    offset: int
    row: int
    transposed: bool = False  # whether a column of the array lies in a row of the buffer

    def view(self, buffer: NDArray[Any]) -> NDArray[Any]:
        """The array as a view of the buffer, without its padding, (shape)."""
        rows, columns = self.shape[::-1] if self.transposed else self.shape
        array = buffer[self.offset : self.offset + rows * self.row].reshape(rows, self.row)[:, :columns]
        return array.T if self.transposed else array


class Layout:
    """The places of C, every W, b, bngain, bnbias and every running mean and std of a network in one buffer.

    Every W except the first is stored transposed. In two of its three products the lanes run over fan_in then, which is
    large and a whole number of vectors; the size of the vocabulary is neither. Names carry the number of their layer,
    counted from 1, and the output layer is the last: C, W1, b1, bngain1, bnbias1, mean1, std1, W2, …
    """

    def __init__(self, network: Network, vocabulary: int) -> None:
        self.network, self.vocabulary = network, vocabulary
        self.places: dict[str, Place] = {}
        self.size = 0
        self._add("C", vocabulary, network.embedding_size)
        for number, (layer, (fan_in, fan_out)) in enumerate(
            zip(network.layers, network.shapes(vocabulary), strict=True), 1
        ):
            self._add(f"W{number}", fan_in, fan_out, transposed=number > 1)
            names = ["b"] if layer.bias is not None else []
            kind = (layer.norm, layer.norm_options)
            assert kind in NORMS, f"the kernel does not know the norm {kind}"
            names += NORMS[kind]
            for name in names:
                self._add(f"{name}{number}", 1, fan_out)

    def _add(self, name: str, rows: int, columns: int, transposed: bool = False) -> None:
        number, length = (columns, rows) if transposed else (rows, columns)
        place = Place(name, (rows, columns), self.size, row_length(length), transposed)
        self.places[name] = place
        self.size += number * place.row

    def offset(self, name: str) -> int:
        """The first element of a named array; NOWHERE if the network does not have it."""
        return self.places[name].offset if name in self.places else NOWHERE

    def pack(self, arrays: dict[str, NDArray[Any]], dtype: Any = np.float32) -> NDArray[Any]:
        """A new buffer (size,) that holds these arrays, each given as (rows, columns) or, for one row, (columns,)."""
        assert set(arrays) == set(self.places), f"expected {sorted(self.places)}, got {sorted(arrays)}"
        buffer = aligned(self.size, dtype)
        for name, place in self.places.items():
            place.view(buffer)[:] = np.asarray(arrays[name]).reshape(place.shape)
        return buffer

    def unpack(self, buffer: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Copies of the named arrays, (rows, columns) each; b, bngain, bnbias, mean and std are (1, columns)."""
        assert buffer.shape == (self.size,), f"{buffer.shape=} {self.size=}"
        return {name: place.view(buffer).copy() for name, place in self.places.items()}


def aligned(size: int, dtype: Any) -> NDArray[Any]:
    """Zeros (size,) whose memory starts at a cache line, from which vectors of 64 bytes are read fastest."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size + 64 // itemsize, dtype)
    skip = -raw.ctypes.data % 64 // itemsize
    return raw[skip : skip + size]
