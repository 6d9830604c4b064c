"""The browser tests find a Chromium or say why not: skipped on a desk, failed under CI."""

from __future__ import annotations

import pytest

from study.report import screenshot
from tests.browser.conftest import unavailable


def test_chromium_is_taken_from_the_environment_then_from_path(monkeypatch, tmp_path):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert screenshot.chromium() is None
    other = tmp_path / "google-chrome"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert screenshot.chromium() == str(other)
    monkeypatch.setenv("CHROMIUM", "/opt/chromium")
    assert screenshot.chromium() == "/opt/chromium"


@pytest.mark.parametrize(("under", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_what_is_missing_is_skipped_on_a_desk_and_fails_under_ci(monkeypatch, under, outcome):
    monkeypatch.setenv("CI", under)
    with pytest.raises(outcome, match=r"no chromium; the browser tests need `pip install"):
        unavailable("no chromium")
