"""A study file of any damage is a Spec or one line with a place: the small version of robustness/fuzz.py."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.errors import SpecError
from tests.robustness import fuzz


def test_two_hundred_documents_end_in_specs_and_refusals_only() -> None:
    shown: list[str] = []
    counts = fuzz.run(200, 1, lambda number, message: shown.append(f"{number}: {message}"))
    assert shown == []
    assert counts["spec"] + counts["refusal"] == 200
    assert counts["spec"] > 5  # else nothing came as far as the words
    assert counts["refusal"] > 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("fuzz")
    (found / "tiny.txt").write_bytes((fuzz.HOME / "tests" / "support" / "tiny.txt").read_bytes())
    return found


@given(st.randoms(use_true_random=False), st.sampled_from([fuzz.damaged, fuzz.changed, fuzz.bent]))
@settings(max_examples=60, deadline=None)
def test_a_changed_study_is_a_spec_or_one_line_with_a_place(
    folder: Path, draw: random.Random, make: fuzz.Maker
) -> None:
    kind, message = fuzz.outcome(make(draw), folder)
    assert kind != "traceback", message


def test_a_document_is_that_of_its_seed_and_number() -> None:
    first = [fuzz.document(3, number) for number in range(40)]
    assert first == [fuzz.document(3, number) for number in range(40)]
    assert len({*first, *(fuzz.document(4, number) for number in range(40))}) > 70


def test_an_untouched_study_is_a_spec(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "names.txt").write_bytes((folder / "tiny.txt").read_bytes())
    for path in fuzz.STUDIES:
        assert fuzz.outcome(fuzz.source(path).encode(), folder) == ("spec", "")


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError(), SpecError("no place"), SpecError("s.yaml:1: " + "x" * 1000)]
)
def test_another_exception_or_a_message_without_a_place_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(fuzz, "read_study", broken)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--documents", "3", "--seed", "5"])
    assert fuzz.main() == 1
    out = capsys.readouterr().out
    assert "document 2: " in out
    assert "documents: 3, specs: 0, refusals: 0, tracebacks: 3 (seed 5, " in out
