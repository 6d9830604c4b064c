"""The record by which readers are told of a measurement: text, unit, format and direction.

This module loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Of = Literal["layer", "output", "parameter", "training"]
Better = Literal["higher", "lower", ""]
IntervalKind = Literal["t", "bca"]


@dataclass(frozen=True)
class Label:
    """The facts about a measurement: its row in the table `measures`, without its name.

    A share has the unit %, and is between 0 and 1 in the tables. ValueError: a fact is missing or unknown.
    """

    text: str
    unit: str
    format: str  # as for format()
    better: Better  # the direction that is better; empty where neither is
    of: Of
    interval: IntervalKind = "t"  # bca where values are positive and skewed: a t interval would reach below 0
    lost: str = "diverged"  # the word for a seed that has no value

    def __post_init__(self) -> None:
        for fact in (self.text, self.format, self.lost):
            if not fact.strip():
                raise ValueError("lacks a fact; expected a label, a format such as '.3f' and a word for lost seeds")
        for got, known in ((self.of, Of), (self.better, Better), (self.interval, IntervalKind)):
            if got not in get_args(known):
                raise ValueError(f"has the fact {got!r}; expected one of {', '.join(map(repr, get_args(known)))}")
        try:
            format(0.5, self.format)
        except ValueError:
            raise ValueError(f"has the format {self.format!r}; expected one for numbers, such as '.3f'") from None

    @property
    def factor(self) -> float:
        """The factor that turns a value of the tables into the printed unit: 100 for a share, else 1."""
        return 100.0 if self.unit == "%" else 1.0
