"""The anchors of the report's sections, in order: claims are checked against them before a report exists. No torch."""

from __future__ import annotations

# the sections of the report
SECTION_ORDER = (
    "verdict",
    "ladder",
    "initial-loss",
    "saturation",
    "distributions",
    "gradients",
    "growth",
    "theory",
    "calibration",
    "curves",
    "waste",
    "final-losses",
    "variants",
    "learning-rate",
    "twins",
    "published",
    "threats",
    "method",
    "provenance",
)
