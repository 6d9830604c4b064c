"""Words in figures: cut, wrapped and cleaned by the width that a reader sees."""

from __future__ import annotations

import re
import textwrap
import unicodedata

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean_text(text: str) -> str:
    """Text an SVG can hold: no control characters but tab and line break, no lone surrogates."""
    return _UNPRINTABLE.sub("", str(text))


def character_cells(text: str) -> int:
    """Width of a text in character cells: wide characters and emoji count two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, width: int) -> str:
    """One line of at most `width` cells, cut with an ellipsis."""
    text = " ".join(clean_text(text).split())
    if character_cells(text) <= width:
        return text
    while character_cells(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, width: int, most: int = 2) -> list[str]:
    """At most `most` lines of at most `width` cells."""
    text = shorten(text, width * 4)
    found = [shorten(line, width) for line in textwrap.wrap(text, width)] or [""]
    return found if len(found) <= most else [*found[: most - 1], shorten(" ".join(found[most - 1 :]) + " …", width)]
