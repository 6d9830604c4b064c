"""The page as text: one file, strict policy, escaped words, refused omissions."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from study.report.html import page
from study.report.html.page import (
    Figure,
    Interval,
    Made,
    Section,
    Table,
    TableCell,
    TableColumn,
    Term,
    inline,
    literal,
    number,
)

SVG = '<svg class="plot" role="img" aria-labelledby="{0}-desc" id="{0}"><desc id="{0}-desc">alt</desc></svg>'
LOOK = SimpleNamespace(slot=3, marker="D", shape="M0 0Z", dash="6 2")
TABLE = Table(
    "What was found",
    [TableColumn("name", "Name"), TableColumn("loss", "Loss", "nats", ".4f")],
    [("a", 2.5), ("b", None)],
)


def drawing(name: str = "fig", alt: str = "alt", narrow: bool = True):
    return SimpleNamespace(
        name=name, alt=alt, wide=SVG.format(f"{name}-w"), narrow=SVG.format(f"{name}-n") if narrow else ""
    )


def section(**changes) -> Section:
    start = Section(
        "first-loss",
        "Why?",
        ["Because."],
        "First loss",
        figures=[Figure(drawing(), "See.", TABLE)],
        tables=[TABLE],
        made=Made("By a run.", [("command", "study run"), ("config", "a:\n  b: 1")]),
        terms=[Term("gain", "a factor", "5/3")],
    )
    return replace(start, **changes)


def html(**changes) -> str:
    given = {
        "title": "T",
        "stamp": "profile: quick",
        "lead": "Lead.",
        "sections": [section()],
        "left_out": {"sweep": "sweep: none"},
    }
    return page.render_page(**given | changes)


class Reader(HTMLParser):
    """Tags with attributes, and the text of the body."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def test_the_same_input_gives_the_same_bytes():
    assert html() == html()


def test_policy_allows_exactly_the_inlined_blocks():
    text = html()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (block,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_nothing_is_inline_styled_and_nothing_is_loaded():
    for _tag, attributes in Reader(html()).tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert not (attributes.get("src") or "").startswith(("http", "//"))
        if _tag in ("link", "image", "use", "iframe", "object"):
            assert (attributes.get("href") or "").startswith(("data:", "#"))
    assert "@import" not in html()
    assert not re.search(r"url\((?!#)", html())


def test_ids_are_unique_and_links_have_targets():
    reader = Reader(html())
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in reader.tags:
        if tag == "a" and (attributes["href"] or "").startswith("#"):
            assert attributes["href"][1:] in ids
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids


def test_headings_landmarks_and_stamp():
    reader = Reader(html())
    tags = [tag for tag, _ in reader.tags]
    assert [tag for tag in tags if re.fullmatch("h[1-6]", tag)] == ["h1", "h2", "h2"]
    assert tags.count("main") == tags.count("header") == 1
    assert tags.count("nav") == 2
    assert "profile: quick" in html()
    assert '@top-left { content: "profile\\3a  quick"' in html()


def test_figure_without_alt_text_or_data_is_refused():
    with pytest.raises(ValueError, match="alt text is empty"):
        Figure(drawing(alt=" "), "c", TABLE)
    with pytest.raises(ValueError, match="no data table"):
        Figure(drawing(), "c", replace(TABLE, rows=[]))
    with pytest.raises(ValueError, match="no data table"):
        Figure(drawing(), "c", None)


def test_repeated_names_and_bad_anchors_are_refused():
    with pytest.raises(ValueError, match="'first-loss' is used twice"):
        html(sections=[section(), section()])
    with pytest.raises(ValueError, match="figure name 'fig' is used twice"):
        html(sections=[section(), section(anchor="other")])
    with pytest.raises(ValueError, match="anchor 'A b'"):
        section(anchor="A b")
    with pytest.raises(ValueError, match="answer"):
        section(answer=[" "])


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="row of 3 values for 2"):
        replace(TABLE, rows=[(1, 2, 3)])
    with pytest.raises(ValueError, match="unknown columns"):
        replace(TABLE, rows=[{"nane": 1}])


def test_own_table_is_linked_and_another_is_folded_in():
    assert 'href="#first-loss-table-1">The numbers behind' in html()
    other = Figure(drawing(), "See.", replace(TABLE, caption="More"))
    assert 'id="fig-data"' in html(sections=[section(figures=[other])])


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (3.29583, "", "3.296"),
        (-2, "", "−2"),
        (200_000, "", "200,000"),
        (2000, "", "2,000"),
        (1.2e-5, "", "1.2×10⁻⁵"),
        (math.nan, "", "–"),
        (math.inf, "", "∞"),
        (0.5, ".4f", "0.5000"),
        (np.float32(0.5), ".1%", "50.0%"),
        (np.int64(7), "", "7"),
        (-0.0001, ".2f", "0.00"),
        (0.0, "+.2e", "0.00"),
        (1.5, "+.1e", "+1.5"),
        (12345.0, ",.0f", "12,345"),
    ],
)
def test_numbers_are_typeset(value, spec, text):
    assert number(value, spec) == text


