"""The page in Chromium: both modes, two widths, with and without JavaScript; offline, by keyboard, by axe."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ALL = ["report.html", "hostile.html", "many.html", "one.html", "notebooks/kaiming.html"]
PAPER = {False: "rgb(253, 253, 251)", True: "rgb(21, 23, 26)"}


def background(page):
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def until(page, condition):
    """Wait for an expression to hold (the page's policy forbids the eval that wait_for_function needs)."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never held: {condition}")


def sideways(page):
    """How far the page itself scrolls sideways, and what sticks out of it without a scrolling box around."""
    return page.evaluate("""() => {
          const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
          const outside = [...document.querySelectorAll("main *, header *, footer *")].filter((element) =>
            element.getBoundingClientRect().right > innerWidth + 1 && element.checkVisibility()
            && !element.closest(".scroll, svg"));
          return [wide, outside.map((element) => element.outerHTML.slice(0, 80))];
        }""")


def violations(page, axe):
    """What axe-core finds wrong with a page, everything unfolded; of a long table the first rows stand for the others."""
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true })")
    page.evaluate("document.querySelectorAll('tbody tr:nth-child(n+4)').forEach((row) => row.remove())")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [(v["id"], v["nodes"][0]["html"][:200], v["nodes"][0]["failureSummary"]) for v in found["violations"]]


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        ("report.html", 1280, False),
        ("report.html", 375, True),
        ("hostile.html", 1280, True),
        ("notebooks/kaiming.html", 1280, False),
        ("notebooks/kaiming.html", 375, True),
    ],
)
def test_axe_finds_no_violation(visit, axe, name, width, dark):
    assert violations(visit(name, width=width, dark=dark, bypass_csp=True), axe) == []


@pytest.mark.parametrize("name", ALL)
def test_the_page_never_scrolls_sideways(visit, name):
    page = visit(name, width=375)
    assert sideways(page) == [0, []]
    page.set_viewport_size({"width": 1280, "height": 800})
    assert sideways(page)[0] == 0
    page.set_viewport_size({"width": 800, "height": 800})
    assert sideways(page)[0] == 0


def test_the_first_column_stays_when_a_table_scrolls_sideways(visit):
    places = """() => [...document.querySelectorAll(".table-box .scroll")].filter((b) => b.scrollWidth > b.clientWidth + 50).map((box) => {
      box.scrollLeft = 50;
      const [first, second] = box.querySelector("tbody tr").cells;
      const [a, b, c] = [box, first, second].map((x) => x.getBoundingClientRect());
      const covers = getComputedStyle(first).backgroundColor === getComputedStyle(document.documentElement).backgroundColor;
      return [Math.round(b.left - a.left), c.left < b.right, covers];
    })"""
    for dark in (False, True):
        page = visit("report.html", width=375, dark=dark)
        for details in page.locator("main details").all():
            details.evaluate("d => { d.open = true; }")
        found = page.evaluate(places)
        assert found
        assert found == [[0, True, True]] * len(found)
    page.emulate_media(media="print")
    cell = page.locator(".scroll tbody tr > :first-child").first
    assert cell.evaluate("c => getComputedStyle(c).position") == "static"


@pytest.mark.parametrize("name", ["hostile.html", "notebooks/kaiming.html"])
def test_hostile_words_run_nothing(visit, name):
    page = visit(name)
    assert page.evaluate("window.hacked") is None
    assert "right to left" in page.content() or name != "hostile.html"


def test_system_theme_and_toggle(visit):
    for dark in (False, True):
        page = visit("report.html", dark=dark)
        assert background(page) == PAPER[dark]
        ink = page.evaluate("getComputedStyle(document.querySelector('.plot .f-ink')).fill")
        assert (ink == "rgb(28, 29, 32)") is not dark
        page.get_by_role("button", name="Light" if dark else "Dark").click()
        assert background(page) == PAPER[not dark]
        page.reload()
        assert background(page) == PAPER[not dark], "the choice is remembered"
        assert page.get_by_role("button", name="Light" if dark else "Dark").get_attribute("aria-pressed") == "true"
        page.get_by_role("button", name="Auto").click()
        assert background(page) == PAPER[dark]


def test_without_javascript_everything_reads(visit):
    for dark in (False, True):
        page = visit("report.html", width=375, dark=dark, js=False)
        shown = page.locator("body").inner_text()
        assert "profile: quick" in shown
        assert "Why is the first loss wrong?" in shown
        assert "26.710" in shown
        assert page.locator("button").count() == 0
        page.locator("summary", has_text="Contents").click()
        page.locator(".pocket a", has_text="Training").click()
        assert page.url.endswith("#training")
        page.locator("#training summary", has_text="numbers behind").click()
        assert page.locator("#training-curves-data table").is_visible()
        assert page.locator("#training-curves .narrow svg").is_visible()


