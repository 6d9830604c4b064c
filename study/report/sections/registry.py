"""Make a function a section: a question, the function that answers it, and the needs of an answer.

A section is a file of this package: its anchor is the file's name, and the name of its function is the file's name with
`_section` behind it.

    @section("Steps wasted", "How many steps does a bad start waste?", needs="two trainings of the first group")
    def waste_section(results: Results) -> Content | None:
        ...  # None where the study has nothing to say
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from study.analysis.ledger import Ledger
from study.analysis.results import Results
from study.report.html.page import Figure, Listing, Made, Section, Table, Term
from study.report.sections.origin import complete

Asked = str | Callable[[Results], str]  # a question, or a function that words it for the results


@dataclass(frozen=True)
class Content:
    """The content of a section: the paragraphs of its answer, and the figures and tables behind them."""

    answer: Sequence[str]
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    terms: Sequence[Term] = ()
    listings: Sequence[Listing] = ()
    made: Made | None = None
    filtered: bool = False


@dataclass(frozen=True)
class Question:
    """A section of the report before it has results. `needs` tells a reader why the section is left out."""

    short: str
    question: Asked
    needs: str
    module: str  # the dotted name of the section's module
    function: str
    find: Callable[[Results, Ledger], Content | None]

    @property
    def anchor(self) -> str:
        """The anchor of the section on the page, which is the name of its file."""
        return self.module.rpartition(".")[2].replace("_", "-")

    def make(self, results: Results, ledger: Ledger) -> Section | None:
        """The section with its origin, or None where the study has no data for it."""
        found = self.find(results, ledger)
        if found is None:
            return None
        made = Section(
            anchor=self.anchor,
            question=self.question if isinstance(self.question, str) else self.question(results),
            answer=found.answer,
            short=self.short,
            figures=found.figures,
            tables=found.tables,
            terms=found.terms,
            listings=found.listings,
            made=found.made,
            filtered=found.filtered,
        )
        return complete(made, results, self.module, self.function)


def section(short: str, question: Asked, needs: str) -> Callable[[Callable[[Results], Content | None]], Question]:
    """Turn a function of the results into a section. `short` is its title in the navigation."""

    def register(find: Callable[[Results], Content | None]) -> Question:
        return Question(short, question, needs, find.__module__, find.__name__, lambda results, _: find(results))

    return register


def judged_section(
    short: str, question: Asked, needs: str
) -> Callable[[Callable[[Results, Ledger], Content | None]], Question]:
    """Turn a function of the results and the ledger into a section."""

    def register(find: Callable[[Results, Ledger], Content | None]) -> Question:
        return Question(short, question, needs, find.__module__, find.__name__, find)

    return register
