"""A path in a study file as the place on disk that it leads to, which stays where the file may lead."""

from __future__ import annotations

from pathlib import Path

from study.spec.document import Path_
from study.spec.schema import shown_value
from study.spec.study_file import StudyFile


def followed(file: StudyFile, place: Path_, given: str) -> Path:
    """The absolute path that `given`, the value at `place`, leads to from the file's folder, every link resolved.

    Nothing need exist there. Raises SpecError where a link leads in a circle, or where the name cannot be one.
    """
    try:
        target = (file.path.parent / given).resolve()
        target.exists()  # raises where the name is too long
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL in the name; RuntimeError: a circle
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise file.error(place, f"cannot be followed ({reason:.80}), got {shown_value(given)}") from None
    return target


def confine(file: StudyFile, place: Path_, given: str, target: Path, advice: str) -> None:
    """Raise SpecError unless `target` lies in the study file's folder or in the working folder; `advice` says what to do.

    A study file may come from anybody, so it alone does not decide what else on this machine is read or overwritten.
    """
    if not any(target.is_relative_to(folder.resolve()) for folder in (file.path.parent, Path())):
        problem = "leads out of the study file's folder and the working folder"
        raise file.error(place, f"{problem}, got {shown_value(given)}; {advice}")
