"""The one source of randomness: seed and protocol as streams of draws. Never the global generator, hash() or the clock."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor

from study.setup import Protocol


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


def streams(seed: int, protocol: Protocol) -> Streams:
    """Fresh streams of `seed` under `protocol`."""
    return Paired(seed) if protocol == "paired" else Lecture(seed)
