"""Make a function a section: a question, the function that answers it, and the needs of an answer.

A section is a file of this package: its anchor is the file's name, and the name of its function is the file's name with
`_section` behind it. In a file of the user, an extension, a section's anchor is the name of its function without
`_section`, and the section stands behind those of the package.

    @section("Steps wasted", "How many steps does a bad start waste?", needs="two trainings of the first group")
    def waste_section(results: Results) -> Content | None:
        ...  # None where the study has nothing to say
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from study.analysis.ledger import Ledger
from study.analysis.results import Results
from study.errors import SpecError
from study.report.html.page import Figure, Listing, Made, Section, Table, Term
from study.report.sections.origin import complete
from study.spec.anchors import ADDED, anchors
from study.spec.extensions import blamed

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
    file: str  # the path of the module's file
    function: str
    find: Callable[[Results, Ledger], Content | None]

    @property
    def anchor(self) -> str:
        """The anchor of the section on the page: the name of its function without `_section`."""
        return self.function.removesuffix("_section").replace("_", "-")

    def make(self, results: Results, ledger: Ledger) -> Section | None:
        """The section with its origin, or None where the study has no data for it."""
        with blamed(Path(self.file), "when it makes its section; mend it"):
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
        return _known(short, question, needs, find, lambda found, _: find(found))

    return register


def judged_section(
    short: str, question: Asked, needs: str
) -> Callable[[Callable[[Results, Ledger], Content | None]], Question]:
    """Turn a function of the results and the ledger into a section."""

    def register(find: Callable[[Results, Ledger], Content | None]) -> Question:
        return _known(short, question, needs, find, find)

    return register


def _known(
    short: str,
    question: Asked,
    needs: str,
    function: Callable[..., Content | None],
    find: Callable[[Results, Ledger], Content | None],
) -> Question:
    """The section, made known by its anchor if it is of an extension. SpecError: the anchor is taken or is none."""
    code = function.__code__
    made = Question(short, question, needs, function.__module__, code.co_filename, function.__name__, find)
    if made.module.partition(".")[0] == __name__.partition(".")[0]:
        return made
    where = f"{made.file}:{code.co_firstlineno}"
    if made.anchor in anchors():
        raise SpecError(f"{where}: section '{made.anchor}': the name is taken; give the function another one")
    if not made.function.endswith("_section") or not re.fullmatch("[a-z][a-z0-9-]*", made.anchor):
        problem = "expected a function that is named in small letters, such as my_view_section"
        raise SpecError(f"{where}: section: {problem}, got {made.function:.60}")
    ADDED[made.anchor] = made
    return made
