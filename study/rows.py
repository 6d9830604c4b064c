"""What a cell gives: rows of the tables. No torch, so that the parent process does without it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
LONG = ("curves", "metrics")  # tables of so many rows that the parent keeps them in Arrow


@dataclass(frozen=True)
class Reading:
    """What is measured of every cell of a study."""

    measure: tuple[int, ...]  # steps, besides the first and the last
    batch_sizes: tuple[int, ...]


@dataclass
class Rows:
    """Rows of the tables of one cell, for all conditions that read it."""

    losses: list[Row] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)
    histograms: list[Row] = field(default_factory=list)
    pictures: list[Row] = field(default_factory=list)
    twins: list[Row] = field(default_factory=list)
    cells: list[Row] = field(default_factory=list)
    arrow: dict[str, pa.Table] = field(default_factory=dict)  # the LONG tables, in the parent


KEPT = tuple(f.name for f in fields(Rows) if f.name != "arrow")


def packed(rows: Rows) -> dict[str, dict[str, list[Any]]]:
    """The rows column by column, as JSON takes them: a value that a row does not have is null, and stays away."""
    found = {}
    for table in KEPT:
        entries: list[Row] = getattr(rows, table)
        columns = dict.fromkeys(name for row in entries for name in row)
        found[table] = {name: [row.get(name) for row in entries] for name in columns}
    return found


def unpacked(found: dict[str, dict[str, list[Any]]]) -> Rows:
    """The rows that were packed."""
    rows = Rows()
    for table in KEPT:
        columns = found[table]
        values = zip(*columns.values(), strict=True)
        setattr(rows, table, [dict(zip(columns, row, strict=True)) for row in values])
    return rows
