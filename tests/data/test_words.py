"""A word list becomes a vocabulary and three shuffled parts, or one line says which word stands in the way."""

from __future__ import annotations

import hashlib
import math
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.data.source import entropy
from study.data.words import Words, load, read_words
from study.errors import SpecError
from study.spec.schema import DataEntry
from tests.support.tiny import one_line

LETTERS = [a + b for a in "abcdefghij" for b in "aeiou"]  # 50 words


def words_of(folder: Path, content: bytes | str, **data: Any) -> Words:
    (folder / "list.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return load(DataEntry(path="list.txt", **data).record(), folder)


def refusal(folder: Path, content: bytes | str, **data: Any) -> str:
    with pytest.raises(SpecError) as refused:
        words_of(folder, content, **data)
    return one_line(str(refused.value))


def all_words(found: Words) -> list[str]:
    return [word for part in found.splits.values() for word in part]


def test_words_are_shuffled_and_cut_as_the_lecture_does(tmp_path: Path) -> None:
    found = words_of(tmp_path, "\n".join(LETTERS), shuffle_seed=7)
    words = list(LETTERS)  # the lecture's own lines
    random.Random(7).shuffle(words)
    n1, n2 = int(0.8 * len(words)), int(0.9 * len(words))
    assert found.splits == {"train": words[:n1], "dev": words[n1:n2], "test": words[n2:]}


@given(st.integers(1, 97), st.integers(1, 97), st.integers(4, 300))
@settings(max_examples=60, deadline=None)
def test_splits_hold_every_word_once_in_the_shares_asked_for(
    tmp_path_factory: Any, train: int, dev: int, count: int
) -> None:
    """Shares are exact decimals: 0.7 of 10 words is 7, although 0.7 + 0.2 is less than 0.9 in floating point."""
    if train + dev >= 100:
        train, dev = train % 50 + 1, dev % 49 + 1
    shares = {"train": train / 100, "dev": dev / 100, "test": (100 - train - dev) / 100}
    folder, words = tmp_path_factory.getbasetemp(), [f"w{i}" for i in range(count)]
    sizes = [count * train // 100, count * (train + dev) // 100 - count * train // 100]
    sizes.append(count - sum(sizes))
    if 0 in sizes:
        assert " leave none for data.splits." in refusal(folder, "\n".join(words), splits=shares)
    else:
        found = words_of(folder, "\n".join(words), splits=shares)
        assert [len(part) for part in found.splits.values()] == sizes
        assert sorted(all_words(found)) == sorted(words)


def test_the_last_line_may_end_or_not_and_blank_lines_are_no_words(tmp_path: Path) -> None:
    plain = words_of(tmp_path, "\n".join(LETTERS))
    assert words_of(tmp_path, "\n".join(LETTERS) + "\n").splits == plain.splits
    assert words_of(tmp_path, "\n\n".join(LETTERS) + "\n\n\n").splits == plain.splits


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_a_byte_order_mark_and_other_line_ends_change_no_word(tmp_path: Path, end: str) -> None:
    plain = words_of(tmp_path, "\n".join(LETTERS))
    marked = words_of(tmp_path, b"\xef\xbb\xbf" + end.join(LETTERS).encode())
    assert (marked.splits, marked.vocabulary) == (plain.splits, plain.vocabulary)
    assert marked.sha256 != plain.sha256  # of the bytes as they lie there


def test_the_vocabulary_is_the_boundary_and_then_the_characters_in_code_point_order(tmp_path: Path) -> None:
    found = words_of(tmp_path, "zoë\nЖук\n語\n😀a b\n" * 10)
    assert found.vocabulary.characters == (".", *sorted(set("zoëЖук語😀a b")))
    assert len(found.vocabulary) == 12


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("emma ", "'emma ' has the blank ' ' at an end"),
        ("\temma", r"'\temma' has the blank '\t' at an end"),
        ("emma\u00a0", r"'emma\xa0' has the blank '\xa0' at an end"),
        ("   ", "'   ' is a line of blanks"),
    ],
)
def test_a_blank_that_nobody_sees_is_no_character(tmp_path: Path, line: str, problem: str) -> None:
    content = f"anna\n\n{line}\n" + "bob\n" * 10
    remedy = "remove it, or give the characters as data.vocabulary, this one among them"
    assert refusal(tmp_path, content) == f"list.txt:3: {problem}; {remedy}"
    assert refusal(tmp_path, content, vocabulary="abemno").startswith(f"list.txt:3: {problem}")
    found = words_of(tmp_path, content, vocabulary="abemno \t\u00a0")
    assert line in all_words(found)
    inside = words_of(tmp_path, "mary ann\n" * 10)
    assert " " in inside.vocabulary.characters


