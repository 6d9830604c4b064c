"""The tiny study as something to change key by key: what it becomes, or why it is refused."""

from __future__ import annotations

import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.errors import SpecError
from study.execution.plan import plan_study
from study.execution.prepare import check_batch_sizes, check_contexts
from study.spec.read import read_study
from study.spec.records import Spec

HERE = Path(__file__).parent
PLACE = re.compile(r"[^\n:]+(:\d+)?: \S")  # file:line: what; a word list that is not there has no line
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the fast one where there is one
GONE: Any = object()  # a key to leave out


@cache
def _plain() -> Any:
    return yaml.safe_load((HERE / "tiny.yaml").read_text("utf-8"))


def dump(study: Any) -> str:
    """Plain values as YAML."""
    return yaml.dump(study, Dumper=DUMPER, sort_keys=False, allow_unicode=True)


def tiny(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """tests/support/tiny.yaml as plain values, with values put at dotted places."""
    study: dict[str, Any] = deepcopy(_plain())
    for dotted, value in (changes or {}).items():
        *above, last = dotted.split(".")
        entry: Any = study
        for key in above:
            entry = entry[int(key)] if isinstance(entry, list) else entry.setdefault(key, {})
        if value is GONE:
            del entry[last]
        else:
            entry[int(last) if isinstance(entry, list) else last] = value
    return study


def write(folder: Path, changes: dict[str, Any] | None = None, word_list: bytes | None = None) -> Path:
    """folder/tiny.yaml with changes, and its word list beside it. Returns the study file."""
    (folder / "tiny.txt").write_bytes((HERE / "tiny.txt").read_bytes() if word_list is None else word_list)
    path = folder / "tiny.yaml"
    path.write_text(dump(tiny(changes)), encoding="utf-8")
    return path


def load(folder: Path, changes: dict[str, Any] | None = None, profile: str = "full") -> Spec:
    """The changed study as a Spec."""
    return read_study(write(folder, changes), profile, name="tiny.yaml")


def refusal(folder: Path, changes: dict[str, Any], profile: str = "full", word_list: bytes | None = None) -> str:
    """The one line with which a changed study, or its word list, is refused."""
    with pytest.raises(SpecError) as refused:
        prepare(write(folder, changes, word_list), profile)
    return one_line(str(refused.value))


def prepare(path: Path, profile: str = "full") -> None:
    """All that happens to a study before anything is trained."""
    spec = read_study(path, profile, name=path.name)
    found = spec.data.load(spec.folder)
    check_contexts(spec, found)
    check_batch_sizes(spec, found)
    plan_study(spec)


def one_line(message: str) -> str:
    """The message, held to what every message owes its reader: one line of a bearable length, with a place."""
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 600, message
    assert PLACE.match(message), message
    return message
