"""The records of a page: cells, tables, figures, sections. They check themselves before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from study.report.figures.look import Look

if TYPE_CHECKING:  # so that a module that only writes a page does not load matplotlib
    from study.report.figures.svg import Drawing

SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


Tone = Literal["", "good", "bad", "unsure"]


@dataclass(frozen=True)
class TableCell:
    """A text, with a value for sorting and CSV (`sort`), a link, the look of a condition, or the tone of a verdict."""

    text: str
    sort: float | str | None = None
    href: str | None = None
    look: Look | None = None
    tone: Tone = ""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval and its number of seeds. In CSV it has four columns: name, name_low, …_high, …_n."""

    mean: float
    low: float | None
    high: float | None
    n: int


Value = str | float | int | bool | None | TableCell | Interval


@dataclass(frozen=True)
class TableColumn:
    """The presentation of a column: `name` for CSV, `label` and `unit` for readers, `format` as for format().

    `numeric` aligns it to the right. None: it is aligned to the right if all its values are numbers.
    """

    name: str
    label: str = ""
    unit: str = ""
    format: str = ""
    numeric: bool | None = None


@dataclass(frozen=True)
class Table:
    """A table of raw values. Rows are sequences in column order, or mappings by column name, where a gap is a dash."""

    caption: str
    columns: Sequence[TableColumn]
    rows: Sequence[Sequence[Value] | Mapping[str, Value]]
    folded: bool = False  # whether it is hidden in a section until a reader opens it

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
        """The values in column order, row by row."""
        return [[row.get(c.name) for c in self.columns] if isinstance(row, Mapping) else list(row) for row in self.rows]


@dataclass(frozen=True)
class Figure:
    """A drawing (see plots.draw) with a caption and its table. ValueError: it has no alt text or no data."""

    drawing: Drawing
    caption: str
    table: Table  # a table of the section is linked, another one is folded behind the figure

    def __post_init__(self) -> None:
        if not self.drawing.alt.strip():
            raise ValueError(f"figure {self.drawing.name}: alt text is empty")
        if not isinstance(self.table, Table) or not self.table.rows:
            raise ValueError(f"figure {self.drawing.name}: no data table behind it")


@dataclass(frozen=True)
class Made:
    """The origin of a section: a sentence, and facts (cells, config, code, command) as label and verbatim text.

    A section names its tables, and the keys of the study file besides theirs. The facts follow from them.
    """

    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[str] = ()
    keys: Sequence[str] = ()


@dataclass(frozen=True)
class Term:
    """A word of the glossary, with its meaning and its formula in plain Unicode."""

    name: str
    text: str
    formula: str = ""


@dataclass(frozen=True)
class Listing:
    """A long verbatim text that is folded, such as the study file, versions or hashes."""

    title: str
    text: str


@dataclass(frozen=True)
class Highlight:
    """A number to remember, such as "27.0 → 3.30", with its label. It is at the top of the page."""

    value: str
    label: str


@dataclass(frozen=True)
class Section:
    """A question, its answer and the evidence for it. `short` is its name in the navigation."""

    anchor: str
    question: str
    answer: Sequence[str]
    short: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    terms: Sequence[Term] = ()
    listings: Sequence[Listing] = ()
    made: Made | None = None
    filtered: bool = False  # whether a field above the folded tables narrows them down, where there is script

    def __post_init__(self) -> None:
        if not SLUG.fullmatch(self.anchor):
            raise ValueError(f"section anchor {self.anchor!r}: lower-case words joined by '-' would do")
        if isinstance(self.answer, str) or not any(text.strip() for text in self.answer):
            raise ValueError(
                f"section {self.anchor}: the answer is a list of paragraphs, and one of them says something"
            )
