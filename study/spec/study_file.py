"""Turn a study file on disk into its checked content, in which the line of every key is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.errors import SpecError
from study.spec.document import Document, Path_, load_document
from study.spec.records import FULL_PROFILE
from study.spec.schema import StudyEntry, check_study


@dataclass(frozen=True)
class StudyFile:
    """A study file under one profile. Each key is checked by itself, but not yet against other keys."""

    path: Path  # of the file; paths in it are relative to its folder
    document: Document  # the plain values of the file, and the line of every key
    content: StudyEntry
    profile: str = FULL_PROFILE

    def error(self, place: Path_, problem: str) -> SpecError:
        """The error in one line that names the file, the line and the key at `place`."""
        return self.document.error(place, problem)


def open_study(path: Path, name: str | None = None) -> StudyFile:
    """The study file at `path` as it is written. Messages call it `name`, by default its path.

    Raises SpecError for a file that cannot be read, and for a key or a value that may not stand in a study file.
    """
    document = load_document(path, name)
    return StudyFile(path, document, check_study(document, document.value))
