"""All sections of the report, by anchor; importing this module registers them. Their order is that of the anchors."""

from __future__ import annotations

from study.report.sections import (  # noqa: F401  (importing registers)
    distributions,
    evidence,
    finals,
    gradients,
    growth,
    robustness,
    saturation,
    start,
    theory,
    training,
    waste,
)
from study.report.sections.registry import SECTIONS
from study.spec.anchors import SECTION_ORDER

assert set(SECTION_ORDER) == set(SECTIONS), set(SECTION_ORDER) ^ set(SECTIONS)

__all__ = ["SECTIONS"]
