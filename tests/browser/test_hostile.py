"""A study whose every word is hostile, trained, rendered and its notebooks executed: shown as text, nothing runs."""

from __future__ import annotations

import pytest

from tests.browser.conftest import HOSTILE
from tests.browser.test_browser import sideways, violations

pytestmark = pytest.mark.slow

TITLES = [title for key, title in HOSTILE.items() if key != "control"]


def pages(hostile):
    """The page, and the notebook of every condition."""
    return [hostile, *sorted(hostile.parent.glob("notebooks/*.html"))]


def test_every_title_is_shown_as_it_is_written(look, hostile):
    assert len(pages(hostile)) == 1 + len(TITLES)
    texts = [look(path).evaluate("document.body.textContent") for path in pages(hostile)]
    for title in TITLES:
        assert title in texts[0]
        assert any(title in text for text in texts[1:])
    assert "[link](javascript:alert)" in look(hostile).locator(".answer").all_inner_texts()[0]


def test_nothing_runs_and_no_markup_becomes_an_element(look, hostile):
    for path in pages(hostile):
        page = look(path)
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("document.scripts.length") == 1
        assert page.evaluate("document.querySelectorAll('main img, main b, [onerror], [href^=javascript]').length") == 0


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_widens_the_page(look, hostile, width):
    for path in pages(hostile):
        wide, outside = sideways(look(path, width=width))
        assert (wide, outside if width == 375 else []) == (0, []), path.name


def test_words_that_turn_stay_within_themselves(look, hostile):
    page = look(hostile)
    turned = page.evaluate("""() => {
          const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
          const found = [];
          while (walk.nextNode()) {
            const { data, parentElement } = walk.currentNode;
            if (/[\\u0590-\\u05ff\\u202e]/.test(data) && !parentElement.closest("bdi, svg, pre")) found.push(data.slice(0, 60));
          }
          return found;
        }""")
    assert turned == []


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_violation_in_a_notebook(look, hostile, axe, dark):
    notebook = pages(hostile)[1]
    assert violations(look(notebook, width=375 if dark else 1280, dark=dark, bypass_csp=True), axe) == []


def test_a_notebook_shows_its_curve_for_the_width_at_hand(look, hostile):
    for width, shown in ((1280, ".wide"), (375, ".narrow")):
        page = look(pages(hostile)[1], width=width)
        assert page.locator("figure svg.plot:visible").count() == 1
        assert page.locator(f"figure {shown} svg.plot").is_visible()
