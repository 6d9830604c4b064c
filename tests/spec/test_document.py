"""A study file is data: YAML 1.2's scalars, no tags, no duplicates, no bombs, and an error knows its line."""

from __future__ import annotations

import json
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from study.errors import SpecError
from study.spec.document import EACH, MAX_BYTES, MAX_DEPTH, MAX_SIZE, Document, load_document, parse
from tests.support.tiny import one_line


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as refused:
        parse(text, "s.yaml")
    return one_line(str(refused.value))


def refusal_of_bytes(folder: Path, content: bytes) -> str:
    path = folder / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as refused:
        load_document(path, "s.yaml")
    return one_line(str(refused.value))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-5", 1e-5),  # YAML 1.1 as PyYAML has it: text
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("off", "off"),  # False there
        ("no", "no"),
        ("1:30", "1:30"),  # 90 there
        ("010", 10),  # 8 there
        ("5/3", "5/3"),
        ("200_000", 200000),
        ("-3", -3),
        ("true", True),
        ("~", None),
        ("", None),
        ("2018-01-01", "2018-01-01"),  # a date there
        ("'0.1'", "0.1"),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("9" * 400, math.inf),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(written: str, meant: Any) -> None:
    found = parse(f"key: {written}", "s.yaml").value["key"]
    assert found == meant
    assert type(found) is type(meant)


# half a surrogate pair is no character; one beyond the first plane is written by json as two halves
characters = st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters)
)
keys = st.text(characters, max_size=20)  # YAML ends a key after 1,024 characters, escapes counted
values = st.recursive(scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=4))


@given(values.filter(lambda value: value is not None))
@settings(max_examples=60, deadline=None)
def test_whatever_is_json_reads_as_json_does(value: Any) -> None:
    text = json.dumps(value, indent=1)
    assert parse(text, "s.yaml").value == json.loads(text)


def test_an_error_points_to_the_line_of_its_key_or_of_the_nearest_one_above() -> None:
    document = parse("a:\n  b:\n  - c: 1\n    d: 2\n  - e: 3\n", "s.yaml")
    assert str(document.error(("a", "b", 0, "d"), "no")) == "s.yaml:4: a.b.0.d: no"
    assert str(document.error(("a", "b", 1, "e"), "no")) == "s.yaml:5: a.b.1.e: no"
    assert str(document.error(("a", "b", 1, "missing"), "no")) == "s.yaml:5: a.b.1.missing: no"
    assert str(document.error((), "no")) == "s.yaml:1: no"
    assert str(document.error(("a", "", " "), "no")) == "s.yaml:1: a.''.' ': no"
    assert len(one_line(str(document.error(("x" * 5000,) * 50, "no")))) < 250


