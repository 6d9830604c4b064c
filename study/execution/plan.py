"""Turn a Spec into work: distinct cells, stacks of one graph and schedule, and shards of the stacks. No torch."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from study.errors import unknown
from study.training.cells import Cell, Engine, Schedule, Stack
from study.training.engines import choose

if TYPE_CHECKING:
    from study.spec.records import Condition, Spec

# Models to a shard. Autograd trains them at once: beyond about 8 the working set leaves a core's cache. Fused trains
# one after the other, so small shards cost nothing and fill the cores evenly.
SHARD: dict[Engine, int] = {"autograd": 8, "fused": 2}
# per model-step of the lecture's network, for the expected duration
MICROSECONDS: dict[tuple[Engine, bool], float] = {  # by engine, and whether a layer has a norm
    ("autograd", False): 130.0,
    ("autograd", True): 280.0,
    ("fused", False): 38.0,
    ("fused", True): 42.0,
}
LECTURE = 27  # characters that it knows; another vocabulary changes durations, hardly their order
REFERENCE = 30 * 200 + 200 * LECTURE  # weights of that network


@dataclass(frozen=True)
class Use:
    """The reason for which a cell is trained."""

    condition: Condition
    kind: Literal["condition", "published", "twin"]


@dataclass(frozen=True)
class Plan:
    """All cells to be trained, and the conditions that use them."""

    uses: dict[Cell, tuple[Use, ...]]  # every distinct cell, in the order of the study
    stacks: tuple[Stack, ...]
    reasons: dict[Cell, str]  # why a cell is not trained by the fused engine

    @cached_property
    def engines(self) -> dict[Cell, Engine]:
        """The engine that trains each cell."""
        return {cell: stack.engine for stack in self.stacks for cell in stack.cells}

    def shards(self, done: Container[Cell] = ()) -> tuple[Stack, ...]:
        """The shards that are left, the longest first. Of a pair of twins both cells are done, or both are left."""
        left = []
        for stack in self.stacks:
            pairs = {cell.original for cell in stack.cells if cell.twin}
            kept = {
                cell
                for cell in stack.cells
                if cell not in done or (cell.original in pairs and not (cell.original in done and twin(cell) in done))
            }
            if kept:
                part = replace(stack, cells=tuple(cell for cell in stack.cells if cell in kept))
                left += split(part, SHARD[stack.engine])
        return tuple(sorted(left, key=lambda shard: -seconds(shard)))  # stable: equal ones keep the study's order

    def model_steps(self) -> int:
        """The number of SGD steps of all single models together."""
        return sum(cell.schedule.steps for cell in self.uses)


def plan_study(spec: Spec, engine: str = "auto", device: str = "cpu") -> Plan:
    """Plan every cell once, for all conditions that read it. Stacks are split by graph, schedule and engine only.

    A condition without a training has no cells.
    """
    uses: dict[Cell, tuple[Use, ...]] = {}

    def add(cell: Cell, use: Use) -> None:
        uses[cell] = (*uses.get(cell, ()), use)

    for condition in (c for c in spec.conditions if not c.untrained):
        for seed in spec.seeds[: condition.seeds]:
            add(Cell(condition.network, seed, "paired", condition.schedule), Use(condition, "condition"))
    if spec.published is not None:
        for run in spec.published.runs:
            cell = Cell(run.condition.network, spec.published.seed, spec.published.protocol, run.condition.schedule)
            add(cell, Use(run.condition, "published"))
    for condition, cell in twin_cells(spec):
        add(cell, Use(condition, "twin"))
    reasons = {cell: choose(cell, engine, device) for cell in uses}
    groups: dict[tuple[object, Schedule, Engine], list[Cell]] = {}
    for cell in uses:
        groups.setdefault((cell.network.graph, cell.schedule, reasons[cell][0]), []).append(cell)
    stacks = tuple(Stack(tuple(cells), key[2]) for key, cells in groups.items())
    return Plan(uses, stacks, {cell: reason for cell, (_, reason) in reasons.items() if reason})


def twin(cell: Cell) -> Cell:
    """The twin of a cell."""
    return replace(cell, twin=True)


def twin_cells(spec: Spec) -> list[tuple[Condition, Cell]]:
    """Both cells of every pair of twins, with the condition that they are twins of.

    The first seeds train as the condition does, the others for a few steps only.
    """
    if spec.twins is None:
        return []
    found = []
    for name in spec.twins.conditions:
        condition = spec.condition(name)
        for i, seed in enumerate(spec.seeds[: spec.twins.short_seeds]):
            schedule = condition.schedule
            if i >= spec.twins.seeds:
                schedule = schedule.first(spec.twins.short_steps)
            cell = Cell(condition.network, seed, "paired", schedule)
            found += [(condition, cell), (condition, twin(cell))]
    return found


def split(stack: Stack, size: int) -> list[Stack]:
    """Shards of at most `size` cells and of nearly equal size. A twin is never parted from its original."""
    pairs = {cell.original for cell in stack.cells if cell.twin}
    count, done = -(-len(stack.cells) // size), 0
    shards: list[list[Cell]] = [[] for _ in range(count)]
    for cell in stack.cells:
        if not cell.twin:
            unit = [cell, twin(cell)] if cell in pairs else [cell]
            shards[done * count // len(stack.cells)] += unit
            done += len(unit)
    return [replace(stack, cells=tuple(cells)) for cells in shards if cells]


def seconds(shard: Stack, vocabulary: int = LECTURE) -> float:
    """The expected seconds of a shard on one core, roughly: for the text of a plan, and to start the longest first."""
    network, schedule = shard.network, shard.schedule
    weights = sum(a * b for a, b in network.shapes(vocabulary))
    relative = 0.2 + 0.8 * weights / REFERENCE * schedule.batch_size / 32
    match shard.engine:
        case "autograd":  # launching small operations is shared by the models of a shard
            alone = 1 + 2.5 / len(shard.cells)
        case "fused":
            alone = 1
        case _:
            unknown(shard.engine)
    cost = MICROSECONDS[shard.engine, network.norm != "none"] * relative
    return cost * alone * schedule.steps * len(shard.cells) / 1e6


def makespan(shards: Sequence[Stack], workers: int, vocabulary: int = LECTURE) -> float:
    """The expected seconds of the shards on `workers` cores, the longest first, for so many characters."""
    loads = [0.0] * workers
    for shard in shards:
        loads[loads.index(min(loads))] += seconds(shard, vocabulary)
    return max(loads)
