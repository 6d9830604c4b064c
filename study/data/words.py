"""Turn a word list on disk into checked words, a vocabulary and three shuffled splits. This module loads no torch."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from study.errors import SpecError
from study.files import read, unread

SplitName = Literal["train", "dev", "test"]
MAX_BYTES = 100_000_000  # of a word list: some ten million words
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class WordList:
    """A word list on disk, and how it is cut into splits."""

    path: str  # relative to the study file
    sha256: str | None  # the sha256 of the file's bytes, where the study file names one
    about: str | None
    vocabulary: str | None  # the characters; None: the characters of the words
    boundary: str  # one character, which is in no word
    splits: dict[SplitName, float]  # the share of the words in each split
    shuffle_seed: int


@dataclass(frozen=True)
class Vocabulary:
    """The characters that a model knows.

    The boundary character is number 0. The others follow in the order of data.vocabulary, or in the order of their code
    points where the study file has no data.vocabulary.
    """

    characters: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.characters)


@dataclass(frozen=True)
class Words:
    """A word list, cut into splits."""

    vocabulary: Vocabulary
    splits: dict[SplitName, list[str]]  # by name, in the order of SPLITS
    repeated: int  # the number of distinct words that are in the file more than once
    sha256: str

    def examples(self, split: SplitName) -> int:
        """The number of examples in a split: one for every character and for the boundary after each word."""
        return sum(len(word) + 1 for word in self.splits[split])

    def targets(self, split: SplitName) -> list[int]:
        """The number of examples of a split of which each character of the vocabulary is the next one, (V,)."""
        counts = Counter("".join(self.splits[split]))
        others = self.vocabulary.characters[1:]
        return [len(self.splits[split]), *(counts[character] for character in others)]

    def repeats(self, split: SplitName, context: int) -> dict[tuple[int, ...], float]:
        """Share of contexts by pattern of repeats: `...` is (3,), `..e` and `emm` are (2, 1), `emi` is (1, 1, 1)."""
        boundary = self.vocabulary.characters[0] * context
        windows: Counter[str] = Counter()
        for word in self.splits[split]:
            padded = boundary + word
            windows.update(padded[i : i + context] for i in range(len(word) + 1))
        shares: Counter[tuple[int, ...]] = Counter()
        for window, count in windows.items():
            shares[tuple(sorted(Counter(window).values(), reverse=True))] += count
        return {pattern: shares[pattern] / windows.total() for pattern in sorted(shares)}

    def shared(self, split: SplitName) -> int:
        """The number of words of a split that are in the training split as well."""
        train = set(self.splits["train"])
        return sum(word in train for word in self.splits[split])


def fillable(sizes: tuple[int, ...], examples: int) -> tuple[int, ...]:
    """The longest start of `sizes` that divides a common number of examples, which is at most `examples`."""
    for count in range(len(sizes), 0, -1):
        if math.lcm(*sizes[:count]) <= examples:
            return sizes[:count]
    return ()


def load(data: WordList, folder: Path) -> Words:
    """Read the word list at data.path, relative to `folder`, then shuffle it and cut it as the lecture does.

    SpecError: the file cannot be read, or it is not the list that the study file describes.
    """
    lines, sha256 = read_words(folder / data.path, data.path, data.sha256)
    vocabulary = make_vocabulary(lines, data)
    words = [word for word in lines if word]
    shuffled = list(words)
    random.Random(data.shuffle_seed).shuffle(shuffled)
    shares = [Fraction(str(data.splits[name])) for name in SPLITS]
    ends = [int(sum(shares[: i + 1]) * len(words)) for i in range(len(SPLITS))]
    splits: dict[SplitName, list[str]] = {}
    for name, start, end in zip(SPLITS, [0, *ends], ends, strict=False):
        if start == end:
            got = f"{len(words):,} word{'s' if len(words) > 1 else ''}"
            raise SpecError(
                f"{data.path}: {got} leave none for data.splits.{name} = {data.splits[name]:g}; give it a larger share"
            )
        splits[name] = shuffled[start:end]
    return Words(vocabulary, splits, repeated=_repeated(words), sha256=sha256)


def _repeated(words: Sequence[str]) -> int:
    seen: set[str] = set()
    twice: set[str] = set()
    for word in words:
        (twice if word in seen else seen).add(word)
    return len(twice)


def read_words(path: Path, shown: str, sha256: str | None) -> tuple[list[str], str]:
    """The lines of a UTF-8 file and the sha256 of its bytes. Each line that is not empty is a word."""
    try:
        content = read(path, MAX_BYTES)
    except OSError as error:
        raise SpecError(
            f"{shown}: {unread(error, 'data.path is relative to the study file', 'name a shorter list, or a part of it')}"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise SpecError(
            f"{shown}: sha256 is {found}, data.sha256 expects {sha256}; restore the file or change the entry"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content[: error.start].count(b"\n") + 1, content[error.start]
        raise SpecError(f"{shown}:{line}: byte 0x{byte:02x} is not UTF-8; save the list as UTF-8") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not any(lines):
        raise SpecError(f"{shown}: holds no words; expected one word per line")
    return lines, found


def make_vocabulary(lines: Sequence[str], data: WordList) -> Vocabulary:
    """The vocabulary: the boundary character, then the given characters or those of the words."""
    present = set("".join(lines))
    if data.boundary in present:
        place, word = _first(lines, {data.boundary}, data)
        raise SpecError(
            f"{place}: {word!r:.80} contains the boundary character {data.boundary!r}; name another with data.boundary"
        )
    _check_blanks(lines, data)
    if data.vocabulary is None:
        return Vocabulary((data.boundary, *sorted(present)))
    given = [character for character in data.vocabulary if character != data.boundary]
    outside = present.difference(given)
    if outside:
        place, word = _first(lines, outside, data)
        character = next(c for c in word if c in outside)
        raise SpecError(
            f"{place}: {word!r:.80} has {character!r}, which data.vocabulary does not; add it, or leave"
            " data.vocabulary out"
        )
    return Vocabulary((data.boundary, *given))


def _check_blanks(lines: Sequence[str], data: WordList) -> None:
    """Refuse a word that begins or ends with a blank, unless data.vocabulary names the blank.

    Such a blank cannot be seen, so that it is in the list by mistake.
    """
    for i, word in enumerate(lines, start=1):
        blank = next((c for c in (word[:1], word[-1:]) if c.isspace() and c not in (data.vocabulary or "")), None)
        if blank is not None:
            raise SpecError(
                f"{data.path}:{i}: {word!r:.80} "
                + (f"has the blank {blank!r} at an end" if word.strip() else "is a line of blanks")
                + "; remove it, or give the characters as data.vocabulary, this one among them"
            )


def _first(lines: Sequence[str], characters: set[str], data: WordList) -> tuple[str, str]:
    """The place and the word of the first line that has one of the characters."""
    return next((f"{data.path}:{i}", word) for i, word in enumerate(lines, start=1) if characters.intersection(word))
