"""One shard, trained and measured: what runs in worker processes. What the cache holds is not trained again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from study.data import Dataset
from study.measure import measure
from study.model import arrays
from study.rng import blocks
from study.rows import Reading, Rows
from study.setup import Cell, Stack
from study.train import Trainer, stackable
from study.trajectory import NEW, Gap, State, Trajectory, boundaries

if TYPE_CHECKING:
    from study.cache import Store
    from study.engines.compiled import FusedTrainer

Report = Callable[[int, float], None]  # (model-steps done, mean loss of the last block)

BLOCK = 1000  # steps between two reports of progress, fewer of large minibatches
CHECKPOINT = 20.0  # seconds of training between two checkpoints


def train_shard(
    shard: Stack,
    data: Dataset,
    reading: Reading,
    device: str = "cpu",
    report: Report | None = None,
    store: Store | None = None,
) -> dict[Cell, Rows]:
    """Train the cells of a shard together and measure each by itself: the rows of every cell."""
    pauses = boundaries(shard.training, reading.measure)
    found: dict[Cell, Trajectory] = {}
    for cell in shard.cells:
        stored = None if store is None else store.trajectory(cell, shard.engine)
        found[cell] = stored or NEW
    wanted = list(parts(shard, found, pauses, data.vocabulary, device))
    done = shard.training.steps * len(shard.cells) - sum(gap.steps * len(part.cells) for part, gap in wanted)
    for part, gap in wanted:
        for steps, loss in train(part, gap, found, data, device, store):
            done += steps * len(part.cells)
            if report is not None:
                report(done, loss)
    rows = {}
    for cell in shard.cells:
        rows[cell] = measure(cell, found[cell], data, reading, found[cell.original] if cell.twin else None)
        if store is not None:
            store.keep_rows(cell, shard.engine, rows[cell])
    return rows


def parts(
    shard: Stack, found: dict[Cell, Trajectory], pauses: Iterable[int], vocabulary: int, device: str
) -> Iterator[tuple[Stack, Gap]]:
    """What is trained together: cells with the same gap, unless stacking would change their bits here."""
    lacking: dict[Gap, list[Cell]] = {}
    for cell in shard.cells:
        for gap in found[cell].gaps(pauses):
            lacking.setdefault(gap, []).append(cell)
    for gap in sorted(lacking):
        part = replace(shard, cells=tuple(lacking[gap]))
        if part.engine == "fused" or stackable(part, vocabulary, device):
            yield part, gap
        else:
            yield from ((replace(part, cells=(cell,)), gap) for cell in part.cells)


def trainer(part: Stack, data: Dataset, device: str) -> Trainer | FusedTrainer:
    """The stack in training, by the engine that it is planned for."""
    if part.engine == "fused":
        from study.engines.compiled import FusedTrainer

        return FusedTrainer(part, data.splits["train"], data.vocabulary, device)
    return Trainer(part, data.splits["train"], data.vocabulary, device)


def train(
    part: Stack, gap: Gap, found: dict[Cell, Trajectory], data: Dataset, device: str, store: Store | None = None
) -> Iterator[tuple[int, float]]:
    """Fill a gap in the trajectories in `found`; yields (steps, mean loss) after every block. A checkpoint every
    CHECKPOINT seconds, and one at the end."""
    training = trainer(part, data, device)
    before = [found[cell] for cell in part.cells]
    if gap.start:
        training.restore(gap.start, [known.at(gap.start).arrays for known in before])
    states: list[list[State]] = [[] for _ in part.cells]
    losses = [[known.losses[: gap.start]] for known in before]

    def here() -> list[State]:
        upcoming = training.upcoming().cpu().numpy()  # (M, batch)
        params, running = training.params, training.running
        return [State(training.step, arrays(params, running, m), upcoming[m]) for m in range(len(part.cells))]

    def keep(extra: Sequence[Sequence[State]]) -> None:
        for m, cell in enumerate(part.cells):
            losses[m] = [np.concatenate(losses[m])]
            found[cell] = before[m].joined((*states[m], *extra[m]), losses[m][0])
            if store is not None:
                store.keep(cell, part.engine, found[cell])

    kept = time.monotonic()
    for pause in gap.pauses:
        for steps in blocks(pause - training.step, len(part.cells) * part.training.batch_size, BLOCK):
            loss = training.advance(training.step + steps).cpu()  # (M, steps)
            for m, one in enumerate(loss.numpy()):
                losses[m].append(one)
            yield steps, float(loss.nanmean())
            if store is not None and training.step < pause and time.monotonic() - kept > CHECKPOINT:
                keep([[state] for state in here()])
                kept = time.monotonic()
        for m, state in enumerate(here()):
            states[m].append(state)
    keep([()] * len(part.cells))
