"""Reduce a notebook's HTML to listed tags and attributes, so that nothing in it can run, load or restyle the page."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser

from markupsafe import Markup

from study.report.html.words import safe, verbatim

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
        self.boxed: list[bool] = []  # for every open table: whether a box was added here

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.dropped or tag in _DROPPED:
            if tag in _DROPPED:
                self.dropped.append(tag)
            return
        if not _TAGS.fullmatch(tag):
            return
        kept = {k: v or "" for k, v in attrs if _ATTRIBUTES.fullmatch(k)}
        for key, value in attrs:
            if key == "href" and value and safe(value) and (tag != "use" or value.startswith("#")):
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
        """The HTML that was kept, with all tags closed."""
        self.close()
        self.dropped.clear()
        while self.open:
            self.handle_endtag(self.open[-1])
        return "".join(self.out)

    def handle_data(self, data: str) -> None:
        if not self.dropped:
            self.out.append(escape(verbatim(data), quote=False))


def clean_html(body: str) -> Markup:
    """Reduce HTML to listed tags and attributes: text, images as data, figures, tables in a scrolling box."""
    cleaner = _Cleaner()
    cleaner.feed(body)
    return Markup(cleaner.finish())
