"""Turn a study file on disk into its checked content, in which the line of every key is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from study.errors import SpecError, unknown
from study.spec import extensions
from study.spec.document import Document, Path_, load_document
from study.spec.extensions import Extension
from study.spec.records import FULL_PROFILE
from study.spec.schema import StudyEntry, check_study, shown_value
from study.spec.stand_ins import stand_in

# Whether the extensions of a study file are loaded: where the file lies below the working folder, always, or never.
Trust = Literal["below", "always", "never"]
Told = Callable[[Document], Any]  # what a manifest says of the extensions of a study file, which its `out` may lead to


@dataclass(frozen=True)
class StudyFile:
    """A study file under one profile. Each key is checked by itself, but not yet against other keys."""

    path: Path  # of the file; paths in it are relative to its folder
    document: Document  # the plain values of the file, and the line of every key
    content: StudyEntry
    profile: str = FULL_PROFILE
    extensions: tuple[Extension, ...] = ()

    def error(self, place: Path_, problem: str) -> SpecError:
        """The error in one line that names the file, the line and the key at `place`."""
        return self.document.error(place, problem)


def open_study(path: Path, name: str | None = None, trust: Trust = "below", told: Told | None = None) -> StudyFile:
    """The study file at `path` as it is written. Messages call it `name`, by default its path.

    Its extensions are loaded if `trust` allows it. Otherwise their entries are named by what `told` finds in the
    manifest of a run, and cannot be trained. Raises SpecError for a file that cannot be read, for a key or a value that
    may not stand in a study file, for an extension that cannot be loaded, and, without `told`, for one that may not be.
    """
    document = load_document(path, name)
    files = extensions.named(document, path)
    if not files or may_load(path, trust):
        found = extensions.load(files)
    elif told is None:
        problem = f"the code in {', '.join(files)} would run, and the study file does not lie below the working folder"
        raise document.error((extensions.KEY,), f"{problem}; read the code, and allow it with --trust")
    else:
        found = stand_in(files, told(document))
    return StudyFile(path, document, check_study(document, document.value), extensions=found)


def may_load(path: Path, trust: Trust) -> bool:
    """Whether the extensions of the study file at `path` are loaded."""
    match trust:
        case "below":
            return extensions.trusted(path)
        case "always":
            return True
        case "never":
            return False
        case _:
            unknown(trust)


def not_checked(path: Path, name: str, trust: Trust) -> str:
    """What a plan says of a study file whose extensions may not be loaded; empty where they may be, or there are none.

    Raises SpecError for a file that cannot be read, and for an extension that is not there.
    """
    document = load_document(path, name)
    files = extensions.named(document, path)
    if not files or may_load(path, trust):
        return ""
    given = document.value.get("data")
    words = given.get("path") if isinstance(given, dict) else None
    return (
        f"{name}\ndata: {shown_value(words)}\nextensions, not loaded: {', '.join(files)}\n"
        "names not checked: an activation, a norm, an initialiser, a metric or a section may be an extension's, so that"
        " no cells are listed; the study file does not lie below the working folder (read the code, and allow it with"
        " --trust)"
    )
