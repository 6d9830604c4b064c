"""The one source of randomness: seed and protocol as streams of draws. Never the global generator, hash() or the clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor

from study.errors import unknown
from study.setup import Protocol

NUMBERS = 10**6  # that are drawn, or gathered, together: memory is not to grow with the batch any faster than it must


class Streams(Interface):
    """What a training draws from: parameters first, in the order C, W1, b1, …, then minibatch indices."""

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Standard normal draw (*shape), float32, for the parameter `name`."""

    def indices(self, high: int, steps: int, batch_size: int) -> Tensor:
        """Row numbers (steps, batch_size), int64, uniform on 0 … high − 1; a call continues where the last stopped."""


def generator(seed: int, name: str) -> np.random.Generator:
    """The stream `name` of `seed`: keyed by both and by nothing else, so that every condition meets the same draws."""
    digest = hashlib.sha256(name.encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))


class Paired:
    """One stream per purpose. W1 of seed 3 is one unscaled draw in all conditions, and all see the same minibatches."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._batches = generator(seed, "batches")

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Standard normal draw (*shape) of the stream init.<name>: drawn in float64, rounded once to float32."""
        draw = generator(self._seed, f"init.{name}").standard_normal(tuple(shape))
        return torch.from_numpy(draw.astype(np.float32))

    def indices(self, high: int, steps: int, batch_size: int) -> Tensor:
        """Row numbers (steps, batch_size), int64. Drawn in blocks or at once, they are the same numbers."""
        return torch.from_numpy(self._batches.integers(high, size=(steps, batch_size)))


class Lecture:
    """One torch.Generator feeds the parameters in order and then the minibatches, as the lecture's notebook does."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, name: str, shape: Sequence[int]) -> Tensor:
        """Standard normal draw (*shape), float32; the name plays no part, the order does."""
        return torch.randn(tuple(shape), generator=self._generator)

    def indices(self, high: int, steps: int, batch_size: int) -> Tensor:
        """Row numbers (steps, batch_size), int64: one randint call per step, as in the lecture's loop."""
        rows = [torch.randint(0, high, (batch_size,), generator=self._generator) for _ in range(steps)]
        return torch.stack(rows) if rows else torch.empty((0, batch_size), dtype=torch.int64)


class Minibatches:
    """Rows of the training split that the models of a stack meet, step by step. Taken in any blocks, they are the same."""

    def __init__(self, streams: Sequence[Streams], high: int, batch_size: int) -> None:
        self._streams, self._high, self._batch_size = streams, high, batch_size
        self._seen: Tensor | None = None  # (1, M, batch), drawn to be looked at, and not used up yet

    def upcoming(self) -> Tensor:
        """Those of the next step, (M, batch), without using them up."""
        if self._seen is None:
            self._seen = self._draw(1)
        return self._seen[0]

    def take(self, steps: int) -> Tensor:
        """Those of the next `steps` ≥ 1 steps. (steps, M, batch)"""
        seen, self._seen = self._seen, None
        if seen is None:
            return self._draw(steps)
        return torch.cat([seen, self._draw(steps - 1)])

    def skip(self, steps: int) -> None:
        """Use up those of `steps` steps, which a training that goes on has met."""
        for count in blocks(steps, len(self._streams) * self._batch_size):
            self.take(count)

    def _draw(self, steps: int) -> Tensor:
        return torch.stack([s.indices(self._high, steps, self._batch_size) for s in self._streams], dim=1)


def blocks(steps: int, size: int, most: int = 1000) -> Iterator[int]:
    """`steps` steps of `size` numbers each, in blocks: of `most` steps, or of as many as NUMBERS allows, but of one."""
    longest = max(1, min(most, NUMBERS // size))
    for start in range(0, steps, longest):
        yield min(longest, steps - start)


def streams(seed: int, protocol: Protocol) -> Streams:
    """Fresh streams of `seed` under `protocol`."""
    match protocol:
        case "paired":
            return Paired(seed)
        case "lecture":
            return Lecture(seed)
        case _:
            unknown(protocol)
