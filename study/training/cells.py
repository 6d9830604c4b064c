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
    """A schedule of plain SGD: `lr` is ((first step, rate), …), the first of them at step 0."""

    batch_size: int
    steps: int
    lr: tuple[tuple[int, float], ...]

    def rate(self, step: int) -> float:
        """Learning rate in force at `step`."""
        return [rate for start, rate in self.lr if start <= step][-1]

    def first(self, steps: int) -> Schedule:
        """The same schedule, ended after `steps` steps."""
        steps = min(steps, self.steps)
        return replace(self, steps=steps, lr=tuple((start, rate) for start, rate in self.lr if start < steps))

    def measured(self, steps: Iterable[int]) -> list[int]:
        """Where everything is measured of a study that asks for these `steps`: at the first, the last, and those of them
        that the training reaches, ascending."""
        return sorted({0, self.steps, *(step for step in steps if step <= self.steps)})


@dataclass(frozen=True)
class Cell:
    """One training: everything its numbers depend on, except the data."""

    network: Network
    seed: int
    protocol: Protocol
    schedule: Schedule
    twin: bool = False  # starts with one weight of W1 one unit in the last place away

    @property
    def original(self) -> Cell:
        """The cell that a twin is the twin of."""
        return replace(self, twin=False)


@dataclass(frozen=True)
class Stack:
    """Cells of one graph and one schedule, for one engine; tuple order is the model axis M."""

    cells: tuple[Cell, ...]
    engine: Engine = "autograd"

    def __post_init__(self) -> None:
        kinds = {(cell.network.graph, cell.schedule) for cell in self.cells}
        assert len(kinds) == 1, f"a stack holds one graph and one schedule, got {len(kinds)}"

    @property
    def network(self) -> Network:
        """A network with the graph that all cells share (its scales are the first cell's)."""
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
