"""Sections, figures and tables as one self-contained HTML page: no network, strict policy, the same bytes twice."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from html.parser import HTMLParser
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

if TYPE_CHECKING:  # matplotlib stays out of whoever only writes a page
    from study.plots import Drawing, Look

TEMPLATES = Path(__file__).parent / "templates"
DASH = "–"  # what a missing value looks like
SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
TONES = {"": "", "good": "✓", "bad": "✗", "unsure": "?"}  # a verdict is a sign and a word, never a colour alone

# ---------------------------------------------------------------------------------------------------- records


@dataclass(frozen=True)
class Cell:
    """Text, what sorting and CSV use instead (`sort`), a link, a condition's look as a swatch, a verdict's tone."""

    text: str
    sort: float | str | None = None
    href: str | None = None
    look: Look | None = None
    tone: Literal["", "good", "bad", "unsure"] = ""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval and number of seeds; CSV gets four columns (name, name_low, name_high, name_n)."""

    mean: float
    low: float | None
    high: float | None
    n: int


Value = str | float | int | bool | None | Cell | Interval


@dataclass(frozen=True)
class Column:
    """How a column is shown: `name` for CSV, `label` and `unit` for readers, `format` as for format().

    `numeric` sets it flush right; None: if all its values are numbers.
    """

    name: str
    label: str = ""
    unit: str = ""
    format: str = ""
    numeric: bool | None = None


@dataclass(frozen=True)
class Table:
    """Raw values by row: sequences in column order, or mappings by column name (what is absent is shown as a dash)."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value] | Mapping[str, Value]]
    folded: bool = False  # in a section: shown when asked for

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not self.caption.strip() or not names or len(set(names)) != len(names):
            raise ValueError(f"a table needs a caption and distinct columns: {self.caption!r}, {names}")
        for row in self.rows:
            if isinstance(row, Mapping) and not set(row) <= set(names):
                raise ValueError(f"table {self.caption!r}: row with unknown columns {sorted(set(row) - set(names))}")
            if not isinstance(row, Mapping) and len(row) != len(names):
                raise ValueError(f"table {self.caption!r}: row of {len(row)} values for {len(names)} columns")

    @property
    def cells(self) -> list[list[Value]]:
        """Values in column order, row by row."""
        return [[row.get(c.name) for c in self.columns] if isinstance(row, Mapping) else list(row) for row in self.rows]


@dataclass(frozen=True)
class Figure:
    """A drawing (plots.draw, plots.save), what to see in it, its table. ValueError: no alt text or no data."""

    drawing: Drawing
    caption: str
    table: Table  # one of the section's own tables is linked, any other is folded in behind the figure

    def __post_init__(self) -> None:
        if not self.drawing.alt.strip():
            raise ValueError(f"figure {self.drawing.name}: alt text is empty")
        if not isinstance(self.table, Table) or not self.table.rows:
            raise ValueError(f"figure {self.drawing.name}: no data table behind it")


@dataclass(frozen=True)
class Made:
    """How a section was made: a sentence, and facts (cells, config, code, command) as label and verbatim text.

    A section names its tables, the code besides its own and the keys of the study file; the facts follow from them.
    """

    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[str] = ()
    code: Sequence[str] = ()
    keys: Sequence[str] = ()


@dataclass(frozen=True)
class Term:
    """A word of the glossary, its formula (plain Unicode) and what it means."""

    name: str
    text: str
    formula: str = ""


@dataclass(frozen=True)
class Listing:
    """A long verbatim text, folded: the study file, versions, hashes."""

    title: str
    text: str


@dataclass(frozen=True)
class Highlight:
    """A number a reader remembers, above everything else: "27.0 → 3.30", what it is."""

    value: str
    label: str


@dataclass(frozen=True)
class Section:
    """One question, its answer and what that rests on; `short` is for the navigation, `note` a remark aside."""

    anchor: str
    question: str
    answer: Sequence[str]
    short: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    terms: Sequence[Term] = ()
    listings: Sequence[Listing] = ()
    note: str = ""
    made: Made | None = None

    def __post_init__(self) -> None:
        if not SLUG.fullmatch(self.anchor):
            raise ValueError(f"section anchor {self.anchor!r}: lower-case words joined by '-' would do")
        if isinstance(self.answer, str) or not any(text.strip() for text in self.answer):
            raise ValueError(
                f"section {self.anchor}: the answer is a list of paragraphs, and one of them says something"
            )


# ------------------------------------------------------------------------------------------------------ words


def plain(text: str) -> str:
    """Text without control characters and lone surrogates: what an attribute, a title, an SVG or a CSV can hold."""
    text = str(text).replace("\n", " ").replace("\t", " ")
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs") and ord(c) & 0xFFFE != 0xFFFE)


def verbatim(text: str) -> str:
    """A block of text with its line breaks and tabs, without other control characters."""
    return "".join(c for c in text if c in "\n\t" or c == plain(c))


def isolate(text: str) -> Markup:
    """Escaped text, in <bdi> when it holds a character that could turn the direction of its neighbours."""
    text = plain(text)
    turns = any(unicodedata.bidirectional(c) not in _CALM for c in text)
    return Markup("<bdi>{}</bdi>").format(text) if turns else Markup("{}").format(text)


def literal(text: str) -> str:
    """Somebody's words (a title, a name, a word of the data) inside inline markup: shown as they are, never parsed."""
    return f"\x02{plain(text)}\x03"


