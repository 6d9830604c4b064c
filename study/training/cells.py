"""The records that identify a training: schedule, cell and stack. No torch, no disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from study.network.layers import Network

Protocol = Literal["paired", "lecture"]
Engine = Literal["autograd", "fused"]


@dataclass(frozen=True)
class Schedule:
    """A schedule of plain SGD. `lr` is ((first step, rate), …), in order, and its first entry is at step 0."""

    batch_size: int
    steps: int
    lr: tuple[tuple[int, float], ...]

    def rate(self, step: int) -> float:
        """The learning rate in force at `step`."""
        return [rate for start, rate in self.lr if start <= step][-1]

    def first(self, steps: int) -> Schedule:
        """The same schedule, which ends after `steps` steps at the latest."""
        steps = min(steps, self.steps)
        return replace(self, steps=steps, lr=tuple((start, rate) for start, rate in self.lr if start < steps))

    def measured(self, steps: Iterable[int]) -> list[int]:
        """The steps at which everything is measured, ascending.

        They are the first, the last, and those of the study's `steps` that the training reaches.
        """
        return sorted({0, self.steps, *(step for step in steps if step <= self.steps)})


@dataclass(frozen=True)
class Cell:
    """A training: everything that its numbers depend on, except the data."""

    network: Network
    seed: int
    protocol: Protocol
    schedule: Schedule
    twin: bool = False  # whether it starts with one weight of W1 one unit in the last place away

    @property
    def original(self) -> Cell:
        """The cell whose twin this cell is."""
        return replace(self, twin=False)


@dataclass(frozen=True)
class Stack:
    """Cells of one graph and one schedule, for one engine. The order of the tuple is that of the model axis M."""

    cells: tuple[Cell, ...]
    engine: Engine = "autograd"

    def __post_init__(self) -> None:
        kinds = {(cell.network.graph, cell.schedule) for cell in self.cells}
        assert len(kinds) == 1, f"a stack holds one graph and one schedule, got {len(kinds)}"

    @property
    def network(self) -> Network:
        """The network of the first cell. All cells share its graph, but not its scales."""
        return self.cells[0].network

    @property
    def setups(self) -> list[Network]:
        """The network of every model."""
        return [cell.network for cell in self.cells]

    @property
    def twins(self) -> list[bool]:
        """Whether each model is a twin."""
        return [cell.twin for cell in self.cells]

    @property
    def schedule(self) -> Schedule:
        """The schedule that all cells share."""
        return self.cells[0].schedule
