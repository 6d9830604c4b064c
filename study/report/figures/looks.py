"""The looks of a study's conditions in all figures and tables."""

from __future__ import annotations

from functools import lru_cache

from study.analysis.results import Results
from study.report.figures.look import Look, palette


def looks_of(results: Results) -> dict[str, Look]:
    """The name of a condition -> its look, in the order of the study file."""
    return dict(_palette(tuple(c.name for c in results.conditions)))


@lru_cache(maxsize=1)
def _palette(names: tuple[str, ...]) -> dict[str, Look]:
    return palette(names)  # a page asks hundreds of times
