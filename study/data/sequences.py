"""Sequences of classes as examples: what a source of its own hands over, with the class that follows each."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from study.data.words import SPLITS, SplitName
from study.errors import SpecError

if TYPE_CHECKING:
    from study.data.examples import Dataset

SHARES = (0.8, 0.1, 0.1)  # of the examples in train, dev and test


class Sequences:
    """N examples of T inputs and a target, which are numbers of V classes: `Examples` for any source.

    The examples are cut into train, dev and test in their order, by SHARES.
    """

    def __init__(self, classes: Sequence[str], X: Sequence[Sequence[int]], Y: Sequence[int]) -> None:
        """Take the names of the classes (V,), the inputs (N, T) and the targets (N,). SpecError: they do not fit."""
        self.classes = tuple(classes)
        self.length = len(X[0]) if len(X) else 0
        ends = [round(sum(SHARES[:i]) * len(X)) for i in range(len(SHARES) + 1)]
        self.parts = {
            name: ([tuple(x) for x in X[start:end]], tuple(Y[start:end]))
            for name, start, end in zip(SPLITS, ends, ends[1:], strict=False)
        }
        if len(X) != len(Y) or not all(y for _, y in self.parts.values()) or not self.length:
            raise SpecError(f"data: expected inputs and targets for every split, got {len(X)} and {len(Y)} of them")
        if any(len(x) != self.length for x in X):
            raise SpecError(f"data: expected {self.length} inputs in every example, as in the first one")
        if not {*Y, *(number for x in X for number in x)} <= set(range(len(self.classes))):
            raise SpecError(f"data: expected numbers of classes from 0 to {len(self.classes) - 1}")

    @property
    def size(self) -> str:
        """The number of sequences, in words."""
        return f"{sum(len(y) for _, y in self.parts.values()):,} sequences"

    def examples(self, split: SplitName) -> int:
        """The number of examples in a split."""
        return len(self.parts[split][1])

    def targets(self, split: SplitName) -> Sequence[int]:
        """The number of examples of a split with each class as their target, (V,)."""
        counts = Counter(self.parts[split][1])
        return [counts[number] for number in range(len(self.classes))]

    def contexts(self, length: int) -> int:
        """The number of distinct contexts in train."""
        return len(set(self.parts["train"][0]))

    def key(self) -> dict[str, Any]:
        """The hash of all examples and of the names of the classes."""
        content = json.dumps([self.classes, [self.parts[name] for name in SPLITS]])
        return {"sha256": hashlib.sha256(content.encode()).hexdigest()}

    def facts(self, lengths: Sequence[int]) -> dict[str, Any]:
        """Nothing besides the facts about any examples."""
        return {}

    def dataset(self, context: int) -> Dataset:
        """The splits as X (N, T) and Y (N,)."""
        import torch

        from study.data.examples import Dataset, Split

        V = len(self.classes)
        splits = {name: Split(torch.tensor(X), torch.tensor(Y), V) for name, (X, Y) in self.parts.items()}  # int64
        return Dataset(splits, V)
