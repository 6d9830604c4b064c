"""The page and report.json of a made-up study, held to stored text: tables and fragments, never pixels.

To accept a change: `python -m tests.report.test_build`, then read the difference.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from study.analysis import export
from study.analysis.ledger import judge
from study.analysis.results import Results
from study.report import build as report
from study.report.figures.look import FONT_POINTS
from study.report.notebook.names import page_link
from tests.support.synthetic import results, tiny

STORED = Path(__file__).parent / "snapshots"
MOST = 3_000_000  # bytes of a page


class Tables(HTMLParser):
    """Every table as lines of text: its id, its caption, and one line per row with the cells' text and data."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.cell: list[str] | None = None
        self.row: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "div" and "table-box" in (known.get("class") or ""):
            self.lines.append(f"\n## {known['id']}")
        elif tag in ("th", "td", "caption"):
            raw = " ".join(
                f"{key[5:]}={known[key]}" for key in ("data-v", "data-l", "data-h", "data-n") if key in known
            )
            self.cell = [f"[{raw}] " if raw else ""]
        elif tag == "tr":
            self.row = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td") and self.cell is not None:
            self.row.append("".join(self.cell).strip())
            self.cell = None
        elif tag == "caption" and self.cell is not None:
            self.lines.append("".join(self.cell).strip())
            self.cell = None
        elif tag == "tr":
            self.lines.append(" | ".join(self.row))

    def handle_data(self, data: str) -> None:
        if self.cell is not None:
            self.cell.append(data)


def tables(html: str) -> str:
    """All tables of a page, a dozen lines of each."""
    reader = Tables()
    reader.feed(html)
    blocks = re.split(r"(?=\n## )", "\n".join(reader.lines))
    return "".join("\n".join(block.splitlines()[:13]) + "\n" for block in blocks if block.strip()).lstrip()


def frame(html: str) -> str:
    """HTML without drawings, tables and long texts, one tag per line: what a reader moves through."""
    body = re.sub(r"<svg.*?</svg>", "<svg/>", html, flags=re.S)
    body = re.sub(r"<table>.*?</table>", "<table/>", body, flags=re.S)
    body = re.sub(r"<pre>.*?</pre>", "<pre/>", body, flags=re.S)
    lines = re.sub(r"(<(?!/?(?:a|code|strong|bdi|span|em|small)\b)[^>]+>)", r"\n\1\n", body).splitlines()
    return "\n".join(line.strip() for line in lines if line.strip()) + "\n"


def made() -> tuple[str, str, Results]:
    found = results(tiny())
    ledger = judge(found)
    page = report.report_page(found, ledger, "a made-up study")
    return page, export.record_text(export.report_record(found, ledger)), found


@pytest.fixture(scope="module")
def page() -> tuple[str, str, Results]:
    return made()


def part(html: str, *anchors: str) -> str:
    """Some sections of a page."""
    return "".join(re.search(rf'<section id="{anchor}".*?</section>', html, re.S)[0] for anchor in anchors)


def snapshots(html: str, data: str) -> dict[str, str]:
    """What is stored: tables of some sections, the frame around them with one of them, the summary to nine digits."""
    main = html.index("<section"), html.rindex("</section>")
    outside = html[html.index("<body") : main[0]] + part(html, "final-losses") + html[main[1] + len("</section>") :]
    summary = json.loads(data, parse_float=lambda digits: round(float(digits), 9))["summary"]
    return {
        "tables.txt": tables(part(html, "ladder", "saturation", "gradients", "growth", "final-losses")),
        "frame.txt": frame(outside),
        "summary.json": json.dumps(summary, indent=1, ensure_ascii=False) + "\n",
    }


@pytest.mark.parametrize("name", ["tables.txt", "frame.txt", "summary.json"])
def test_the_page_is_as_stored(page, name):
    stored, found = (STORED / name).read_text("utf-8"), snapshots(page[0], page[1])[name]
    lines = difflib.unified_diff(stored.splitlines(), found.splitlines(), "stored", "made", lineterm="", n=1)
    difference = "\n".join([line[:200] for line in lines][:40])
    assert not difference, f"{name} changed:\n{difference}\nto accept it: python -m tests.report.test_build"


@pytest.mark.slow
def test_the_same_tables_give_the_same_bytes(page):
    html, data, _ = page
    again, data_again, _ = made()
    assert html == again
    assert data == data_again


def test_the_page_asks_for_nothing_from_anywhere(page):
    html = page[0]
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1])
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'"
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)
    assert "style=" not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", html, flags=re.S)
    links = set(re.findall(r'(?:href|src|srcset|action|poster|data)="([^"#][^"]*)"', html))
    remote = {link for link in links if re.match(r"[a-z]+:|//", link) and not link.startswith("data:image/")}
    assert not remote
    assert not re.search(r"@import|url\((?!#)", html)


def test_what_the_page_links_to_is_written_beside_it(page):
    html, _, found = page
    links = {link for link in re.findall(r'href="([^"#:]+)"', html)}
    notebooks = {page_link(c.name) for c in found.conditions}
    assert {"report.json", "manifest.json"} <= links
    assert links <= {"report.json", "manifest.json", *notebooks}


def test_every_figure_has_words_and_numbers_behind_it(page):
    html = page[0]
    figures = re.findall(r"<figure .*?</figure>", html, re.S)
    assert len(figures) >= 15
    for figure in figures:
        alts = re.findall(r"<desc [^>]*>([^<]+)</desc>", figure)
        assert len(alts) == 2, figure[:80]
        assert len(alts[0]) > 20, alts[0]
        assert "The numbers behind this figure" in figure
        assert len(re.search(r"<figcaption>(.*?)</figcaption>", figure, re.S)[1]) > 20


@pytest.fixture(scope="module")
def committed() -> str:
    """The page of the full study."""
    return (Path(__file__).parents[2] / "reports" / "index.html").read_text("utf-8")


def strokes(element: ET.Element, above: str = "") -> Iterator[str]:
    """Path data of what is drawn as a line: neither filled nor, as bands and markers are, defined to be used."""
    classes = f"{above} {element.get('class', '')}"
    if element.tag == "path" and not re.search(r"\bf-", classes):
        yield element.get("d", "")
    for child in element:
        yield from strokes(child, classes) if child.tag != "defs" else ()


def test_a_line_of_the_full_report_has_no_more_than_150_points(committed):
    drawings = re.findall(r'<svg [^>]*class="plot".*?</svg>', committed, re.S)
    points = [d.count("l") + 1 for drawing in drawings for d in strokes(ET.fromstring(drawing))]
    assert len(points) > 300
    assert 50 < max(points) <= FONT_POINTS


def test_the_full_report_stays_within_three_megabytes(committed):
    assert len(committed.encode()) <= MOST


if __name__ == "__main__":  # store the page as it is now
    STORED.mkdir(exist_ok=True)
    html_, data_, _ = made()
    for name_, text in snapshots(html_, data_).items():
        (STORED / name_).write_text(text, "utf-8")
        sys.stdout.write(f"{STORED / name_}\n")
