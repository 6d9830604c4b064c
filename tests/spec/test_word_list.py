"""A word list lies in the study file's folder or in the working folder, unless the user lets it lie anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from study.errors import SpecError
from study.spec.read import read_study
from tests.support.tiny import HERE, load, one_line, prepare, refusal, write


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A study in a folder of its own, below one with a word list that is not its business."""
    (tmp_path / "secret.txt").write_bytes((HERE / "tiny.txt").read_bytes())
    (tmp_path / "own" / "lists").mkdir(parents=True)
    (tmp_path / "own" / "lists" / "list.txt").write_bytes((HERE / "tiny.txt").read_bytes())
    (tmp_path / "own" / "out.txt").symlink_to("../secret.txt")
    (tmp_path / "own" / "up").symlink_to("..")
    (tmp_path / "own" / "in.txt").symlink_to("lists/list.txt")
    (tmp_path / "own" / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "own" / "pipe")
    return tmp_path / "own"


OUTSIDE = ["../secret.txt", "lists/../../secret.txt", "out.txt", "up/secret.txt", "../nowhere.txt", "/dev/null/x", ".."]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_word_list_outside_the_folder_is_refused(nested: Path, path: str) -> None:
    file = write(nested, {"data.path": path})
    line = next(i for i, text in enumerate(file.read_text().split("\n"), 1) if "path:" in text)
    with pytest.raises(SpecError) as refused:
        read_study(file, name="s.yaml")
    problem = f"leads out of the study file's folder and the working folder, got '{path}'"
    advice = "move the word list into one of them, or allow this with --data-anywhere"
    assert one_line(str(refused.value)) == f"s.yaml:{line}: data.path: {problem}; {advice}"


@pytest.mark.parametrize("path", ["../secret.txt", "lists/../../secret.txt", "out.txt", "up/secret.txt"])
def test_a_word_list_in_the_working_folder_is_read(nested: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(nested, {"data.path": path})
    monkeypatch.chdir(nested.parent)
    prepare(file)
    write(nested, {"data.path": str(nested.parent / "secret.txt")})
    prepare(file)


def test_a_link_leads_out_of_the_working_folder_too(nested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (working := nested.parent / "work").mkdir()
    (working / "link.txt").symlink_to("../secret.txt")
    monkeypatch.chdir(working)
    assert "leads out of" in refusal(nested, {"data.path": "../work/link.txt"})


@pytest.mark.parametrize("path", ["../secret.txt", "out.txt", "up/secret.txt"])
def test_a_word_list_outside_the_folder_is_read_when_that_is_allowed(nested: Path, path: str) -> None:
    spec = read_study(write(nested, {"data.path": path}), anywhere=True)
    assert spec.data.load(spec.folder) == load(nested).data.load(nested)


def test_an_absolute_path_is_as_good_as_where_it_leads(nested: Path) -> None:
    outside, inside = nested.parent / "secret.txt", nested / "lists" / "list.txt"
    assert "leads out of the study file's folder and the working folder" in refusal(nested, {"data.path": str(outside)})
    assert read_study(write(nested, {"data.path": str(outside)}), anywhere=True)
    assert load(nested, {"data.path": str(inside)})


@pytest.mark.parametrize("path", ["tiny.txt", "lists/list.txt", "lists/../tiny.txt", "in.txt", "up/own/tiny.txt"])
def test_a_word_list_in_the_folder_is_read_however_it_is_reached(nested: Path, path: str) -> None:
    prepare(write(nested, {"data.path": path}))


def test_the_folder_is_that_in_which_the_study_file_is_found(nested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(nested)
    (nested.parent / "linked").symlink_to("own")
    (nested.parent / "tiny.yaml").symlink_to("own/tiny.yaml")
    prepare(nested.parent / "linked" / "tiny.yaml")
    with pytest.raises(SpecError, match=r"tiny\.txt: cannot be read"):  # beside the link there is none
        prepare(nested.parent / "tiny.yaml")
    monkeypatch.chdir(nested)
    prepare(Path("tiny.yaml"))


@pytest.mark.parametrize("anywhere", [False, True])
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("pipe", "expected a file"),
        ("lists", "expected a file"),
        (".", "expected a file"),
        ("circle", "cannot be followed"),
        ("a\x00b", "cannot be followed"),
        ("x" * 5000, "cannot be followed"),
    ],
)
def test_what_is_no_file_is_refused_unread(nested: Path, path: str, problem: str, anywhere: bool) -> None:
    with pytest.raises(SpecError, match=rf"s\.yaml:\d+: data\.path: {problem}"):
        read_study(write(nested, {"data.path": path}), name="s.yaml", anywhere=anywhere)