def test_cells_show_text_and_keep_raw_values():
    columns = [TableColumn("a", "A"), TableColumn("b", "B", "nats", ".2f"), TableColumn("c", "C")]
    rows = [
        ("x", 1.23456, TableCell("link", sort=3, href="n/a.html", look=LOOK)),
        ("y", Interval(2.0, 1.5, 2.5, 10), TableCell("holds", tone="good")),
        ("z", None, math.nan),
        ("w", Interval(2.0, None, None, 1), True),
    ]
    text = page.table_html(Table("c", columns, rows), "t")
    assert '<td class="n" data-v="1.23456">1.23</td>' in text
    assert 'data-v="2" data-l="1.5" data-h="2.5" data-n="10">2.00 <small>1.50 to 2.50, n\xa0=\xa010</small>' in text
    assert '<td class="n" data-v="">–</td><td data-v="">–</td>' in text
    assert '<a href="n/a.html">link</a>' in text
    assert 'class="s-c3"' in text
    assert "✓" in text
    assert '<th scope="row">w</th>' in text
    assert '<span class="unit">nats</span>' in text


def test_a_number_of_seeds_shared_by_a_column_is_said_once():
    rows = [("a", Interval(1.0, 0.5, 1.5, 10)), ("b", Interval(2.0, 1.5, 2.5, 10))]
    text = page.table_html(Table("c", [TableColumn("a"), TableColumn("b", unit="nats")], rows), "t")
    assert "nats, n\xa0=\xa010" in text
    assert text.count("n\xa0=\xa0") == 1
    assert text.count('data-n="10"') == 2


HOSTILE = [
    "<script>alert(1)</script>",
    "</style></script><img src=x onerror=alert(1)>",
    "\" ' ` ** [x](javascript:alert(1)) {{ 7 * 7 }} {% raw %}",
    "\u202eשלום",
    "🧠" * 150,
    "a\x00b\x02c\x03d\ud800",
]


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_are_shown_as_text(words):
    table = Table(
        literal(words),
        [TableColumn("a", words, words), TableColumn("b")],
        [(words, TableCell(words, sort=words)), ("n", 1.0)],
    )
    hostile = Section(
        "s",
        literal(words),
        [f"**{literal(words)}** and `{literal(words)}` [{literal(words)}](#s)"],
        words,
        [Figure(drawing(), literal(words), table)],
        [table],
        [Term(literal(words), literal(words), words)],
        [page.Listing(literal(words), words)],
        Made(literal(words), [(words, words + "\n")]),
    )
    text = page.render_page(
        title=words,
        stamp=words,
        lead=literal(words),
        sections=[hostile],
        left_out={"none": literal(words)},
        footer=literal(words),
        facts={words: words},
    )
    text.encode("utf-8")  # no lone surrogate
    assert not set(text) & {"\x00", "\x02", "\x03"}
    reader = Reader(text)
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("script") == tags.count("style") == 1
    assert "img" not in tags
    shown = page.plain(words)
    assert "".join(reader.text).count(shown) >= 15
    assert not [a for _, a in reader.tags if (a.get("href") or "").startswith("javascript")]


def test_inline_markup_is_small_and_safe():
    assert inline("a **b `c`** <i>") == "a <strong>b <code>c</code></strong> &lt;i&gt;"
    assert inline("[x](#y) [z](https://a.org/b)") == '<a href="#y">x</a> <a href="https://a.org/b">z</a>'
    assert inline(f"**{literal('a**b')}**") == "<strong>a**b</strong>"
    for href in ("javascript:alert", "data:text/html,x", "//evil.org", "\\evil", "java\tscript:x"):
        with pytest.raises(ValueError, match="link to"):
            page.link(page.Markup("x"), href)


def test_a_notebook_keeps_its_content_and_loses_what_could_run():
    body = (
        '<h1 id="k" style="color:red" onclick="x()">K</h1><script>bad()</script><style>p{}</style>'
        "<p>one<br/>&lt;two&gt;</p>"
        '<table border="1"><tr><td data-v="1">3</td></tr></table><a href="javascript:x">l</a><a href="a.html">m</a>'
        '<img src="http://a.org/x.png"><img src="data:image/png;base64,AA==">'
        '<svg viewBox="0 0 1 1"><path d="M0 0"/></svg><iframe src=x></iframe></p>'
    )
    text = page.render_notebook(title="K", stamp="profile: quick", body_html=body)
    inside = text[text.index('<div class="notebook">') :]
    assert '<h1 id="k">K</h1><p>one<br>&lt;two&gt;</p>' in inside
    assert '<td data-v="1">3</td></tr></table></div>' in inside
    assert '<a>l</a><a href="a.html">m</a><img alt=""><img src="data:image/png;base64,AA==" alt="">' in inside
    assert 'viewbox="0 0 1 1"' in inside
    assert "bad()" not in inside
    assert "iframe" not in inside
    assert "style" not in inside
    assert 'href="../index.html"' in text
    assert "profile: quick" in text


def test_a_notebook_keeps_the_box_of_our_own_tables():
    cleaned = page.clean_html(page.table_html(TABLE, "t"))
    assert cleaned.count('class="scroll"') == 1
    assert 'tabindex="0"' in cleaned
    assert 'data-name="loss"' in cleaned
    assert cleaned.count("<div") == cleaned.count("</div>") == 2
    unfinished = page.clean_html("<div><div><table><tr><td>1<script>x")
    assert unfinished.endswith("<td>1</td></tr></table></div></div></div>")


def test_the_page_needs_neither_torch_nor_matplotlib():
    code = "import sys, study.report.html.page; assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
