"""The one source of randomness: it turns a seed and a protocol into streams of draws.

Nothing here depends on a global generator, on hash() or on the clock.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol as Interface

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CUT, CUT_STD = 2.0, 0.8796256610342398  # of the truncated normal: its ends, and the std of a standard normal cut there
NUMBERS = 10**6  # the numbers that are drawn or gathered together at most, so that memory does not grow with the stack


class Streams(Interface):
    """The draws of one training: the parameters first, in the order C, W1, b1, …, then the minibatches."""

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """A standard normal draw (*shape), float32, for the parameter `name`."""

    def uniform(self, name: str, shape: Sequence[int]) -> Tensor:
        """A uniform draw on ± √3, whose std is 1, (*shape), float32, for the parameter `name`."""

    def truncated(self, name: str, shape: Sequence[int]) -> Tensor:
        """A standard normal draw cut at ± 2 and divided by its std, which is then 1, (*shape), float32."""

    def indices(self, high: int, steps: int, batch_size: int) -> Tensor:
        """Row numbers (steps, batch_size), int64, uniform on 0 … high − 1. Each call continues the one before it."""


def generator(seed: int, name: str) -> np.random.Generator:
    """The stream `name` of `seed`. Its key is these two alone, so that every condition gets the same draws."""
    digest = hashlib.sha256(name.encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))


class Paired:
    """One stream per purpose: W1 of seed 3 is one unscaled draw in all conditions, and all get the same minibatches."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._batches = generator(seed, "batches")

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """A standard normal draw (*shape) from the stream init.<name>, drawn in float64 and rounded once to float32."""
        draw = generator(self._seed, f"init.{name}").standard_normal(tuple(shape))
        return torch.from_numpy(draw.astype(np.float32))

    def uniform(self, name: str, shape: Sequence[int]) -> Tensor:
        """A uniform draw on ± √3 from the stream init.<name>, (*shape), rounded once to float32."""
        draw = generator(self._seed, f"init.{name}").uniform(-(3**0.5), 3**0.5, tuple(shape))
        return torch.from_numpy(draw.astype(np.float32))

    def truncated(self, name: str, shape: Sequence[int]) -> Tensor:
        """A standard normal draw cut at ± 2 from the stream init.<name>, divided by its std and rounded once."""
        stream = generator(self._seed, f"init.{name}")
        return torch.from_numpy((_within(stream.standard_normal, tuple(shape)) / CUT_STD).astype(np.float32))

    def indices(self, high: int, steps: int, batch_size: int) -> Tensor:
        """Row numbers (steps, batch_size), int64. They are the same whether they are drawn in blocks or at once."""
        return torch.from_numpy(self._batches.integers(high, size=(steps, batch_size)))


class Lecture:
    """One torch.Generator for the parameters in order and then for the minibatches, as in the lecture's notebook."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """A standard normal draw (*shape), float32. It depends on the order of the calls, not on the name."""
        return torch.randn(tuple(shape), generator=self._generator)

    def uniform(self, name: str, shape: Sequence[int]) -> Tensor:
        """A uniform draw on ± √3, (*shape), float32."""
        return (torch.rand(tuple(shape), generator=self._generator) * 2 - 1) * 3**0.5

    def truncated(self, name: str, shape: Sequence[int]) -> Tensor:
        """A standard normal draw cut at ± 2, divided by its std, (*shape), float32."""

        def normal(size: int) -> NDArray[np.float64]:
            return np.asarray(torch.randn(size, generator=self._generator), np.float64)

        return torch.from_numpy((_within(normal, tuple(shape)) / CUT_STD).astype(np.float32))

    def indices(self, high: int, steps: int, batch_size: int) -> Tensor:
        """Row numbers (steps, batch_size), int64, by one call of randint per step, as in the lecture's loop."""
        rows = [torch.randint(0, high, (batch_size,), generator=self._generator) for _ in range(steps)]
        return torch.stack(rows) if rows else torch.empty((0, batch_size), dtype=torch.int64)


def _within(normal: Callable[[int], NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A standard normal draw (*shape), in which every number beyond ± 2 was drawn again until it was within.

    No function of the library decides a number, so that the bits are the same on every CPU.
    """
    found = normal(math.prod(shape))
    while len(beyond := np.flatnonzero(np.abs(found) > CUT)):
        found[beyond] = normal(len(beyond))
    return found.reshape(shape)


class Minibatches:
    """The minibatches of a stack, step by step, as rows of the training split. Block sizes do not change them."""

    def __init__(self, streams: Sequence[Streams], high: int, batch_size: int) -> None:
        self._streams, self._high, self._batch_size = streams, high, batch_size
        self._seen: Tensor | None = None  # (1, M, batch), drawn for `upcoming` and not used up yet

    def upcoming(self) -> Tensor:
        """The minibatches of the next step, (M, batch). They are not used up."""
        if self._seen is None:
            self._seen = self._draw(1)
        return self._seen[0]

    def take(self, steps: int) -> Tensor:
        """The minibatches of the next `steps` ≥ 1 steps, (steps, M, batch)."""
        seen, self._seen = self._seen, None
        if seen is None:
            return self._draw(steps)
        return torch.cat([seen, self._draw(steps - 1)])

    def skip(self, steps: int) -> None:
        """Use up the minibatches of `steps` steps, which a continued training has seen already."""
        for count in blocks(steps, len(self._streams) * self._batch_size):
            self.take(count)

    def _draw(self, steps: int) -> Tensor:
        return torch.stack([s.indices(self._high, steps, self._batch_size) for s in self._streams], dim=1)


def blocks(steps: int, size: int, most: int = 1000) -> Iterator[int]:
    """Cut `steps` steps of `size` numbers each into blocks, and yield the number of steps of each block.

    A block has at most `most` steps and at most NUMBERS numbers, but always at least one step.
    """
    longest = max(1, min(most, NUMBERS // size))
    for start in range(0, steps, longest):
        yield min(longest, steps - start)


def streams(seed: int, protocol: str) -> Streams:
    """New streams of `seed` under a protocol, which is "paired" or "lecture". ValueError: it is neither."""
    if protocol == "paired":
        return Paired(seed)
    if protocol == "lecture":
        return Lecture(seed)
    raise ValueError(f"expected the protocol paired or lecture, got {protocol!r}")
