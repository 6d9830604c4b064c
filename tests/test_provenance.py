"""A manifest says where tables come from, is refused when it is none, and tells what has changed since."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from study import codehash, provenance
from study.errors import SpecError
from study.provenance import MANIFEST_FORMAT, NEEDED
from study.spec.records import Spec
from tests.support.tiny import load, one_line

ROOT = Path(__file__).parents[1]


def facts(spec: Spec) -> dict[str, Any]:
    now = {
        "spec_sha256": spec.digest(),
        "document_sha256": spec.document_sha256,
        "source_sha256": codehash.source_digest(spec.entries.values()),
    }
    return {"format": MANIFEST_FORMAT, **dict.fromkeys(NEEDED), **now}


def test_a_manifest_reads_as_it_was_written_and_has_one_form(tmp_path: Path) -> None:
    written = facts(load(tmp_path))
    provenance.write_manifest(written, tmp_path)
    first = (tmp_path / "manifest.json").read_bytes()
    assert provenance.read_manifest(tmp_path) == written
    provenance.write_manifest(dict(reversed(written.items())), tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == first


def test_a_manifest_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = facts(load(tmp_path))
    provenance.write_manifest(written, tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        provenance.write_manifest({**written, "title": "another"}, tmp_path)
    assert provenance.read_manifest(tmp_path) == written


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"format": true}',
        b'{"format": "2"}',
        b'{"format": 2}',
        b"\xff",
        b"[" * 10**5,
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(SpecError, match="remake it with `study run`") as refused:
        provenance.read_manifest(tmp_path)
    one_line(str(refused.value))


@pytest.mark.parametrize(("made", "which"), [(0, "an older"), (1, "an older"), (3, "a newer")])
def test_a_manifest_of_another_version_is_refused_with_what_would_do(tmp_path: Path, made: int, which: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": made, "title": "Something"}))
    with pytest.raises(SpecError, match=f"made by {which} version of study") as refused:
        provenance.read_manifest(tmp_path)
    assert "make it again with `study run`" in one_line(str(refused.value))


def test_the_committed_report_is_read() -> None:
    """Its manifest has format 2: a later format must go on reading it, or say how."""
    assert provenance.read_manifest(ROOT / "reports")["format"] == 2


def test_where_no_tables_are_the_way_to_make_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="not there; make the tables with `study run`"):
        provenance.read_manifest(tmp_path / "nowhere")


def test_nothing_is_out_of_date_until_something_changes(tmp_path: Path) -> None:
    spec = load(tmp_path)
    assert provenance.stale(facts(spec), spec) == []
    (words,) = provenance.stale(facts(spec), load(tmp_path, {"title": "Other"}))
    assert "render it again" in words
    assert provenance.stale(facts(spec), load(tmp_path, {"title": "Other"}), page=False) == []
    (numbers,) = provenance.stale(facts(spec), load(tmp_path, {"seeds": 3}))
    assert "make it again" in numbers
    (code,) = provenance.stale({**facts(spec), "source_sha256": "0"}, spec)
    assert "source" in code


def test_versions_name_what_a_number_depends_on() -> None:
    found = provenance.versions()
    assert {"python", "study", "torch", "numpy"} <= set(found)
    assert all(found.values())
    json.dumps(found)
