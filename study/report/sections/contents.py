"""All sections of the report by anchor, in the order of the page."""

from __future__ import annotations

from importlib import import_module

from study.report.sections.registry import Question
from study.spec.anchors import ADDED, SECTION_ORDER


def _question(anchor: str) -> Question:
    """The section in the file of this name."""
    name = anchor.replace("-", "_")
    found: Question = getattr(import_module(f"study.report.sections.{name}"), f"{name}_section")
    return found


SECTIONS: dict[str, Question] = {anchor: _question(anchor) for anchor in SECTION_ORDER}


def sections() -> dict[str, Question]:
    """All sections by anchor: those of the package, and behind them those of the study's extensions."""
    return {**SECTIONS, **ADDED}
