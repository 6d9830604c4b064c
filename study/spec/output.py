"""The folder in which the results of a study file go."""

from __future__ import annotations

from pathlib import Path

from study.spec.document import Document
from study.spec.paths import confine, followed
from study.spec.records import FULL_PROFILE
from study.spec.schema import shown_value

BUILD = Path("build")  # below the working folder


def output_folder(document: Document, file: Path, profile: str = FULL_PROFILE, part: bool = False) -> Path:
    """The folder in which the results of the study in `file` go, unless the command names another.

    The whole full profile goes where the key `out` says. Without the key it goes to build/<stem of the file's name>, as
    other profiles and a part of a study do: to build/<stem>[-profile][-part], so that they overwrite no whole report.
    Raises SpecError where `out` leads out of the study file's folder and of the working folder, or to no folder.
    """
    given = document.value.get("out") if isinstance(document.value, dict) else None
    full = profile == FULL_PROFILE
    if full and not part and isinstance(given, str) and given not in ("", "none"):  # any other value is no folder
        target = followed(document, file.parent, ("out",), given)
        advice = "name a folder in one of them, or choose any folder with --out"
        confine(document, file.parent, ("out",), given, target, advice)
        if target.exists() and not target.is_dir():
            problem = f"expected a folder, got {shown_value(given)}, which is none"
            raise document.error(("out",), f"{problem}; name another, or choose any folder with --out")
        return file.parent / given
    return BUILD / (file.stem + ("" if full else f"-{profile}") + ("-part" if part else ""))
