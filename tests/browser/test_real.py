"""The committed report, rendered again from its tables: every section, link, table and figure in Chromium."""

from __future__ import annotations

import csv
import io
import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from study.report.screenshot import SIZE
from study.report.sections.contents import SECTIONS
from study.spec.anchors import SECTION_ORDER
from tests.browser.conftest import ROOT
from tests.browser.test_browser import background, sideways, violations

pytestmark = pytest.mark.slow

BROKEN = """() => [...document.querySelectorAll("a[href]")].map((a) => a.getAttribute("href")).filter((href) =>
  href.startsWith("#") && href.length > 1 && !document.getElementById(decodeURIComponent(href.slice(1))))"""
FILES = """[...document.querySelectorAll("a[href]")].map((a) => a.getAttribute("href")).filter((href) =>
  !/^(#|https?:|mailto:)/.test(href))"""
CUT = """[...document.querySelectorAll("main *")].filter((element) => {
  if (!element.checkVisibility() || element.closest("svg.plot > *, .said")) return false;
  const style = getComputedStyle(element);
  const clipped = style.overflowX !== "visible" && element.scrollWidth > element.clientWidth + 1;
  return clipped || element.getBoundingClientRect().right > innerWidth + 1;
}).map((element) => element.outerHTML.slice(0, 90))"""


def test_every_section_is_there_or_said_to_be_left_out(look, real):
    page = look(real)
    shown = page.locator("main > section[id]").evaluate_all("sections => sections.map((section) => section.id)")
    left = page.locator("#left-out li").all_inner_texts()
    assert [anchor for anchor in shown if anchor != "left-out"] == [a for a in SECTION_ORDER if a in shown]
    assert len(left) == len([a for a in SECTION_ORDER if a not in shown])
    assert all(any(text.startswith(SECTIONS[a].short) for text in left) for a in SECTION_ORDER if a not in shown)
    assert len(shown) > 10


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, True)])
def test_axe_finds_no_violation(look, real, axe, width, dark):
    assert violations(look(real, width=width, dark=dark, bypass_csp=True), axe) == []


def test_the_page_never_scrolls_sideways(look, real):
    page = look(real, width=375)
    assert sideways(page) == [0, []]
    page.set_viewport_size({"width": 1280, "height": 800})
    assert sideways(page)[0] == 0


def test_every_link_leads_somewhere(look, real):
    page = look(real)
    assert page.evaluate(BROKEN) == []
    files = page.evaluate(FILES)
    assert len(files) > 5
    assert [href for href in files if not (real.parent / href.partition("#")[0]).is_file()] == []
    notebook = look(real.parent / files[0])
    assert notebook.evaluate(BROKEN) == []
    back = {(real.parent / files[0]).parent / href for href in notebook.evaluate(FILES)}
    assert {path.resolve() for path in back} == {real.resolve()}


def test_colours_change_with_the_toggle_in_page_and_figures(look, real):
    page = look(real)
    ink = "getComputedStyle(document.querySelector('svg.plot .f-ink')).fill"
    before = background(page), page.evaluate(ink)
    page.get_by_role("button", name="Dark").click()
    after = background(page), page.evaluate(ink)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_every_table_sorts_by_every_column(look, real):
    page = look(real)
    assert (
        page.evaluate("""() => {
          const wrong = [];
          const value = (cell) => cell.dataset.v ?? cell.textContent.trim();
          const absent = (text) => text === "" || text === "–";
          for (const table of document.querySelectorAll(".table-box table")) {
            const rows = table.tBodies[0].rows, heads = [...table.tHead.rows[0].cells];
            if (rows.length < 2) continue;
            heads.forEach((head, column) => {
              const number = rows.length;
              head.querySelector("button.sort").click();
              const found = [...rows].map((row) => value(row.cells[column]));
              const there = found.filter((text) => !absent(text));
              const numbers = there.map(Number);
              const rising = numbers.some(Number.isNaN) || numbers.every((x, i) => i === 0 || numbers[i - 1] <= x);
              const last = found.slice(there.length).every(absent);
              if (!rising || !last || rows.length !== number || head.getAttribute("aria-sort") !== "ascending")
                wrong.push([table.caption.textContent, head.textContent]);
            });
          }
          return wrong;
        }""")
        == []
    )


