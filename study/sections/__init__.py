"""The sections of the report, in report order: ORDER is the one place that says it."""

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

ORDER = (
    "verdict", "ladder", "initial-loss", "saturation", "distributions", "gradients", "growth", "theory", "calibration", "curves", "waste", "final-losses", "variants",
    "learning-rate", "twins", "published", "threats", "method", "provenance",
)  # fmt: skip

assert set(ORDER) == set(SECTIONS), set(ORDER) ^ set(SECTIONS)

__all__ = ["ORDER", "SECTIONS", "Question"]