def test_a_given_vocabulary_keeps_its_order_and_what_no_word_uses(tmp_path: Path) -> None:
    given_ = words_of(tmp_path, "ab\n" * 10, vocabulary="cba")
    assert given_.vocabulary.characters == (".", "c", "b", "a")
    assert words_of(tmp_path, "ab\n" * 10, vocabulary="a.b").vocabulary.characters == (".", "a", "b")


def test_another_boundary_frees_the_dot(tmp_path: Path) -> None:
    assert words_of(tmp_path, "a.b\n" * 10, boundary="|").vocabulary.characters == ("|", ".", "a", "b")
    assert "contains the boundary character '.'; name another with data.boundary" in refusal(tmp_path, "a.b\n" * 10)


def test_examples_are_the_characters_of_every_word_and_its_end(tmp_path: Path) -> None:
    found = words_of(tmp_path, "\n".join(LETTERS))
    assert {name: found.examples(name) for name in found.splits} == {"train": 40 * 3, "dev": 5 * 3, "test": 5 * 3}


def test_a_list_that_is_too_large_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.touch()
    os.truncate(path, 60 * 10**9)  # a sparse file: it takes no room on the disk
    with pytest.raises(SpecError) as refused:
        read_words(path, "words.txt", None)
    problem = "larger than 100,000,000 bytes; name a shorter list, or a part of it"
    assert one_line(str(refused.value)) == f"words.txt: {problem}"


def test_entropy_is_that_of_the_next_character_alone(tmp_path: Path) -> None:
    found = words_of(tmp_path, "\n".join(LETTERS))
    counts = Counter(c for word in found.splits["train"] for c in f"{word}.")
    n = sum(counts.values())
    expected = math.log(n) - sum(k * math.log(k) for k in counts.values()) / n  # the same sum, rearranged
    assert entropy(found.targets("train")) == pytest.approx(expected, rel=1e-12)
    uniform = words_of(tmp_path, "\n".join(["a"] * 10))  # as many ends as letters
    assert entropy(uniform.targets("train")) == pytest.approx(math.log(2), rel=1e-12)


def test_repeated_words_are_counted_once_and_shared_ones_in_the_split(tmp_path: Path) -> None:
    assert words_of(tmp_path, "\n".join([*LETTERS, "aa", "aa", "be"])).repeated == 2
    same = words_of(tmp_path, "a\n" * 10)
    assert (same.repeated, same.shared("dev"), same.shared("test")) == (1, 1, 1)
    assert words_of(tmp_path, "\n".join(LETTERS)).shared("dev") == 0


def test_a_changed_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    content = "\n".join(LETTERS)
    right, wrong = hashlib.sha256(content.encode()).hexdigest(), "0" * 64
    assert words_of(tmp_path, content, sha256=right).sha256 == right
    message = refusal(tmp_path, content, sha256=wrong)
    assert right in message
    assert wrong in message


@pytest.mark.parametrize("content", [b"", b"\n\n\n", b"\xef\xbb\xbf", b"\r\n\r\n"])
def test_a_list_without_words_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refusal(tmp_path, content) == "list.txt: holds no words; expected one word per line"


def test_what_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, "anna\nzoë\n".encode("latin-1")).startswith("list.txt:2: byte 0xeb is not UTF-8")
    assert "not UTF-8" in refusal(tmp_path, "anna".encode("utf-16"))


def test_the_line_of_a_word_counts_the_blank_ones(tmp_path: Path) -> None:
    lines = "anna\n\n\nbo.b\n"
    assert refusal(tmp_path, lines).startswith("list.txt:4: 'bo.b' contains the boundary character '.'")
    outside = refusal(tmp_path, "anna\n\nbob\n", vocabulary="an")
    assert outside.startswith("list.txt:3: 'bob' has 'b', which data.vocabulary does not; add it, or leave")


@pytest.mark.parametrize(("count", "split"), [(1, "train"), (2, "dev"), (4, "dev")])
def test_a_split_left_without_words_is_refused(tmp_path: Path, count: int, split: str) -> None:
    got = f"{count} word{'s' if count > 1 else ''}"
    assert f"{got} leave none for data.splits.{split} = " in refusal(tmp_path, "\n".join(["a"] * count))


@pytest.mark.parametrize("name", ["nope.txt", "", "a\x00b", "list.txt/x"])
def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "list.txt").write_text("a\n")
    with pytest.raises(SpecError, match=r"cannot be read .*; data\.path is relative to the study file"):
        load(DataEntry.model_construct(path=name, sha256=None), tmp_path)


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_words_or_one_line_with_a_place(tmp_path_factory: Any, content: bytes) -> None:
    try:
        found = words_of(tmp_path_factory.getbasetemp(), content)
    except SpecError as error:
        one_line(str(error))
    else:
        assert set("".join(all_words(found))) == set(found.vocabulary.characters[1:])
        assert not {"\n", "\r"} & set(found.vocabulary.characters)