@given(st.lists(st.sampled_from(["x", "long: 1", "[1, 2]", "{k: v}", "|\n  text\n  more"]), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_every_key_knows_the_line_that_it_stands_in(entries: list[str]) -> None:
    text = "".join(f"key{i}: {'' if e.startswith('long') else e}\n" for i, e in enumerate(entries))
    lines = text.split("\n")
    for (key, *_), line in ((p, n) for p, n in parse(text, "s.yaml").lines.items() if p):
        assert lines[line - 1].startswith(f"{key}:")


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    assert refusal("a:\n  b: 1\n  c: 2\n  b: 3\n") == "s.yaml:4: a.b: duplicate key 'b', first given in line 2"
    assert refusal("0: 1\n00: 2\n") == "s.yaml:2: 0: duplicate key 0, first given in line 1"


@pytest.mark.parametrize("key", ["1.5", "true", "~", "[1, 2]", "{a: b}"])
def test_a_key_is_a_name_or_a_whole_number(key: str) -> None:
    assert "s.yaml:2: a: a key must be a name or a whole number, got" in refusal(f"a:\n  {key}: 1")


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system [ls]", "!thing 1", "!!binary aGk=", "!!set {a}", "!!omap [a: 1]", "!<x> {}"],
)
def test_tags_are_refused(text: str) -> None:
    assert refusal(f"a:\n- {text}").startswith("s.yaml:2: a.0: tag")


@pytest.mark.parametrize(
    "text",
    ["a: [1", "a: b: c", "\ta: 1", "a: 'x", "a: 1\n---\nb: 2", "%NOPE\n", "a: *nowhere", "@", "a:\n  - 1\n b: 2", "*"],
)
def test_what_is_not_yaml_is_refused_with_its_line(text: str) -> None:
    assert ": not YAML: " in refusal(text)


def test_a_character_that_yaml_forbids_is_refused_with_its_line() -> None:
    assert refusal("a: 1\nb: \x00\n").startswith("s.yaml:2: not YAML: the character '\\x00'")
    assert refusal('a: 1\nb: "\\ud800"\n').startswith("s.yaml:2: b: holds half of a surrogate pair")


@pytest.mark.parametrize("text", ["", "\n\n", "# only words\n"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert "is empty" in refusal(text)


def test_a_bomb_of_aliases_is_refused_before_it_goes_off() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    assert "once its aliases are expanded" in refusal(bomb)
    text = "x" * 10_000
    assert "once its aliases are expanded" in refusal(f"a: &a {text}\nb: [{', '.join(['*a'] * 1000)}]")


def test_an_alias_of_itself_is_refused() -> None:
    assert f"nested deeper than {MAX_DEPTH} levels" in refusal("a: &a [1, *a]")
    assert f"nested deeper than {MAX_DEPTH} levels" in refusal("a: &a {b: *a}")


def test_an_alias_is_the_value_that_it_names() -> None:
    assert parse("a: &x {std: 1}\nb: *x", "s.yaml").value == {"a": {"std": 1}, "b": {"std": 1}}


@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 2000])
def test_deep_nesting_is_refused(depth: int) -> None:
    assert f"nested deeper than {MAX_DEPTH} levels" in refusal("[" * depth + "]" * depth)


MANY = MAX_SIZE // EACH
BOMBS = {
    "values in a line": "[" + "1," * (MAX_BYTES // 2 - 1) + "]",
    "keys": "".join(f"k{i}: \n" for i in range(MANY)),
    "aliases": "a: &a [1]\nb: [" + "*a," * (MAX_BYTES // 4) + "]",
    "opened brackets": "[" * MAX_BYTES,
    "opened braces": "{a: " * (MAX_BYTES // 4),
    "levels of a list": "- " * (MAX_BYTES // 2),
    "levels of a key": "? " * (MAX_BYTES // 2),
    "documents": "---\n" * (MAX_BYTES // 4),
    "directives": "%TAG !a! x\n" * (MAX_BYTES // 11),
    "a tag": "!" * MAX_BYTES,
    "a directive": "%" * MAX_BYTES,
    "blank lines": "\n" * MAX_BYTES,
}


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_megabyte_of_anything_is_refused_in_seconds(bomb: str) -> None:
    """On an idle core each takes less than 3 s; without a bound on values the first would take 20."""
    started = time.process_time()
    refusal(BOMBS[bomb])
    assert time.process_time() - started < 12


def test_as_many_values_as_a_file_may_hold_are_counted_where_they_stand() -> None:
    assert refusal("".join("-\n" for _ in range(MANY))) == (
        f"s.yaml:{MANY}: holds more than 100,000 values; a study file needs a few hundred"
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("9" * 500_000, math.inf),
        ("1e" + "9" * 500_000, math.inf),
        ("1e-" + "9" * 500_000, 0.0),
        ("9_" * 100_000, "9_" * 100_000),
        ("x" * 900_000, "x" * 900_000),
    ],
)
def test_a_scalar_of_any_length_is_read_once(written: str, meant: Any) -> None:
    started = time.process_time()
    assert parse(f"key: {written}", "s.yaml").value["key"] == meant
    assert time.process_time() - started < 5


def test_a_merge_key_is_refused_not_taken_for_a_name() -> None:
    message = "merge keys (<<) are not read; write the keys out, or inherit with `from`"
    assert refusal("a: &a {b: 1}\nc:\n  <<: *a\n  d: 2\n") == f"s.yaml:3: c: {message}"
    assert parse("'<<': 1", "s.yaml").value == {"<<": 1}


def test_a_file_of_a_megabyte_and_more_is_refused(tmp_path: Path) -> None:
    assert "larger than 1,000,000 bytes" in refusal_of_bytes(tmp_path, b"#" * (MAX_BYTES + 1))


def test_what_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    assert refusal_of_bytes(tmp_path, b"a: 1\nb: \xff\n") == "s.yaml:2: byte 0xff is not UTF-8; save the file as UTF-8"
    assert "not UTF-8" in refusal_of_bytes(tmp_path, "title: x".encode("utf-16"))
    assert refusal_of_bytes(tmp_path, b"\x7fELF\x02\x01\x01\x00\x00")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    assert re.search("is not UTF-8|may not stand in it", refusal_of_bytes(tmp_path, "title: x\n".encode(encoding)))


@pytest.mark.parametrize("code", [*range(1, 9), 11, 12, *range(14, 32), 127, 128, 0xFFFE])
def test_a_control_character_is_refused_with_its_line(code: int) -> None:
    assert refusal(f"a: 1\nb: x{chr(code)}y\n").startswith("s.yaml:2: not YAML: the character ")


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    text = "a: 1\nb:\n  c: text\n  d: [1,\n    2]\n"
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    windows, unix = load_document(tmp_path / "s.yaml"), parse(text, "s.yaml")
    assert windows.value == unix.value
    assert windows.lines == unix.lines


@pytest.mark.parametrize("name", ["nope.yaml", ".", "a\x00b"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_document(tmp_path / name)


def test_what_is_no_regular_file_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")  # to open it for reading as a file would wait for a writer for ever
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "zero.yaml", "folder.yaml"):
        with pytest.raises(SpecError) as refused:
            load_document(tmp_path / name, name)
        assert one_line(str(refused.value)).startswith(f"{name}: cannot be read (")


def test_a_file_larger_than_memory_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "s.yaml").open("wb") as file:
        file.truncate(2**40)  # a hole: it takes no room on the disk
    with pytest.raises(SpecError, match="larger than 1,000,000 bytes"):
        load_document(tmp_path / "s.yaml", "s.yaml")


def test_files_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    with pytest.raises(SpecError, match=r"a\.yaml: cannot be read"):
        load_document(tmp_path / "a.yaml", "a.yaml")


def parsed(text: str) -> Document | str:
    try:
        return parse(text, "s.yaml")
    except SpecError as error:
        return one_line(str(error))


yaml_like = st.lists(st.sampled_from([*"abc01.-:#&*!|>'\"[]{},?%@~\n \t", "\n  ", "- ", ": ", "&a ", "*a", "<<", "!!"]))


@given(st.text() | yaml_like.map("".join))
@example("? ? ?")
@example("\ufeff")
@example("a: \x85b")
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_document_or_one_line_with_a_place(text: str) -> None:
    assert parsed(text) is not None


@given(st.binary())
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_a_document_or_one_line_with_a_place(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    try:
        load_document(path, "s.yaml")
    except SpecError as error:
        one_line(str(error))
