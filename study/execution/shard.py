"""Train and measure one shard, in a worker process. Cells that the cache holds are not trained again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from study.data.examples import Dataset
from study.errors import unknown
from study.measurement.measure import measure_cell
from study.measurement.rows import Request, Rows
from study.training.autograd import Trainer
from study.training.cells import Cell, Stack
from study.training.loop import Training, train
from study.training.stacking import stackable
from study.training.trajectory import NEW, Lacking, Trajectory, boundaries

if TYPE_CHECKING:
    from study.execution.cache import Store

Progress = Callable[[int, float], None]  # (model-steps done, mean loss of the last block)


def train_shard(
    shard: Stack,
    data: Dataset,
    reading: Request,
    device: str = "cpu",
    report: Progress | None = None,
    store: Store | None = None,
) -> dict[Cell, Rows]:
    """Train the cells of a shard together, measure each cell by itself, and return the rows of every cell."""
    pauses = boundaries(shard.schedule, reading.measure)
    found: dict[Cell, Trajectory] = {}
    for cell in shard.cells:
        stored = None if store is None else store.trajectory(cell, shard.engine)
        found[cell] = stored or NEW
    wanted = list(parts(shard, found, pauses, data.vocabulary, device))
    done = shard.schedule.steps * len(shard.cells) - sum(gap.steps * len(part.cells) for part, gap in wanted)

    def keep(cell: Cell, trajectory: Trajectory) -> None:
        found[cell] = trajectory
        if store is not None:
            store.keep(cell, shard.engine, trajectory)

    for part, gap in wanted:
        before = [found[cell] for cell in part.cells]
        for steps, loss in train(part, trainer(part, data, device), gap, before, keep):
            done += steps * len(part.cells)
            if report is not None:
                report(done, loss)
    rows = {}
    for cell in shard.cells:
        rows[cell] = measure_cell(cell, found[cell], data, reading, found[cell.original] if cell.twin else None)
        if store is not None:
            store.keep_rows(cell, shard.engine, rows[cell])
    return rows


def parts(
    shard: Stack, found: dict[Cell, Trajectory], pauses: Iterable[int], vocabulary: int, device: str
) -> Iterator[tuple[Stack, Lacking]]:
    """The cells that are trained together: those with the same gap, unless stacking would change their bits here."""
    lacking: dict[Lacking, list[Cell]] = {}
    for cell in shard.cells:
        for gap in found[cell].gaps(pauses):
            lacking.setdefault(gap, []).append(cell)
    for gap in sorted(lacking):
        part = replace(shard, cells=tuple(lacking[gap]))
        match part.engine:
            case "fused":  # it trains one model after the other
                together = True
            case "autograd":
                together = stackable(part, vocabulary, device)
            case _:
                unknown(part.engine)
        if together:
            yield part, gap
        else:
            yield from ((replace(part, cells=(cell,)), gap) for cell in part.cells)


def trainer(part: Stack, data: Dataset, device: str) -> Training:
    """A trainer of the stack, of the engine that the plan names."""
    train, vocabulary = data.splits["train"], data.vocabulary
    match part.engine:
        case "fused":
            from study.training.fused import compiled
            from study.training.fused.trainer import FusedTrainer

            return FusedTrainer(part, train, vocabulary, compiled.train(), device)
        case "autograd":
            return Trainer(part, train, vocabulary, device)
        case _:
            unknown(part.engine)
