"""Results go where the study file says, which leads into its folder or the working folder, unless the user says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.errors import SpecError
from study.spec.output import output_folder
from study.spec.study_file import open_study
from tests.support.tiny import HERE, load, one_line, write


def folder(path: Path, changes: dict[str, Any] | None = None, *chosen: Any) -> Path:
    """Where the results of the changed study go."""
    file = write(path, changes)
    return output_folder(open_study(file, "s.yaml").document, file, *chosen)


def refused(path: Path, out: str) -> str:
    """The one line with which the key is refused, after file, line and key."""
    with pytest.raises(SpecError) as error:
        folder(path, {"out": out})
    line = next(i for i, text in enumerate((path / "tiny.yaml").read_text().split("\n"), 1) if text.startswith("out:"))
    place, message = one_line(str(error.value)).split(": out: ")
    assert place == f"s.yaml:{line}"
    return message


@pytest.fixture
def nested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study in a folder of its own, links beside it, and a working folder elsewhere."""
    for name in ("own/results", "other", "work"):
        (tmp_path / name).mkdir(parents=True)
    for name, target in {"away": "../other", "up": "..", "circle": "circle", "here": "results"}.items():
        (tmp_path / "own" / name).symlink_to(target)
    (tmp_path / "work" / "away").symlink_to("../other")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "own"


def test_the_whole_full_profile_goes_where_the_file_says_and_all_else_to_build(tmp_path: Path) -> None:
    for said, expected in (({"out": "reports"}, tmp_path / "reports"), ({}, Path("build/tiny"))):
        assert folder(tmp_path, said) == expected
        assert folder(tmp_path, said, "full", True) == Path("build/tiny-part")
        assert folder(tmp_path, said, "quick") == Path("build/tiny-quick")
        assert folder(tmp_path, said, "quick", True) == Path("build/tiny-quick-part")


@pytest.mark.parametrize("none", ["none", None])
def test_none_is_as_good_as_no_key(tmp_path: Path, none: str | None) -> None:
    assert folder(tmp_path, {"out": none}) == Path("build/tiny")


def test_the_projects_own_study_goes_to_reports() -> None:
    home = HERE.parents[1]
    assert output_folder(open_study(home / "experiments.yaml").document, home / "experiments.yaml") == home / "reports"


def test_where_results_go_changes_no_number(tmp_path: Path) -> None:
    assert load(tmp_path, {"out": "reports"}).digest() == load(tmp_path).digest()


@pytest.mark.parametrize("out", ["results", "results/../new/deep", ".", "here", "here/new", "up/own/new"])
def test_a_folder_below_the_study_files_is_taken_however_it_is_reached(nested: Path, out: str) -> None:
    assert folder(nested, {"out": out}).resolve().is_relative_to(nested)
    assert folder(nested, {"out": str(nested / out)}) == nested / out


@pytest.mark.parametrize("out", ["../work/new", "up/work", "../other/../work/new"])
def test_a_folder_below_the_working_folder_is_taken(nested: Path, out: str) -> None:
    assert folder(nested, {"out": out}).resolve().is_relative_to(nested.parent / "work")


@pytest.mark.parametrize(
    "out", ["..", "../other", "results/../../other", "away", "away/new", "up", "up/new", "../work/away/new"]
)
def test_a_folder_anywhere_else_is_refused(nested: Path, out: str) -> None:
    for given in (out, str(nested / out)):
        message = refused(nested, given)
        assert message.startswith("leads out of the study file's folder and the working folder, got '")
        assert message.endswith("; name a folder in one of them, or choose any folder with --out")


@pytest.mark.parametrize("out", ["/", "/etc", "/dev/null/x"])
def test_an_absolute_path_is_as_good_as_where_it_leads(nested: Path, out: str) -> None:
    expected = f"leads out of the study file's folder and the working folder, got '{out}'"
    assert refused(nested, out).startswith(expected)


@pytest.mark.parametrize("out", ["circle", "circle/new", "a\x00b", "x" * 5000])
def test_a_path_that_leads_nowhere_is_refused(nested: Path, out: str) -> None:
    assert refused(nested, out).startswith("cannot be followed (")


def test_a_file_is_no_folder(nested: Path) -> None:
    expected = "expected a folder, got 'tiny.txt', which is none; name another, or choose any folder with --out"
    assert refused(nested, "tiny.txt") == expected
