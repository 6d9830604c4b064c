"""A report's page as a test reads it: its sections, and the words that a reader sees."""

from __future__ import annotations

import html
import re

UNREAD = (
    "<(style|script|svg)\\b.*?</\\1>",
    '<details class="listing">.*?</details>',
    '<dl class="terms">.*?</dl>',
)


def sections(page: str) -> dict[str, str]:
    """Anchor -> HTML of every section of a page."""
    parts = re.split(r'<section id="([a-z0-9-]+)"', page)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def text(page: str) -> str:
    """What a reader reads: no tags, no figures, no listings, no glossary."""
    for unread in UNREAD:
        page = re.sub(unread, " ", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))
