"""Turn sections into one self-contained HTML page, which needs no network. The same sections give the same bytes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from study.report.html.notebook import clean_html
from study.report.html.parts import (
    Figure,
    Highlight,
    Interval,
    Listing,
    Made,
    Section,
    Table,
    TableCell,
    TableColumn,
    Term,
    Value,
)
from study.report.html.tables import table_html
from study.report.html.words import inline, isolate, link, literal, number, plain, verbatim

__all__ = [
    "Figure",
    "Highlight",
    "Interval",
    "Listing",
    "Made",
    "Markup",
    "Section",
    "Table",
    "TableCell",
    "TableColumn",
    "Term",
    "Value",
    "clean_html",
    "figure_style",
    "inline",
    "link",
    "literal",
    "number",
    "plain",
    "render_notebook",
    "render_page",
    "table_html",
]

TEMPLATES = Path(__file__).parents[1] / "templates"


def render_page(
    *,
    title: str,
    stamp: str,
    lead: str | Sequence[str],
    sections: Sequence[Section],
    left_out: Mapping[str, str] | None = None,
    highlights: Sequence[Highlight] = (),
    footer: str = "",
    facts: Sequence[tuple[str, str]] | Mapping[str, str] = (),
) -> str:
    """The HTML of the report.

    `stamp` names the profile. `left_out` (anchor -> words) are the sections without data. `facts` is the provenance in
    the footer. ValueError: two sections have one anchor, or two figures have one name.
    """
    _distinct("section anchor", ["left-out", "top", *(s.anchor for s in sections), *(left_out or {})])
    _distinct("figure name", [f.drawing.name for s in sections for f in s.figures])
    return _page(
        "report.html.j2",
        title=title,
        stamp=stamp,
        lead=[lead] if isinstance(lead, str) else list(lead),
        sections=list(sections),
        left_out=left_out or {},
        highlights=list(highlights),
        footer=footer,
        facts=list(facts.items() if isinstance(facts, Mapping) else facts),
    )


def render_notebook(*, title: str, stamp: str, body_html: str, back: str = "../index.html", footer: str = "") -> str:
    """The HTML page of an executed notebook. Scripts, inline styles and unknown markup of its body are removed."""
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
    """The rules of style.css for the colours of figures, for a notebook that is opened by itself."""
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
    """Any text as a CSS string. Nothing in it can end the string, the rule or the <style> element."""
    return (
        '"' + "".join(c if c.isascii() and (c.isalnum() or c == " ") else f"\\{ord(c):x} " for c in plain(text)) + '"'
    )


def policy_hash(text: str) -> str:
    """The hash of an inlined block, as a source of a Content-Security-Policy."""
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
        f"default-src 'none'; img-src data:; style-src {policy_hash(style)}; script-src {policy_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    html = env.get_template(template).render(style=Markup(style), script=Markup(script), policy=policy, **context)
    return html if html.endswith("\n") else html + "\n"
