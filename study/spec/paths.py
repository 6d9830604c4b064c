"""Turn a path in a study file into a place on disk, and keep it inside the folders that the file may use."""

from __future__ import annotations

from pathlib import Path

from study.spec.document import Document, Path_
from study.spec.schema import shown_value


def followed(document: Document, folder: Path, place: Path_, given: str) -> Path:
    """The absolute path of `given`, the value at `place`, seen from the file's folder and with every link resolved.

    Nothing has to exist there. Raises SpecError where links form a circle, and for a text that can be no file name.
    """
    try:
        target = (folder / given).resolve()
        target.exists()  # raises where the name is too long
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL in the name; RuntimeError: a circle
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise document.error(place, f"cannot be followed ({reason:.80}), got {shown_value(given)}") from None
    return target


def confine(document: Document, folder: Path, place: Path_, given: str, target: Path, advice: str) -> None:
    """Raise SpecError, with `advice`, unless `target` lies in the study file's folder or in the working folder.

    A study file may come from anybody, so it alone must not decide which other files on this
    machine are read or overwritten.
    """
    if not any(target.is_relative_to(within.resolve()) for within in (folder, Path())):
        problem = "leads out of the study file's folder and the working folder"
        raise document.error(place, f"{problem}, got {shown_value(given)}; {advice}")
