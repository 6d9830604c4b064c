"""A network and a vocabulary size as places in one flat buffer that holds everything a model trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.errors import unknown
from study.network.layers import Network

LANES = 16  # elements of a vector; a row of every array starts at a multiple of it
NOWHERE = -1


def padded(size: int) -> int:
    """The next multiple of the vector length."""
    return -(-size // LANES) * LANES


def row_length(size: int) -> int:
    """Elements from row to row: a whole number of vectors whose bytes are no multiple of a memory page.

    Rows a page apart fall into the same sets of the cache, so that eight of them evict one another.
    """
    row = padded(size)
    return row + LANES if row % 512 == 0 else row


@dataclass(frozen=True)
class Place:
    """One named array in the buffer: its shape, its first element, the elements from row to row, or column to column."""

    name: str
    shape: tuple[int, int]
    offset: int
    row: int
    turned: bool = False  # whether a column of the array lies in a row of the buffer

    def view(self, buffer: NDArray[Any]) -> NDArray[Any]:
        """The array inside the buffer, without its padding. (shape)"""
        rows, columns = self.shape[::-1] if self.turned else self.shape
        array = buffer[self.offset : self.offset + rows * self.row].reshape(rows, self.row)[:, :columns]
        return array.T if self.turned else array


class Layout:
    """Where C, every W, b, bngain, bnbias and every running mean and std of a network lie in one buffer.

    Every W but the first lies turned: in two of its three products the lanes then run over fan_in, which is large and a
    whole number of vectors where the vocabulary is neither. Names carry their level from 1, the output layer last: C, W1, b1, bngain1, bnbias1, mean1, std1, W2, …
    """

    def __init__(self, network: Network, vocabulary: int) -> None:
        self.network, self.vocabulary = network, vocabulary
        self.places: dict[str, Place] = {}
        self.size = 0
        self._add("C", vocabulary, network.embedding_size)
        for level, (layer, (fan_in, fan_out)) in enumerate(
            zip(network.layers, network.shapes(vocabulary), strict=True), 1
        ):
            self._add(f"W{level}", fan_in, fan_out, turned=level > 1)
            names = ["b"] if layer.bias is not None else []
            match layer.norm:
                case "none":
                    pass
                case "batch":
                    names += ["bngain", "bnbias", "mean", "std"]
                case _:
                    unknown(layer.norm)
            for name in names:
                self._add(f"{name}{level}", 1, fan_out)

    def _add(self, name: str, rows: int, columns: int, turned: bool = False) -> None:
        number, length = (columns, rows) if turned else (rows, columns)
        place = Place(name, (rows, columns), self.size, row_length(length), turned)
        self.places[name] = place
        self.size += number * place.row

    def offset(self, name: str) -> int:
        """First element of a named array, ABSENT if the network has none."""
        return self.places[name].offset if name in self.places else NOWHERE

    def pack(self, arrays: dict[str, NDArray[Any]], dtype: Any = np.float32) -> NDArray[Any]:
        """The buffer (size,) that holds these arrays, each as (rows, columns) or, for one row, (columns,)."""
        assert set(arrays) == set(self.places), f"expected {sorted(self.places)}, got {sorted(arrays)}"
        buffer = aligned(self.size, dtype)
        for name, place in self.places.items():
            place.view(buffer)[:] = np.asarray(arrays[name]).reshape(place.shape)
        return buffer

    def unpack(self, buffer: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Copies of the named arrays, (rows, columns) each; b, bngain, bnbias, mean, std are (1, columns)."""
        assert buffer.shape == (self.size,), f"{buffer.shape=} {self.size=}"
        return {name: place.view(buffer).copy() for name, place in self.places.items()}


def aligned(size: int, dtype: Any) -> NDArray[Any]:
    """Zeros (size,) that start at a cache line, as vectors of 64 bytes are read fastest."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size + 64 // itemsize, dtype)
    skip = -raw.ctypes.data % 64 // itemsize
    return raw[skip : skip + size]
