"""The field that narrows down the section with all measurements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.report.html.page import render_page
from study.report.sections.contents import SECTIONS
from tests.browser.test_browser import sideways, violations
from tests.support.synthetic import UNJUDGED, results, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with the section alone, of a made-up study."""
    section = SECTIONS["all-measurements"].make(results(tiny()), UNJUDGED)
    assert section is not None
    path = tmp_path_factory.mktemp("filter") / "page.html"
    path.write_text(render_page(title="t", stamp="s", lead="l", sections=[section]), encoding="utf-8")
    return path


def shown(page: Any) -> list[str]:
    """The names of the tables that are not hidden."""
    return [code.inner_text() for code in page.locator("details.data > summary code").all() if code.is_visible()]


def lines(page: Any, metric: str) -> list[tuple[str, str]]:
    """Condition and part of every line of a table that is not hidden."""
    rows = page.locator(f"details.data:has(summary code:text-is('{metric}')) tbody tr:not([hidden])")
    return [(row.locator("> *").nth(0).inner_text(), row.locator("> *").nth(1).inner_text()) for row in rows.all()]


def test_words_narrow_down_metrics_conditions_and_parts(look: Callable[..., Any], file: Path) -> None:
    page = look(file)
    everything = shown(page)
    field = page.get_by_label("Filter by")
    field.fill("pre-activation STD")
    assert shown(page) == ["preact_std"]
    field.fill("std baseline")
    assert {"preact_std", "h_std", "grad_std", "logit_std"} <= set(shown(page)) < set(everything)
    page.locator("details.data:has(summary code:text-is('grad_std')) > summary").click()
    assert lines(page, "grad_std") == [("Baseline", "C"), ("Baseline", "W1"), ("Baseline", "W2")]
    field.fill("grad_std w2 output")
    assert lines(page, "grad_std") == [("Fixed output layer", "W2")]
    assert page.locator(".shown").inner_text() == f"1 of {len(everything)} measurements, 1 line"
    field.fill("no such thing")
    assert shown(page) == []
    assert page.locator(".shown").inner_text() == "Nothing matches all of these words."
    field.fill("")
    assert shown(page) == everything
    assert len(lines(page, "grad_std")) == 15


def test_the_field_is_reached_and_cleared_by_keyboard(look: Callable[..., Any], file: Path) -> None:
    page = look(file)
    field = page.get_by_label("Filter by")
    page.locator("#main").focus()
    for _ in range(10):
        page.keyboard.press("Tab")
        if field.evaluate("f => f === document.activeElement"):
            break
    page.keyboard.type("entropy")
    assert shown(page) == ["entropy"]
    page.keyboard.press("Escape")
    assert len(shown(page)) > 10


def test_without_script_there_is_no_field_and_every_table_opens(look: Callable[..., Any], file: Path) -> None:
    page = look(file, js=False)
    assert page.locator("input").count() == 0
    page.locator("details.data > summary").nth(3).click()
    assert page.locator("details.data").nth(3).locator("tbody tr").first.is_visible()


@pytest.mark.parametrize(("width", "dark"), [(375, True), (375, False), (1280, True), (1280, False)])
def test_axe_finds_no_violation_and_nothing_sticks_out(
    look: Callable[..., Any], axe: str, file: Path, width: int, dark: bool
) -> None:
    page = look(file, width=width, dark=dark, bypass_csp=True)
    page.get_by_label("Filter by").fill("std")
    page.locator("details.data:not([hidden]) > summary").first.click()
    assert sideways(page) == [0, []]
    assert violations(page, axe) == []
