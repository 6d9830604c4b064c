"""The sources of data: a source turns the key `data` of a study file into examples. No torch is loaded here.

A new source is one class with the attributes of `Source` and one call of `register`, here or in a file that a study
file names. The axes are N examples, T inputs of an example and V classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from study.codehash import Origin, origin
from study.data.words import SplitName
from study.errors import check_name, refused

if TYPE_CHECKING:
    from study.data.examples import Dataset

Facts = Mapping[str, Any]  # plain values, which JSON can hold


class Examples(Protocol):
    """The examples of a data set, cut into the splits train, dev and test."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of the V classes. An input and a target are numbers of classes, from 0 to V − 1."""

    @property
    def length(self) -> int | None:
        """The number of inputs of an example, T. None: as many as the network's context asks for."""

    @property
    def size(self) -> str:
        """The number of items in the data set, in words: `32,033 words`."""

    def examples(self, split: SplitName) -> int:
        """The number of examples in a split, N."""

    def targets(self, split: SplitName) -> Sequence[int]:
        """The number of examples of a split with each class as their target, (V,)."""

    def contexts(self, length: int) -> int:
        """The number of distinct contexts of `length` inputs in train, or a number above it.

        It serves for durations.
        """

    def key(self) -> Facts:
        """Everything on which the examples depend besides the code of their source. It enters the keys of the cache."""

    def facts(self, lengths: Sequence[int]) -> Facts:
        """What the manifest tells besides the facts about any examples. `lengths` are those of the study's contexts."""

    def dataset(self, context: int) -> Dataset:
        """The splits as tensors, X (N, T) and Y (N,) int64. This loads torch, and a worker calls it."""


class Source(Protocol):
    """What a study file says about its data. A source is a frozen dataclass whose fields are the keys under `data`.

    It checks itself in `__post_init__` by a ValueError, of whose words a message is made.
    """

    @property
    def path(self) -> str | None:
        """The file that is read, relative to the study file. None: there is none."""

    @property
    def about(self) -> str | None:
        """What the data are, for the reader of the page."""

    def load(self, folder: Path) -> Examples:
        """The examples.

        `folder` is that of the study file. SpecError: a file cannot be read, or is not as described.
        """


@dataclass(frozen=True)
class SourceKind:
    """A kind of source, which a study file names by `data: {kind: …}`."""

    name: str
    source: type[Any]  # the dataclass of the source
    noun: str  # for an input or a target on the page: character
    origin: Origin = field(default_factory=lambda: origin(__name__), compare=False, repr=False)


SOURCES: dict[str, SourceKind] = {}


def register(entry: SourceKind) -> SourceKind:
    """Make a kind of source known by its name. Raises SpecError for an entry that cannot serve."""
    check_name(entry, entry.name, SOURCES)
    if not is_dataclass(entry.source) or not callable(getattr(entry.source, "load", None)):
        raise refused(entry, f"source: expected a dataclass with a method load, got {entry.source!r:.60}")
    names = {f.name for f in fields(entry.source)}
    if not {"path", "about"} <= names | set(dir(entry.source)):
        raise refused(entry, "source: expected the attributes path and about, each None where there is none")
    if "kind" in names:
        raise refused(entry, "source: the key kind is taken; choose another name for this field")
    SOURCES[entry.name] = entry
    return entry


def entropy(targets: Sequence[int]) -> float:
    """The entropy of the targets in nats, from the number of examples with each class as their target, (V,)."""
    total = sum(targets)
    return -sum(n / total * math.log(n / total) for n in targets if n)


def kind_of(source: Source) -> SourceKind:
    """The kind of a source."""
    return next(kind for kind in SOURCES.values() if type(source) is kind.source)
