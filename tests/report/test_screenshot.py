"""`study report --screenshot` without a browser fails with one line and exit status 2, before it renders anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from study import cli
from study.errors import SpecError
from study.report import screenshot
from tests.support.tiny import one_line


def said(file: Path) -> str:
    with pytest.raises(SpecError) as refused:
        screenshot.browser(file)
    return one_line(str(refused.value))


def test_without_playwright_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(screenshot, "find_spec", lambda name: None)
    assert "`pip install playwright` would do" in said(tmp_path / "a.png")


def test_without_chromium_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(screenshot, "find_spec", lambda name: True)
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "none of chromium, " in said(tmp_path / "a.png")
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "gone"))
    assert f"$CHROMIUM is '{tmp_path / 'gone'}'" in said(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.jpg", "none/a.png"])
def test_a_file_that_cannot_be_a_picture_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setattr(screenshot, "find_spec", lambda name: True)
    monkeypatch.setattr(screenshot, "chromium", lambda: "/bin/sh")
    assert "expected a .png file in a folder that exists" in said(tmp_path / name)


def test_what_is_missing_is_said_before_the_page_is_rendered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(screenshot, "find_spec", lambda name: None)
    monkeypatch.setattr("study.report.build.build_report", lambda *_: pytest.fail("rendered first"))
    done = CliRunner().invoke(cli.app, ["report", "--screenshot", str(tmp_path / "a.png")])
    assert isinstance(done.exception, SpecError)  # which the command turns into its one line and exit 2
    assert not list(tmp_path.iterdir())
