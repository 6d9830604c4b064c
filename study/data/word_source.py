"""The word list as a source of data: every character of a word is predicted from those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.data.source import SourceKind, entropy, register
from study.data.words import WordList, Words, load

if TYPE_CHECKING:
    from study.data.examples import Dataset


@dataclass(frozen=True)
class WordExamples(Words):
    """The examples of a word list: one for every character of a word, and one for the boundary after it."""

    shuffle_seed: int

    @property
    def length(self) -> None:
        """None, since contexts of any length can be cut."""
        return None

    @property
    def classes(self) -> Sequence[str]:
        """The characters that a model knows, the boundary first."""
        return self.vocabulary.characters

    @property
    def size(self) -> str:
        """The number of words: `32,033 words`."""
        return f"{sum(map(len, self.splits.values())):,} words"

    def contexts(self, length: int) -> int:
        """The number of distinct contexts of the training split."""
        padding = self.vocabulary.characters[0] * length
        return len({(padding + word)[i : i + length] for word in self.splits["train"] for i in range(len(word) + 1)})

    def key(self) -> dict[str, Any]:
        """The hash of the list, its vocabulary, and how it is cut."""
        return {
            "sha256": self.sha256,
            "vocabulary": "".join(self.vocabulary.characters),
            "words": {name: len(part) for name, part in self.splits.items()},
            "shuffle_seed": self.shuffle_seed,
        }

    def facts(self, lengths: Sequence[int]) -> dict[str, Any]:
        """The numbers of words, those that stand in two splits, the entropies, and the patterns of repeats."""
        return {
            "words": {name: len(part) for name, part in self.splits.items()},
            "shared_with_train": {name: self.shared(name) for name in self.splits if name != "train"},
            "words_twice": self.repeated,
            "character_entropy": {name: entropy(self.targets(name)) for name in self.splits},
            "repeats": {
                str(context): {" ".join(map(str, k)): v for k, v in self.repeats("train", context).items()}
                for context in lengths
            },
        }

    def dataset(self, context: int) -> Dataset:
        """The splits as contexts X (N, context) and next characters Y (N,)."""
        from study.data.examples import dataset  # imports torch

        return dataset(self, context)


@dataclass(frozen=True)
class WordSource(WordList):
    """A word list on disk, as the key `data` of a study file describes it."""

    def load(self, folder: Path) -> WordExamples:
        """Read the list at data.path, relative to `folder`. SpecError: it is not the list that is described."""
        words = load(self, folder)
        return WordExamples(words.vocabulary, words.splits, words.repeated, words.sha256, self.shuffle_seed)


WORDS = register(SourceKind("words", WordSource, noun="character"))
