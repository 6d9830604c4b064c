"""A source of data is one entry: a study of digits is planned, trained, measured and shown without a word list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import pytest

from study.analysis.ledger import judge, load_results
from study.analysis.predictions import predictions
from study.data.sequences import Sequences
from study.data.source import SOURCES, SourceKind, register
from study.data.words import Words
from study.errors import SpecError
from study.execution.keys import data_facts
from study.execution.listing import plan_text
from study.report.build import report_page, stamp
from tests.support.finished import finished
from tests.support.modules import run
from tests.support.tiny import load, refusal

SKELETON = Path(__file__).parents[2] / "examples" / "extend" / "my_source.py"
DIGITS: dict[str, Any] = {
    "data": {"kind": "sums", "count": 200, "length": 2},
    "title": "A study of sums",
    "conditions.batchnorm.title": "Normed",
}


@pytest.fixture(scope="module", autouse=True)
def sums(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The skeleton of a source is imported, as a user's file is; afterwards it is unknown again."""
    before = dict(SOURCES)
    run(tmp_path_factory.mktemp("own") / "source.py", SKELETON.read_text("utf-8"))
    yield
    for name in SOURCES.keys() - before.keys():
        del SOURCES[name]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of digits, in `out`."""
    folder = tmp_path_factory.mktemp("digits")
    finished(load(folder, DIGITS), folder / "out")
    return folder


def test_a_source_is_planned_by_its_kind(tmp_path: Path) -> None:
    text = plan_text(load(tmp_path, DIGITS), 1, "autograd", "cpu", tmp_path / "cache")
    assert "data: sums, 200 sequences, 10 digits, 160 training examples" in text


def test_a_study_of_a_source_is_trained_and_its_manifest_says_of_what(study: Path) -> None:
    results = load_results(load(study, DIGITS), study / "out")
    data = results.facts["data"]
    assert set(results.tables["cells"]["status"]) == {"done"}
    assert (data["kind"], data["noun"], data["examples"]["train"]) == ("sums", "digit", 160)
    assert data["vocabulary"] == list("0123456789") and "words" not in data
    assert abs(results.loss(results.conditions[1], "train", 0).mean() - results.uniform) < 0.05  # ln 10


def test_its_page_has_the_noun_of_the_source_and_no_predictions(study: Path) -> None:
    results = load_results(load(study, DIGITS), study / "out")
    found = predictions(results, results.conditions[0])
    assert found["predicted"].isna().all()
    assert set(found["method"]) == {"no prediction: the source does not tell which digits repeat in a context"}
    page = report_page(results, judge(results), stamp(results))
    text = re.sub(r"<(style|script|svg).*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert "digit-level network" in text and "turns each of 2 digits into" in text
    assert "200 sequences over 10 digits" in text and "heavier where a digit repeats" in text
    assert "character-level" not in text and "words over" not in text


def test_the_code_of_a_source_is_in_the_key_and_that_of_word_lists_is_not(tmp_path: Path) -> None:
    digits, words = load(tmp_path, DIGITS), load(tmp_path)
    facts = data_facts(digits.data, digits.data.load(tmp_path))
    assert set(facts) == {"kind", "code of source sums", "sha256"}
    assert set(data_facts(words.data, words.data.load(tmp_path))) == {"sha256", "vocabulary", "words", "shuffle_seed"}
    assert "source sums" in digits.entries and not any(name.startswith("source") for name in words.entries)


def test_an_option_of_a_source_is_in_the_digest_and_a_text_about_it_is_not(tmp_path: Path) -> None:
    def digest(**options: Any) -> str:
        return load(tmp_path, DIGITS | {"data": {**DIGITS["data"], **options}}).digest()

    assert digest(seed=1) != digest() == digest(about="other words")


def test_the_kind_words_may_be_named(tmp_path: Path) -> None:
    assert load(tmp_path, {"data.kind": "words"}).data == load(tmp_path).data
    assert isinstance(load(tmp_path).data.load(tmp_path), Words)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"kind": "sum"}, "data.kind: no source 'sum'; did you mean 'sums'?"),
        ({"kind": 3}, "data.kind: no source 3"),
        ({"kind": "sums", "cuont": 9}, "data.cuont: unknown key 'cuont'; did you mean 'count'?"),
        ({"kind": "sums", "count": "many"}, "data.count: expected a whole number, got 'many'"),
        ({"kind": "sums", "count": 0, "length": 2}, "data: expected inputs and targets for every split, got 0"),
        ({"kind": "sums", "length": 3}, "data: an example has 3 inputs, and condition 'baseline' has a context of 2"),
        ({"kind": "sums", "length": 2, "path": "../x"}, "data.path: leads out of the study file's folder"),
    ],
)
def test_a_source_that_cannot_serve_is_refused_in_one_line(tmp_path: Path, data: dict[str, Any], problem: str) -> None:
    assert problem in refusal(tmp_path, {"data": data})


@pytest.mark.parametrize(
    ("classes", "X", "Y", "problem"),
    [
        ("ab", [[0]] * 10, [1] * 9, "got 10 and 9 of them"),
        ("ab", [[0]] * 3, [1] * 3, "for every split"),
        ("ab", [[0]] * 9 + [[0, 1]], [1] * 10, "expected 1 inputs in every example"),
        ("ab", [[2]] * 10, [1] * 10, "numbers of classes from 0 to 1"),
        ("ab", [[0]] * 10, [-1] * 10, "numbers of classes from 0 to 1"),
    ],
)
def test_sequences_that_do_not_fit_are_refused(classes: str, X: Any, Y: Any, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        Sequences(classes, X, Y)


def test_every_example_of_words_has_a_target(tmp_path: Path) -> None:
    found = load(tmp_path).data.load(tmp_path)
    assert sum(found.targets("dev")) == found.examples("dev")


@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("none", Sequences, "expected a name"),
        ("words", Sequences, "the name is taken"),
        ("new", int, "a dataclass with a method load"),
        ("new", make_dataclass("Bare", ["path"], namespace={"load": id}), "the attributes path and about"),
        ("new", make_dataclass("Odd", ["path", "about", "kind"], namespace={"load": id}), "the key kind is taken"),
    ],
)
def test_a_kind_that_cannot_serve_is_refused(name: str, source: Any, problem: str) -> None:
    with pytest.raises(SpecError, match=f"test_source.py:.*: source kind '{name}': .*{problem}"):
        register(SourceKind(name, source, noun="thing"))
