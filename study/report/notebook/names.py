"""The names of notebook pages, which lie beside the report."""

from __future__ import annotations

import hashlib
import re


def page_name(condition: str) -> str:
    """The file name of the page of the condition of this name."""
    return f"{slug(condition)}.html"


def page_link(condition: str) -> str:
    """The link from the report to the page of the condition of this name."""
    return f"notebooks/{page_name(condition)}"


def slug(name: str) -> str:
    """A file name for any condition name: a plain name itself, else its plain characters and a hash."""
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", name):
        return name
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{plain or 'condition'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
