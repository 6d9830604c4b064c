"""The registry of sections: a section answers one question, and its place in the list is its place in the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from study.analysis.results import Results
from study.report.html.page import Section
from study.report.sections.origin import complete

Make = Callable[[Results], "Section | None"]


@dataclass(frozen=True)
class Question:
    """A registered section: `make` returns None when the study has nothing to say, and `needs` tells the reader why."""

    short: str
    needs: str
    make: Make


SECTIONS: dict[str, Question] = {}


def section(anchor: str, short: str, needs: str) -> Callable[[Make], Make]:
    """Register a function from results to a section, or to None where its data are not there; its origin is added here."""

    def register(make: Make) -> Make:
        assert anchor not in SECTIONS, f"section {anchor} is registered twice"

        def whole(results: Results) -> Section | None:
            made = make(results)
            return None if made is None else complete(made, results, make)

        SECTIONS[anchor] = Question(short, needs, whole)
        return make

    return register