def test_phone_text_in_figures_is_at_least_ten_pixels(visit):
    page = visit("report.html", width=375)
    heights = page.evaluate(
        """() => [...document.querySelectorAll("svg.plot text")].filter((t) => t.checkVisibility()).map((text) => {
          const { a, b } = text.getScreenCTM();
          return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b);
        })"""
    )
    assert len(heights) > 50
    assert min(heights) >= 10


def test_figure_text_stays_inside_its_figure(visit):
    page = visit("report.html")
    out = page.evaluate("""() => [...document.querySelectorAll("svg.plot text")].filter((text) => {
          if (!text.checkVisibility()) return false;
          const [a, b] = [text.getBoundingClientRect(), text.closest("svg").getBoundingClientRect()];
          return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
        }).map((text) => text.textContent)""")
    assert out == []


def test_tables_sort_by_value_and_keep_what_is_missing_last(visit):
    page = visit("report.html")
    table = page.locator("#ladder-table-1 table")
    head = table.locator("thead th").nth(2)

    def column(i):
        return table.locator(f"tbody tr > :nth-child({i})").evaluate_all("cells => cells.map((cell) => cell.dataset.v)")

    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(3) == sorted(column(3), key=float)
    assert column(1)[0] == "batchnorm-calibrated"
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert column(3) == sorted(column(3), key=float, reverse=True)
    change = table.locator("thead th").nth(1)
    for _ in range(2):
        change.get_by_role("button").click()
        assert table.locator("tbody tr").last.locator("td").first.inner_text() == "–"
    assert head.get_attribute("aria-sort") is None


def test_csv_holds_raw_values_and_intervals(visit):
    page = visit("report.html")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV: The ladder").click()
    assert download.value.suggested_filename == "ladder-table-1.csv"
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_bytes().decode("utf-8"), newline="")))
    assert rows[0]["condition"] == "baseline"
    assert rows[0]["change"] == ""
    assert rows[0]["logits"] == "61.6"
    assert [rows[0][f"initial{end}"] for end in ("", "_low", "_high", "_n")] == ["26.71", "26.3", "27.1", "4"]
    page = visit("hostile.html")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV: Every claim").click()
    rows = list(csv.reader(io.StringIO(Path(download.value.path()).read_bytes().decode("utf-8"), newline="")))
    assert [len(row) for row in rows] == [3] * 4
    assert "new line" in rows[2][0]


@pytest.mark.parametrize("dark", [False, True])
def test_a_downloaded_figure_stands_alone_in_light_colours(visit, dark):
    page = visit("report.html", dark=dark)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download figure first-loss-strip as SVG").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("width") == "680"
    assert "class=" not in text
    assert "var(" not in text
    assert "#1d59d6" in text
    assert "Fixed output layer" in text


def test_deep_links_lead_to_their_section_and_unfold_it(visit):
    page = visit("report.html#training")
    until(page, "Math.abs(document.querySelector('#training').getBoundingClientRect().top - 70) < 80")
    page = visit("report.html#h-spread-data")
    assert page.locator("#h-spread-data table").is_visible()
    page.locator("nav.side a", has_text="Glossary").click()
    until(page, "document.querySelector('nav.side [aria-current]')?.textContent === 'Glossary'")
    assert page.url.endswith("#glossary")


def test_phone_navigation_folds(visit):
    page = visit("report.html", width=375)
    assert page.locator("nav.side").is_hidden()
    assert page.locator(".pocket ol").is_hidden()
    page.locator("summary", has_text="Contents").press("Enter")
    assert page.locator(".pocket ol").is_visible()
    page.keyboard.press("Escape")
    assert page.locator(".pocket ol").is_hidden()


def test_keyboard_reaches_the_content_and_what_scrolls(visit):
    page = visit("report.html", width=375)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    until(page, "document.querySelector('#ladder-table-1 .scroll').tabIndex === 0")
    page.locator("#ladder-table-1 .scroll").focus()
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('#ladder-table-1 .scroll').scrollLeft > 0")


def test_printing_is_light_without_controls_and_with_how_it_was_made(visit):
    page = visit("report.html", dark=True)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("nav.side").is_hidden()
    assert page.locator(".tool").first.is_hidden()
    assert page.locator(".stamp").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 29, 32)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#first-loss .made dl").is_visible()


def test_reduced_motion_is_respected(visit):
    motion = "getComputedStyle(document.documentElement).scrollBehavior"
    assert visit("report.html", reduced_motion="reduce").evaluate(motion) == "auto"
    assert visit("report.html", reduced_motion="no-preference").evaluate(motion) == "smooth"


def test_the_page_is_small_and_soon_interactive(visit, pages):
    assert (pages / "many.html").stat().st_size < 3_000_000
    ready = "performance.getEntriesByType('navigation')[0].domInteractive"
    assert min(visit("many.html").evaluate(ready) for _ in range(3)) < 1000, (
        "ms; the best of three, since others use the machine"
    )
