"""Turn words into tensors: the examples (context, next character) of every split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from study.data.words import SplitName, Vocabulary, Words


@dataclass(frozen=True)
class Split:
    """The examples of one split."""

    X: Tensor  # (N, T) int64, the contexts
    Y: Tensor  # (N,) int64, the next characters
    vocabulary: int  # V

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """The number of examples of which each character is the next one, (V,)."""
        return tuple(torch.bincount(self.Y, minlength=self.vocabulary).tolist())

    @cached_property
    def distinct(self) -> tuple[Tensor, Tensor, Tensor]:
        """Distinct contexts (U, T), distinct examples (P,), and the number of times that each example occurs (P,).

        An example is written as the number of its context · V + its next character, and the examples are in ascending
        order. A model reads nothing but the context, so that every sum over the N examples is a weighted sum over
        U ≤ N contexts: for the names, 5,438 instead of 182,625.
        """
        contexts, which = torch.unique(self.X, dim=0, return_inverse=True)  # (U, T), (N,)
        examples, times = torch.unique(which * self.vocabulary + self.Y, return_counts=True)  # (P,), (P,), ascending
        return contexts, examples, times

    def piece(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The distinct contexts `start` … `stop` − 1, (n, T), and the counts of the characters that follow each.

        The counts are (n, V) float64.
        """
        contexts, examples, times = self.distinct
        part = contexts[start:stop]
        a, b = torch.searchsorted(examples, torch.tensor([start, start + len(part)]) * self.vocabulary).tolist()
        counts = torch.zeros(len(part) * self.vocabulary, dtype=torch.float64)
        counts[examples[a:b] - start * self.vocabulary] = times[a:b].double()
        return part, counts.view(len(part), self.vocabulary)


@dataclass(frozen=True)
class Dataset:
    """The splits of a word list as tensors."""

    splits: dict[SplitName, Split]
    vocabulary: int  # V


def make_split(words: Sequence[str], vocabulary: Vocabulary, context: int) -> Split:
    """The examples of these words: X (N, T) and Y (N,).

    There is an example for every character of every word and for the boundary after the word. Its context is the
    `context` characters before it, filled up with the boundary character.
    """
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
    """The splits of a word list as examples with contexts of `context` characters."""
    splits = {name: make_split(part, words.vocabulary, context) for name, part in words.splits.items()}
    return Dataset(splits, len(words.vocabulary))
