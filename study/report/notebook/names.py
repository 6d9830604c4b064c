"""Where a condition's notebook page lies beside the report."""

from __future__ import annotations

import hashlib
import re


def page_name(condition: str) -> str:
    """File name of the page of the condition of this name."""
    return f"{slug(condition)}.html"


def page_link(condition: str) -> str:
    """Link from the report to it."""
    return f"notebooks/{page_name(condition)}"


def slug(name: str) -> str:
    """A file name for any condition name: itself when it is plain, else what is plain of it and a hash."""
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", name):
        return name
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{plain or 'condition'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
