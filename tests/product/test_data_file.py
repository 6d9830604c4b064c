"""data/names.txt is the lecture's file, byte for byte, and is cut as the lecture cuts it."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from study.data.words import Words, load
from study.spec.read import read_study

HOME = Path(__file__).parents[2]
SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"  # of the file of makemore


@pytest.fixture(scope="module")
def names() -> Words:
    spec = read_study(HOME / "experiments.yaml")
    return load(spec.data, spec.folder)


def test_the_file_is_the_lectures() -> None:
    content = (HOME / "data" / "names.txt").read_bytes()
    assert len(content) == 228_145
    assert hashlib.sha256(content).hexdigest() == SHA256
    assert not content.endswith(b"\n")


def test_the_study_asks_for_that_file_and_its_readme_names_it(names: Words) -> None:
    assert names.sha256 == SHA256
    readme = (HOME / "data" / "README.md").read_text("utf-8")
    for fact in (SHA256, "32,033", "2,539"):
        assert fact in readme


def test_it_holds_32033_names_in_27_characters(names: Words) -> None:
    assert sum(map(len, names.splits.values())) == 32_033
    assert "".join(names.vocabulary.characters) == ".abcdefghijklmnopqrstuvwxyz"


def test_2539_names_stand_in_it_twice(names: Words) -> None:
    counts = Counter((HOME / "data" / "names.txt").read_text("utf-8").splitlines())
    assert set(counts.values()) == {1, 2}
    assert names.repeated == sum(n == 2 for n in counts.values()) == 2_539


def test_the_splits_have_the_lectures_numbers_of_examples(names: Words) -> None:
    assert {name: names.examples(name) for name in names.splits} == {"train": 182_625, "dev": 22_655, "test": 22_866}


def test_splits_by_row_share_names(names: Words) -> None:
    train = set(names.splits["train"])
    for split in ("dev", "test"):
        assert names.shared(split) == len([n for n in names.splits[split] if n in train]) > 0