_CALM = {"L", "EN", "ES", "ET", "CS", "NSM", "BN", "B", "S", "WS", "ON", ""}
_INLINE = re.compile(
    r"\x02(?P<literal>[^\x03]*)\x03"
    r"|`(?P<code>(?:\x02[^\x03]*\x03|[^`\x02])+)`"
    r"|\*\*(?P<bold>(?:\x02[^\x03]*\x03|`[^`]*`|[^*\x02])+)\*\*"
    r"|\[(?P<label>(?:\x02[^\x03]*\x03|[^\]\x02])+)\]\((?P<href>[^()\s\x02]+)\)"
)


def inline(text: str) -> Markup:
    """Text with `code`, **bold**, [a link](#anchor) and literal() words; everything else is escaped."""
    parts, end = [], 0
    for match in _INLINE.finditer(text):
        parts.append(Markup("{}").format(plain(text[end : match.start()])))
        end = match.end()
        if match["literal"] is not None:
            parts.append(isolate(match["literal"]))
        elif match["code"] is not None:
            parts.append(Markup("<code>{}</code>").format(isolate(match["code"])))
        elif match["bold"] is not None:
            parts.append(Markup("<strong>{}</strong>").format(inline(match["bold"])))
        else:
            parts.append(link(inline(match["label"]), match["href"]))
    return Markup("").join([*parts, Markup("{}").format(plain(text[end:]))])


def link(text: Markup, href: str) -> Markup:
    """A link within the page, to a neighbouring file or to the web; ValueError for any other scheme."""
    if not _safe(href):
        raise ValueError(f"link to {href!r}: #anchor, a relative path or https:// would do")
    return Markup('<a href="{}">{}</a>').format(href, text)


def _safe(href: str) -> bool:
    return bool(re.match(r"https?://|#|mailto:", href)) or not re.search(r"[:\\\x00-\x20]|^//", href)


def number(value: float, spec: str = "") -> str:
    """A number as typeset: true minus, thin thousands, 10⁻⁵ for e-05; four significant digits unless `spec` differs."""
    if isinstance(value, Integral) and not spec:
        return f"{int(value):,}".replace(",", "\u202f" if abs(int(value)) >= 10_000 else "").replace("-", "−")
    if not math.isfinite(value):
        return DASH if math.isnan(value) else "∞" if value > 0 else "−∞"
    text = format(float(value), spec or ".4g")
    if not re.search(r"[1-9]", text.partition("e")[0]):
        text = text.partition("e")[0].replace("-", "").replace("+", "")  # no sign and no power before a zero
    text = text.replace(",", "\u202f").replace("e+00", "").replace("e-00", "")
    power = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    text = re.sub(r"e([+-]?)0*(\d+)", lambda m: "×10" + (m[1].strip("+") + m[2]).translate(power), text)
    return text.replace("-", "−")


