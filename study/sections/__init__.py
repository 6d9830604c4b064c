"""The sections of the report; their order is anchors.ORDER, where claims are checked against it, too."""

from study.anchors import ORDER
from study.sections import (  # noqa: F401  (importing registers)
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
)  # fmt: skip
from study.sections.registry import SECTIONS, Question

assert set(ORDER) == set(SECTIONS), set(ORDER) ^ set(SECTIONS)

__all__ = ["ORDER", "SECTIONS", "Question"]
