"""What a shard gives back: rows of the tables, by cell. No torch, so that the parent process does without it."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """Rows of the tables of one shard; `cell` stands for the conditions that read it."""

    losses: list[Row] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)
    histograms: list[Row] = field(default_factory=list)
    pictures: list[Row] = field(default_factory=list)
    twins: list[Row] = field(default_factory=list)
    cells: list[Row] = field(default_factory=list)
    arrow: dict[str, pa.Table] = field(default_factory=dict)  # the LONG tables of a cell, in the parent