def test_every_table_downloads_with_all_its_rows(look, real):
    page = look(real)
    tables = page.locator(".table-box")
    shapes = tables.evaluate_all("boxes => boxes.map((b) => [b.id, b.querySelectorAll('tbody tr').length])")
    assert len(shapes) > 20
    # each download is a round trip through the browser: the first, the last and the longest
    for ident, rows in {tuple(shape) for shape in (shapes[0], shapes[-1], max(shapes, key=lambda s: s[1]))}:
        with page.expect_download() as download:
            page.evaluate(f"document.querySelector('#{ident} .tools button').click()")
        text = Path(download.value.path()).read_bytes().decode("utf-8")
        lines = list(csv.reader(io.StringIO(text, newline="")))
        assert len(lines) == rows + 1, ident
        assert len({len(line) for line in lines}) == 1, ident


def test_every_figure_has_words_and_a_drawing_that_stands_alone(look, real):
    page = look(real)
    figures = page.locator("figure[data-file]")
    assert figures.count() >= 10
    for alt in page.evaluate(
        "[...document.querySelectorAll('svg.plot')].map((s) => s.querySelector('desc').textContent)"
    ):
        assert len(alt) > 20
    name = figures.first.get_attribute("data-file")
    with page.expect_download() as download:
        page.get_by_role("button", name=f"Download figure {name} as SVG").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"class=|var\(|<script|href=.http", text)


def test_without_javascript_everything_reads(look, real):
    page = look(real, width=375, js=False)
    assert page.locator("button").count() == 0
    for anchor in page.locator("main > section[id]").evaluate_all("sections => sections.map((section) => section.id)"):
        assert page.locator(f"#{anchor} h2").is_visible()
    hidden = """figures => figures.filter((figure) =>
      ![...figure.querySelectorAll("svg.plot")].some((svg) => svg.checkVisibility())).map((figure) => figure.id)"""
    assert page.locator("figure[data-file]").evaluate_all(hidden) == []


def test_keyboard_skips_to_the_content(look, real):
    page = look(real)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top >= 0"), "visible while it has the focus"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_nothing_is_cut_off_on_paper(look, real):
    page = look(real, width=1000)  # what Chromium lays out on A4 (897) and a little: it shrinks a wider page to fit
    page.emulate_media(media="print")
    assert page.evaluate(CUT) == []


def test_motion_is_reduced_on_request(look, real):
    page = look(real, reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    moving = """[...document.querySelectorAll("*")].filter((element) => {
      const style = getComputedStyle(element);
      return parseFloat(style.transitionDuration) > 0 || style.animationName !== "none";
    }).length"""
    assert page.evaluate(moving) == 0


def test_the_page_is_small_and_soon_interactive(look, real):
    assert real.stat().st_size < 3_000_000
    ready = "performance.getEntriesByType('navigation')[0].domInteractive"
    assert min(look(real).evaluate(ready) for _ in range(3)) < 1000, (
        "ms; the best of three, since others use the machine"
    )


def test_the_screenshot_is_small_and_the_same_twice(real, tmp_path):
    code = (
        "import sys; from pathlib import Path as P; from study.report.screenshot import take_screenshot as s; s(*map(P,"
        " sys.argv[1:]))"
    )
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for file in files:  # by itself: here playwright runs already
        done = subprocess.run([sys.executable, "-c", code, real, file], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert len(first) <= 200_000
    assert struct.unpack(">II", first[16:24]) == SIZE  # of the PNG's header
    assert first[25] == 3, "colours from a palette"
