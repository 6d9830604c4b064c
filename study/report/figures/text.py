"""Clean, cut and wrap the texts of figures, by their visible width."""

from __future__ import annotations

import re
import textwrap
import unicodedata

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean_text(text: str) -> str:
    """The text without characters that an SVG cannot hold: surrogates, and controls except tab and newline."""
    return _UNPRINTABLE.sub("", str(text))


def character_cells(text: str) -> int:
    """The width of a text in character cells. Wide characters and emoji count as two, combining marks as none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, width: int) -> str:
    """Cut a text to one line of at most `width` cells, with an ellipsis."""
    text = " ".join(clean_text(text).split())
    if character_cells(text) <= width:
        return text
    while character_cells(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, width: int, most: int = 2) -> list[str]:
    """Wrap a text into at most `most` lines of at most `width` cells."""
    text = shorten(text, width * 4)
    found = [shorten(line, width) for line in textwrap.wrap(text, width)] or [""]
    return found if len(found) <= most else [*found[: most - 1], shorten(" ".join(found[most - 1 :]) + " …", width)]