def swatch(look: Look) -> Markup:
    """The line and marker of a condition, as in the figures."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true"><path class="s-c{0}" d="M1 6H27"{1}/>'
        '<path class="f-c{0}" transform="translate(14 6)" d="{2}"/></svg>'
    ).format(look.slot, Markup(f' stroke-dasharray="{look.dash}"' if look.dash else ""), look.shape)


# ----------------------------------------------------------------------------------------------------- tables


def missing(value: object) -> bool:
    """Whether a value is None, NaN or pandas' NA."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Real) and value != value)
    )


def show(value: Value, column: Column, n: int | None = None) -> tuple[Markup, dict[str, str]]:
    """Markup of one value and its data attributes (v, l, h, n), for sorting and CSV; `n` seeds are said elsewhere."""
    if missing(value):
        return Markup(DASH), {"v": ""}
    if isinstance(value, Cell):
        text = isolate(value.text)
        text = link(text, value.href) if value.href else text
        if value.tone:
            text = Markup('<span class="tone {0}"><span aria-hidden="true">{1}</span> {2}</span>').format(
                value.tone, TONES[value.tone], text
            )
        if value.look:
            text = Markup('<span class="named">{} <span>{}</span></span>').format(swatch(value.look), text)
        return text, {"v": _raw(value.text if value.sort is None else value.sort)}
    if isinstance(value, Interval):
        if missing(value.mean):
            return Markup(DASH), {"v": "", "l": "", "h": "", "n": str(value.n)}
        bounds = [b for b in (value.low, value.high) if b is not None and not missing(b)]
        small = (
            [f"{number(bounds[0], column.format)} to {number(bounds[1], column.format)}"] if len(bounds) == 2 else []
        )
        small += [] if value.n == n else [f"n\u00a0=\u00a0{value.n}"]
        text = Markup("{} <small>{}</small>" if small else "{}").format(
            number(value.mean, column.format), ", ".join(small)
        )
        raws = [_raw(b) if b is not None and not missing(b) else "" for b in (value.low, value.high)]
        return text, {"v": _raw(value.mean), "l": raws[0], "h": raws[1], "n": str(value.n)}
    if type(value).__name__ in ("bool", "bool_"):
        return Markup("yes" if value else "no"), {}
    if isinstance(value, Real):
        text, raw = number(value, column.format), _raw(value)
        return Markup("{}").format(text), {} if text == raw else {"v": raw}
    return isolate(str(value)), {}


def _raw(value: object) -> str:
    if isinstance(value, Integral) and type(value).__name__ not in ("bool", "bool_"):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        return f"{number:.10g}" if math.isfinite(number) else "Infinity" if number > 0 else "-Infinity"
    return plain(str(value))


def _words(value: str | Cell) -> str:
    return value.text if isinstance(value, Cell) else value


def _numeric(column: Column, values: Sequence[Value]) -> bool:
    """Whether a column is set flush right: all its values are numbers, intervals or cells that sort by a number."""
    if column.numeric is not None:
        return column.numeric
    numbers = [
        isinstance(v, (Interval, Real)) or (isinstance(v, Cell) and isinstance(v.sort, Real) and not (v.look or v.tone))
        for v in values
        if not missing(v)
    ]
    return all(numbers) if numbers else bool(column.format)


