"""Turn a study file as written into the study file under one of its profiles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from study.errors import suggest
from study.spec.document import Document, Path_
from study.spec.records import FULL_PROFILE
from study.spec.schema import check_study, shown_value
from study.spec.study_file import StudyFile

OVERLAY = (
    "seeds",
    "initial_states",
    "measure",
    "model",
    "training",
    "evaluation",
    "probe",
    "groups",
    "conditions",
    "published",
    "sweeps",
    "twins",
)


def under_profile(written: StudyFile, profile: str) -> StudyFile:
    """The study file under `profile`; by default, the profile `full` is the file as written.

    Every profile of the file is checked, also those that are not used. Raises SpecError for a profile that is not
    there, and for one that cannot be laid over the file.
    """
    profiles = written.content.profiles
    if profile not in (FULL_PROFILE, *profiles):
        known = (FULL_PROFILE, *(name for name in profiles if name != FULL_PROFILE))
        raise written.error(("profiles",), f"no profile '{profile}'{suggest(profile, known)}")
    files = {name: _laid_over(written, name, patch) for name, patch in profiles.items()}
    return files.get(profile, replace(written, profile=profile))


def _laid_over(written: StudyFile, profile: str, patch: Any) -> StudyFile:
    document = overlay(written.document, profile, patch)
    return replace(written, document=document, content=check_study(document, document.value), profile=profile)


def overlay(document: Document, profile: str, patch: Any) -> Document:
    """The document with `patch`, the value of profiles.<profile>, laid over it, key by key."""
    place = ("profiles", profile)
    if patch is None:
        return document
    if not isinstance(patch, dict):
        raise document.error(place, f"expected a mapping with {', '.join(OVERLAY)}, got {shown_value(patch)}")
    for key in patch:
        if key not in OVERLAY:
            raise document.error((*place, key), f"unknown key {shown_value(key)}{suggest(str(key), OVERLAY)}")
    moved = {path[2:]: line for path, line in document.lines.items() if path[:2] == place and len(path) > 2}
    return Document(document.name, _merge(document.value, patch), {**document.lines, **moved})


def _merge(base: Any, patch: Any, above: Path_ = ()) -> Any:
    if not (isinstance(base, dict) and isinstance(patch, dict)) or _whole(patch, above):
        return patch
    return {**base, **{key: _merge(base.get(key), value, (*above, key)) for key, value in patch.items()}}


def _whole(patch: dict[Any, Any], place: Path_) -> bool:
    """Whether the mapping at a place is one value, which replaces another as a whole.

    Such are an initialiser, {std: 0.2}, a norm, {batch: {definition: torch}}, and learning rates, {0: 0.1, 9: 0.01}.
    """
    if not patch:
        return False
    of_layer = place[-1:] in [("weight",), ("bias",), ("norm",)] and place[-2:-1] in [("hidden",), ("output",)]
    embedding = place[-1:] == ("embedding",) and place[-2:-1] != ("model",)
    return of_layer or embedding or all(isinstance(key, int) for key in patch)
