"""Turn the key `data` of a study file into the source of its examples, most often a word list."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from study.data.source import Source
from study.data.words import SPLITS
from study.errors import unknown
from study.spec.paths import confine, followed
from study.spec.schema import DataEntry, shown_value
from study.spec.study_file import StudyFile


def resolve_source(file: StudyFile, anywhere: bool = False) -> Source:
    """The source of the examples of a study.

    Its file lies in the study file's folder, in the working folder, or, if allowed, `anywhere`. Raises SpecError for a
    path to another place; and of a word list for shares that do not split the words into train, dev and test, and for
    characters that cannot be told apart.
    """
    data: DataEntry | Source = file.content.data
    if data.path is not None:
        _check_path(file, data.path, anywhere, isinstance(data, DataEntry))
    if not isinstance(data, DataEntry):
        return data
    _check_splits(file, data)
    _check_characters(file, data)
    return data.record()


def _check_path(file: StudyFile, given: str, anywhere: bool, of_words: bool) -> None:
    place = ("data", "path")
    target = followed(file.document, file.path.parent, place, given)
    if not anywhere:
        what = "word list" if of_words else "file"
        advice = f"move the {what} into one of them, or allow this with --data-anywhere"
        confine(file.document, file.path.parent, place, given, target, advice)
    if target.exists() and not target.is_file():
        expected = "a file with a word on each line" if of_words else "a file"
        problem = f"expected {expected}, got {shown_value(given)}, which is no file"
        raise file.error(place, problem)


def _check_splits(file: StudyFile, data: DataEntry) -> None:
    place, shares = ("data", "splits"), data.splits
    missing = [name for name in SPLITS if name not in shares]
    if missing:
        raise file.error(place, f"missing split '{missing[0]}'; train, dev and test are needed")
    for name in shares:
        match name:
            case "train" | "dev" | "test":
                pass
            case _:
                unknown(name)
    total = sum(Fraction(str(share)) for share in shares.values())
    if total != 1:
        raise file.error(place, f"the shares must add up to 1, got {float(total)}")


def _check_characters(file: StudyFile, data: DataEntry) -> None:
    character, times = Counter(data.vocabulary or " ").most_common(1)[0]
    if times > 1:
        raise file.error(("data", "vocabulary"), f"expected every character once, got {character!r} {times} times")
    if data.boundary in "\r\n":
        problem = f"expected a character that can stand in a line, got {data.boundary!r}"
        raise file.error(("data", "boundary"), problem)
