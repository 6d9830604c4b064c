"""Words as tensors: the examples (context, next character) of every split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from study.words import Vocabulary, Words


@dataclass(frozen=True)
class Split:
    """Examples of one split."""

    X: Tensor  # (N, T) int64, contexts
    Y: Tensor  # (N,) int64, next characters
    vocabulary: int  # V

    @cached_property
    def distinct(self) -> tuple[Tensor, Tensor]:
        """Distinct contexts (U, T) int64, and how often each character follows each of them (U, V) float64.

        A model reads nothing but the context, so every sum over the N examples is a weighted sum over U ≤ N contexts:
        5,438 instead of 182,625 for the names.
        """
        contexts, which = torch.unique(self.X, dim=0, return_inverse=True)  # (U, T), (N,)
        counts = torch.bincount(which * self.vocabulary + self.Y, minlength=len(contexts) * self.vocabulary)
        return contexts, counts.view(len(contexts), self.vocabulary).double()


@dataclass(frozen=True)
class Dataset:
    """The splits as tensors."""

    splits: dict[str, Split]
    vocabulary: int  # V


def make_split(words: Sequence[str], vocabulary: Vocabulary, context: int) -> Split:
    """Every character of every word and the boundary after it, with the `context` characters before. X (N, T), Y (N,)"""
    number = {character: i for i, character in enumerate(vocabulary.characters)}
    X, Y = [], []
    for word in words:
        window = [0] * context
        for following in [*(number[c] for c in word), 0]:
            X.append(window)
            Y.append(following)
            window = [*window[1:], following]
    return Split(torch.tensor(X, dtype=torch.int64), torch.tensor(Y, dtype=torch.int64), len(vocabulary))


def dataset(words: Words, context: int) -> Dataset:
    """The splits of a word list, with contexts of `context` characters."""
    splits = {name: make_split(part, words.vocabulary, context) for name, part in words.splits.items()}
    return Dataset(splits, len(words.vocabulary))
