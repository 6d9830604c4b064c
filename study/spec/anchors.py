"""The anchors of the report's sections, in the order of the page.

Claims are checked against them before a report exists. This module loads no torch.
"""

from __future__ import annotations

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
