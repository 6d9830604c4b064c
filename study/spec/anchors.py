"""The anchors of the report's sections, in the order of the page.

Claims are checked against them before a report exists. This module loads no torch.
"""

from __future__ import annotations

from typing import Any

SECTION_ORDER = (
    "verdict",
    "ladder",
    "initial-loss",
    "saturation",
    "distributions",
    "gradients",
    "growth",
    "theory",
    "initial-states",
    "calibration",
    "curves",
    "waste",
    "final-losses",
    "variants",
    "learning-rate",
    "twins",
    "published",
    "all-measurements",
    "threats",
    "method",
    "provenance",
)
# Sections of extensions, which stand behind the others: anchor -> the section, which only the report can use.
ADDED: dict[str, Any] = {}


def anchors() -> tuple[str, ...]:
    """The anchors of all sections: those of the package, and those of the extensions that are loaded."""
    return (*SECTION_ORDER, *ADDED)