def table_html(table: Table, ident: str, folded: bool = False) -> Markup:
    """One table in its own scrolling, focusable box."""
    rows = table.cells
    columns = [[row[i] for row in rows] for i in range(len(table.columns))]
    numeric = [_numeric(c, values) for c, values in zip(table.columns, columns, strict=True)]
    counts = [{v.n for v in values if isinstance(v, Interval)} for values in columns]
    shared = [
        next(iter(found)) if len(found) == 1 and len(rows) > 1 else None for found in counts
    ]  # n, said once in the head
    lines = []
    for row in rows:
        line = []
        for i, (value, column) in enumerate(zip(row, table.columns, strict=True)):
            text, data = show(value, column, shared[i])
            head = i == 0 and not numeric[0]
            long = "long" if len(text) > 60 and isinstance(value, str | Cell) and len(_words(value)) > 60 else ""
            kind = "n" if numeric[i] else long
            attributes = (f' class="{kind}"' if kind else "") + (' scope="row"' if head else "")
            attributes += "".join(f' data-{key}="{escape(raw)}"' for key, raw in data.items())
            line.append(f"<{'th' if head else 'td'}{attributes}>{text}</{'th' if head else 'td'}>")
        lines.append(f"<tr>{''.join(line)}</tr>")
    units = [
        ", ".join(filter(None, [plain(c.unit), f"n\u00a0=\u00a0{n}" if n is not None else ""]))
        for c, n in zip(table.columns, shared, strict=True)
    ]
    heads = Markup("").join(
        Markup('<th scope="col" data-name="{}"{}>{}{}</th>').format(
            plain(c.name),
            Markup(' class="n"') if n else "",
            isolate(c.label or c.name),
            Markup(' <span class="unit">{}</span>').format(unit) if unit else "",
        )
        for c, n, unit in zip(table.columns, numeric, units, strict=True)
    )
    kind = "table-box folded" if folded else "table-box wide" if len(table.columns) > 6 else "table-box"
    return Markup(
        '<div class="{0}" id="{1}"><div class="scroll" role="group" tabindex="0" aria-labelledby="{1}-caption">'
        '<table><caption id="{1}-caption">{2}</caption><thead><tr>{3}</tr></thead>'
        "<tbody>\n{4}\n</tbody></table></div></div>"
    ).format(kind, ident, inline(table.caption), heads, Markup("\n".join(lines)))


# ------------------------------------------------------------------------------------------------------ pages


def render(
    *,
    title: str,
    stamp: str,
    lead: str | Sequence[str],
    sections: Sequence[Section],
    left_out: Sequence[str] = (),
    highlights: Sequence[Highlight] = (),
    footer: str = "",
    facts: Sequence[tuple[str, str]] | Mapping[str, str] = (),
) -> str:
    """The report. `stamp` names the profile, `left_out` what had no data, `facts` is the provenance in the footer."""
    _distinct("section anchor", ["left-out", "top", *(s.anchor for s in sections)])
    _distinct("figure name", [f.drawing.name for s in sections for f in s.figures])
    return _page(
        "report.html.j2",
        title=title,
        stamp=stamp,
        lead=[lead] if isinstance(lead, str) else list(lead),
        sections=list(sections),
        left_out=list(left_out),
        highlights=list(highlights),
        footer=footer,
        facts=list(facts.items() if isinstance(facts, Mapping) else facts),
    )


def render_notebook(*, title: str, stamp: str, body_html: str, back: str = "../index.html", footer: str = "") -> str:
    """An executed notebook's HTML body in the page's style; scripts, inline styles and unknown markup are dropped."""
    return _page(
        "notebook.html.j2",
        title=title,
        stamp=stamp,
        body=clean_html(body_html),
        back=back,
        footer=footer,
        sections=[],
        facts=[],
    )


@cache
def figure_style() -> str:
    """The rules of style.css that colour a figure, for a notebook that is opened by itself."""
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    roles = [line for line in style.splitlines() if line.startswith((".f-", ".s-"))]
    return "\n".join([style[style.index(":root {") : style.index("}\n") + 1], *roles])


def _distinct(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name!r} is used twice")
        seen.add(name)


def css_string(text: str) -> str:
    """A CSS string of any text; nothing in it can end the string, the rule or the <style> element."""
    return (
        '"' + "".join(c if c.isascii() and (c.isalnum() or c == " ") else f"\\{ord(c):x} " for c in plain(text)) + '"'
    )


