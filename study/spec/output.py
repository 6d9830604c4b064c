"""The folder in which the results of a study file go."""

from __future__ import annotations

from pathlib import Path

from study.spec.paths import confine, followed
from study.spec.records import FULL_PROFILE
from study.spec.schema import shown_value
from study.spec.study_file import StudyFile

BUILD = Path("build")  # below the working folder


def output_folder(file: StudyFile, profile: str = FULL_PROFILE, part: bool = False) -> Path:
    """The folder in which the results of a study file go, unless the command names another.

    The whole full profile goes where the key `out` says. Without the key it goes to build/<stem of the file's name>, as
    other profiles and a part of a study do: to build/<stem>[-profile][-part], so that they overwrite no whole report.
    Raises SpecError where `out` leads out of the study file's folder and of the working folder, or to no folder.
    """
    given, full = file.content.out, profile == FULL_PROFILE
    if full and not part and given is not None:
        target = followed(file, ("out",), given)
        confine(file, ("out",), given, target, "name a folder in one of them, or choose any folder with --out")
        if target.exists() and not target.is_dir():
            problem = f"expected a folder, got {shown_value(given)}, which is none"
            raise file.error(("out",), f"{problem}; name another, or choose any folder with --out")
        return file.path.parent / given
    return BUILD / (file.path.stem + ("" if full else f"-{profile}") + ("-part" if part else ""))
