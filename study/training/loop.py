"""Turn a stack in training into trajectories: the loop around a trainer pauses, keeps states and writes checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from study.network.model import Parameters, arrays
from study.network.norms import Statistics
from study.rng import blocks
from study.training.cells import Cell, Stack
from study.training.trajectory import Lacking, State, Trajectory

BLOCK = 1000  # steps between two reports of progress; fewer where minibatches are large
CHECKPOINT = 20.0  # seconds of training between two checkpoints

Keep = Callable[[Cell, Trajectory], None]


class Training(Protocol):
    """A stack in training by any engine: the interface of a trainer that the loop uses."""

    step: int  # SGD steps taken

    @property
    def params(self) -> Parameters:
        """The current parameters, (M, …) each. They must not be written."""

    @property
    def running(self) -> Statistics:
        """The current running statistics, (M, 1, H) each. They must not be written."""

    def upcoming(self) -> Tensor:
        """The minibatch of the next step, as rows of the training split, (M, batch). It is not used up."""

    def restore(self, step: int, models: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        """Continue after `step` steps from the arrays of every model. The training must not have begun."""

    def advance(self, until: int) -> Tensor:
        """Train to step `until`. Return the loss of every step taken, on its own minibatch, in nats, (M, steps)."""


def train(
    part: Stack, training: Training, gap: Lacking, before: Sequence[Trajectory], keep: Keep
) -> Iterator[tuple[int, float]]:
    """Train the cells of `part` through a gap in their trajectories `before`; yield (steps, mean loss) per block.

    `keep` is called with each cell and its trajectory, every CHECKPOINT seconds and at the end.
    """
    if gap.start:
        training.restore(gap.start, [known.at(gap.start).arrays for known in before])
    states: list[list[State]] = [[] for _ in part.cells]
    losses = [[known.losses[: gap.start]] for known in before]

    def here() -> list[State]:
        upcoming = training.upcoming().cpu().numpy()  # (M, batch)
        params, running = training.params, training.running
        return [State(training.step, arrays(params, running, m), upcoming[m]) for m in range(len(part.cells))]

    def hand_over(extra: Sequence[Sequence[State]]) -> None:
        for m, cell in enumerate(part.cells):
            losses[m] = [np.concatenate(losses[m])]
            keep(cell, before[m].joined((*states[m], *extra[m]), losses[m][0]))

    kept = time.monotonic()
    for pause in gap.pauses:
        for steps in blocks(pause - training.step, len(part.cells) * part.schedule.batch_size, BLOCK):
            loss = training.advance(training.step + steps).cpu()  # (M, steps)
            for m, one in enumerate(loss.numpy()):
                losses[m].append(one)
            yield steps, float(loss.nanmean())
            if training.step < pause and time.monotonic() - kept > CHECKPOINT:
                hand_over([[state] for state in here()])
                kept = time.monotonic()
        for m, state in enumerate(here()):
            states[m].append(state)
    hand_over([()] * len(part.cells))
