"""Turn a path in a study file into a place on disk, and keep it inside the folders that the file may use."""

from __future__ import annotations

from pathlib import Path

from study.spec.document import Path_
from study.spec.schema import shown_value
from study.spec.study_file import StudyFile


def followed(file: StudyFile, place: Path_, given: str) -> Path:
    """The absolute path of `given`, the value at `place`, seen from the file's folder and with every link resolved.

    Nothing has to exist there. Raises SpecError where links form a circle, and for a text that can be no file name.
    """
    try:
        target = (file.path.parent / given).resolve()
        target.exists()  # raises where the name is too long
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL in the name; RuntimeError: a circle
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise file.error(place, f"cannot be followed ({reason:.80}), got {shown_value(given)}") from None
    return target


def confine(file: StudyFile, place: Path_, given: str, target: Path, advice: str) -> None:
    """Raise SpecError, with `advice`, unless `target` lies in the study file's folder.

    A study file may come from anybody, so it alone must not decide which other files on this
    machine are read or overwritten.
    """
    if not target.is_relative_to(file.path.parent.resolve()):
        raise file.error(place, f"leads out of the study file's folder, got {shown_value(given)}; {advice}")
