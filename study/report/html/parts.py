"""The records that a page is made of: cells, tables, figures, sections. What they refuse is refused before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from study.report.figures.look import Look

if TYPE_CHECKING:  # matplotlib stays out of whoever only writes a page
    from study.report.figures.svg import Drawing

SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


@dataclass(frozen=True)
class TableCell:
    """Text, what sorting and CSV use instead (`sort`), a link, a condition's look as a swatch, a verdict's tone."""

    text: str
    sort: float | str | None = None
    href: str | None = None
    look: Look | None = None
    tone: Literal["", "good", "bad", "unsure"] = ""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval and number of seeds; CSV gets four columns (name, name_low, name_high, name_n)."""

    mean: float
    low: float | None
    high: float | None
    n: int


Value = str | float | int | bool | None | TableCell | Interval


@dataclass(frozen=True)
class TableColumn:
    """How a column is shown: `name` for CSV, `label` and `unit` for readers, `format` as for format().

    `numeric` sets it flush right; None: if all its values are numbers.
    """

    name: str
    label: str = ""
    unit: str = ""
    format: str = ""
    numeric: bool | None = None


@dataclass(frozen=True)
class Table:
    """Raw values by row: sequences in column order, or mappings by column name (what is absent is shown as a dash)."""

    caption: str
    columns: Sequence[TableColumn]
    rows: Sequence[Sequence[Value] | Mapping[str, Value]]
    folded: bool = False  # in a section: shown when asked for

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not self.caption.strip() or not names or len(set(names)) != len(names):
            raise ValueError(f"a table needs a caption and distinct columns: {self.caption!r}, {names}")
        for row in self.rows:
            if isinstance(row, Mapping) and not set(row) <= set(names):
                raise ValueError(f"table {self.caption!r}: row with unknown columns {sorted(set(row) - set(names))}")
            if not isinstance(row, Mapping) and len(row) != len(names):
                raise ValueError(f"table {self.caption!r}: row of {len(row)} values for {len(names)} columns")

    @property
    def cells(self) -> list[list[Value]]:
        """Values in column order, row by row."""
        return [[row.get(c.name) for c in self.columns] if isinstance(row, Mapping) else list(row) for row in self.rows]


@dataclass(frozen=True)
class Figure:
    """A drawing (plots.draw), what to see in it, its table. ValueError: no alt text or no data."""

    drawing: Drawing
    caption: str
    table: Table  # one of the section's own tables is linked, any other is folded in behind the figure

    def __post_init__(self) -> None:
        if not self.drawing.alt.strip():
            raise ValueError(f"figure {self.drawing.name}: alt text is empty")
        if not isinstance(self.table, Table) or not self.table.rows:
            raise ValueError(f"figure {self.drawing.name}: no data table behind it")


@dataclass(frozen=True)
class Made:
    """How a section was made: a sentence, and facts (cells, config, code, command) as label and verbatim text.

    A section names its tables and the keys of the study file besides theirs; the facts follow from them.
    """

    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[str] = ()
    keys: Sequence[str] = ()


@dataclass(frozen=True)
class Term:
    """A word of the glossary, its formula (plain Unicode) and what it means."""

    name: str
    text: str
    formula: str = ""


@dataclass(frozen=True)
class Listing:
    """A long verbatim text, folded: the study file, versions, hashes."""

    title: str
    text: str


@dataclass(frozen=True)
class Highlight:
    """A number a reader remembers, above everything else: "27.0 → 3.30", what it is."""

    value: str
    label: str


@dataclass(frozen=True)
class Section:
    """One question, its answer and what that rests on; `short` is for the navigation."""

    anchor: str
    question: str
    answer: Sequence[str]
    short: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    terms: Sequence[Term] = ()
    listings: Sequence[Listing] = ()
    made: Made | None = None

    def __post_init__(self) -> None:
        if not SLUG.fullmatch(self.anchor):
            raise ValueError(f"section anchor {self.anchor!r}: lower-case words joined by '-' would do")
        if isinstance(self.answer, str) or not any(text.strip() for text in self.answer):
            raise ValueError(
                f"section {self.anchor}: the answer is a list of paragraphs, and one of them says something"
            )