def sha256(text: str) -> str:
    """Hash of an inlined block, as a Content-Security-Policy source."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _templates() -> Environment:
    loader = FileSystemLoader(TEMPLATES, encoding="utf-8")
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters |= {"inline": inline, "isolate": isolate, "plain": plain, "raw": Markup, "verbatim": verbatim}
    env.globals |= {"table_html": table_html}
    return env


def _page(template: str, **context: Any) -> str:
    env = _templates()
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    style += f"@page {{ @top-left {{ content: {css_string(context['stamp'])}; }} }}\n"
    style += "@page :first { @top-left { content: none; } }\n"  # there it is in the page's own header
    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src data:; style-src {sha256(style)}; script-src {sha256(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    html = env.get_template(template).render(style=Markup(style), script=Markup(script), policy=policy, **context)
    return html if html.endswith("\n") else html + "\n"


# -------------------------------------------------------------------------------------------------- notebooks

_TAGS = re.compile(
    r"a|abbr|b|bdi|blockquote|br|caption|code|dd|del|details|div|dl|dt|em|figcaption|"
    r"figure|h1|h2|h3|h4|h5|h6|hr|i|img|ins|kbd|li|mark|ol|p|pre|q|s|samp|section|"
    r"small|span|strong|sub|summary|sup|table|tbody|td|tfoot|th|thead|tr|u|ul|var|svg|g|"
    r"path|line|circle|ellipse|rect|polyline|polygon|text|tspan|defs|use|clippath|title|desc|"
    r"symbol"
)
_ATTRIBUTES = re.compile(
    r"class|id|alt|title|scope|colspan|rowspan|role|dir|lang|open|start|tabindex|aria-[a-z]+|data-([vlhn]|name)|d|x|y|[xyr][12xy]|c[xy]|r|width"
    r"|height|viewbox|transform|points|clip-path|fill|stroke|(fill|stroke|text|font|letter|dominant|clip|shape)-[a-z]+|opacity"
)
_VOID = {"br", "hr", "img"}
_DROPPED = {"script", "style", "template", "iframe", "object", "noscript", "head", "textarea", "select", "button"}


class _Cleaner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.dropped: list[str] = []
        self.open: list[str] = []
        self.boxed: list[bool] = []  # per open table: whether it got a box here

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.dropped or tag in _DROPPED:
            if tag in _DROPPED:
                self.dropped.append(tag)
            return
        if not _TAGS.fullmatch(tag):
            return
        kept = {k: v or "" for k, v in attrs if _ATTRIBUTES.fullmatch(k)}
        for key, value in attrs:
            if key == "href" and value and _safe(value) and (tag != "use" or value.startswith("#")):
                kept[key] = value
            if key == "src" and value and re.match(r"data:image/(png|jpeg|gif|svg\+xml);base64,[\w+/=\s]+$", value):
                kept[key] = value
        if tag == "img":
            kept.setdefault("alt", "")
        if tag == "table":
            self.boxed.append(not (self.out and self.out[-1].startswith('<div class="scroll"')))
            self.out.append('<div class="scroll" role="group" aria-label="Table" tabindex="0">' * self.boxed[-1])
        attributes = "".join(f' {key}="{escape(value)}"' for key, value in kept.items())
        self.out.append(f"<{tag}{attributes}>")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.dropped:
            if tag == self.dropped[-1]:
                self.dropped.pop()
            return
        while tag in self.open:
            last = self.open.pop()
            self.out.append(f"</{last}>" + ("</div>" if last == "table" and self.boxed.pop() else ""))
            if last == tag:
                break

    def finish(self) -> str:
        """What was kept, with everything closed."""
        self.close()
        self.dropped.clear()
        while self.open:
            self.handle_endtag(self.open[-1])
        return "".join(self.out)

    def handle_data(self, data: str) -> None:
        if not self.dropped:
            self.out.append(escape(verbatim(data), quote=False))


def clean_html(body: str) -> Markup:
    """HTML reduced to listed tags and attributes: text, images as data, figures, tables in a scrolling box."""
    cleaner = _Cleaner()
    cleaner.feed(body)
    return Markup(cleaner.finish())
