"""One shard, trained and measured: what runs in worker processes. What the cache holds is not trained again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from study.data import Dataset
from study.measure import boundaries, measure
from study.model import arrays
from study.rows import Reading, Rows
from study.setup import Cell, Stack
from study.train import Trainer, stackable
from study.trajectory import State, Trajectory

if TYPE_CHECKING:
    from study.cache import Store
    from study.engines.compiled import FusedTrainer

Report = Callable[[int, float], None]  # (model-steps done, mean loss of the last block)

BLOCK = 1000  # steps between two reports of progress
CHECKPOINT = 20.0  # seconds of training between two checkpoints
NEW = Trajectory((), np.empty(0, np.float32))


def train_shard(
    shard: Stack,
    data: Dataset,
    reading: Reading,
    device: str = "cpu",
    report: Report | None = None,
    store: Store | None = None,
) -> dict[Cell, Rows]:
    """Train the cells of a shard together and measure each by itself: the rows of every cell."""
    pauses = list(boundaries(shard.training, reading.measure))
    found: dict[Cell, Trajectory] = {}
    for cell in shard.cells:
        stored = None if store is None else store.trajectory(cell, shard.engine)
        found[cell] = (stored or NEW).covering(pauses)
    done = sum(trajectory.step for trajectory in found.values())
    for part in parts(shard, found, data.vocabulary, device):
        for steps, loss in train(part, found, data, pauses, device, store):
            done += steps * len(part.cells)
            if report is not None:
                report(done, loss)
    rows = {}
    for cell in shard.cells:
        rows[cell] = measure(cell, found[cell], data, reading, found[cell.original] if cell.twin else None)
        if store is not None:
            store.keep_rows(cell, shard.engine, rows[cell])
    return rows


def parts(shard: Stack, found: dict[Cell, Trajectory], vocabulary: int, device: str) -> Iterator[Stack]:
    """What is trained together: cells that stand at the same step, unless stacking would change their bits here."""
    for step in sorted({trajectory.step for trajectory in found.values()}):
        part = replace(shard, cells=tuple(cell for cell in shard.cells if found[cell].step == step))
        if step == shard.training.steps:
            continue
        if part.engine == "fused" or stackable(part, vocabulary, device):
            yield part
        else:
            yield from (replace(part, cells=(cell,)) for cell in part.cells)


def trainer(part: Stack, data: Dataset, device: str) -> Trainer | FusedTrainer:
    """The stack in training, by the engine that it is planned for."""
    if part.engine == "fused":
        from study.engines.compiled import FusedTrainer

        return FusedTrainer(part, data.splits["train"], data.vocabulary, device)
    return Trainer(part, data.splits["train"], data.vocabulary, device)


def train(
    part: Stack,
    found: dict[Cell, Trajectory],
    data: Dataset,
    pauses: Sequence[int],
    device: str,
    store: Store | None = None,
) -> Iterator[tuple[int, float]]:
    """Train from where the cells stand in `found`, which holds their trajectories at the end; yields (steps, mean loss)
    after every block. A checkpoint every CHECKPOINT seconds, and one at the end."""
    training = trainer(part, data, device)
    start = found[part.cells[0]].step
    if start:
        training.restore(start, [found[cell].states[-1].arrays for cell in part.cells])
    # a checkpoint's last state may lie between two pauses: it has served
    states = [[state for state in found[cell].states if state.step in pauses] for cell in part.cells]
    losses = [[found[cell].losses] for cell in part.cells]

    def here() -> list[State]:
        upcoming = training.upcoming().cpu().numpy()  # (M, batch)
        params, running = training.params, training.running
        return [State(training.step, arrays(params, running, m), upcoming[m]) for m in range(len(part.cells))]

    def keep(extra: Sequence[Sequence[State]]) -> None:
        for m, cell in enumerate(part.cells):
            losses[m] = [np.concatenate(losses[m])]
            found[cell] = Trajectory((*states[m], *extra[m]), losses[m][0])
            if store is not None:
                store.keep(cell, part.engine, found[cell])

    kept = time.monotonic()
    for pause in (pause for pause in pauses if pause >= start):
        while training.step < pause:
            before = training.step
            loss = training.advance(min(pause, before + BLOCK)).cpu()  # (M, steps)
            for m, one in enumerate(loss.numpy()):
                losses[m].append(one)
            yield training.step - before, float(loss.nanmean())
            if store is not None and training.step < pause and time.monotonic() - kept > CHECKPOINT:
                keep([[state] for state in here()])
                kept = time.monotonic()
        if pause > start or not states[0] or states[0][-1].step < pause:
            for m, state in enumerate(here()):
                states[m].append(state)
    keep([()] * len(part.cells))
