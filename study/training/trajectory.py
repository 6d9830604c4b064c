"""What a training leaves behind: its state at every pause, and the loss of every step; as bytes, without pickle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from study.training.cells import Schedule

Arrays = dict[str, NDArray[np.float32]]  # parameters and running statistics by name, (rows, columns) each


def boundaries(schedule: Schedule, measure: tuple[int, ...]) -> dict[int, bool]:
    """Steps at which training pauses -> whether everything is measured there; 1, 2, 5, 10 … for the gradients alone."""
    traced = {m * 10**e for e in range(10) for m in (1, 2, 5)}
    full = set(schedule.measured(measure))
    return {step: step in full for step in sorted(full | traced) if step <= schedule.steps}


@dataclass(frozen=True)
class State:
    """A model between two steps."""

    step: int  # SGD steps taken
    arrays: Arrays
    upcoming: NDArray[np.int64]  # (batch,), rows of the training split: the minibatch of the next step


@dataclass(frozen=True, order=True)
class Lacking:
    """A stretch of a training in which states are lacking."""

    start: int  # steps taken at the nearest state before; 0 where there is none: the training begins
    pauses: tuple[int, ...]  # where there is to be a state, ascending; training ends at the last

    @property
    def steps(self) -> int:
        """Steps to be trained."""
        return self.pauses[-1] - self.start


@dataclass(frozen=True)
class Trajectory:
    """One training so far. An unfinished one is a checkpoint: its last state is where the training goes on.

    Nothing that it holds is dropped: other studies of the same training pause, and measure, at other steps.
    """

    states: tuple[State, ...]  # by step; the last one is where it stands
    losses: NDArray[np.float32]  # (steps so far,), of every step on its own minibatch, nats

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return self.states[-1].step if self.states else 0

    @property
    def steps(self) -> frozenset[int]:
        """Where there is a state."""
        return frozenset(state.step for state in self.states)

    def at(self, step: int) -> State:
        """The state after `step` steps; KeyError where none was kept."""
        for state in self.states:
            if state.step == step:
                return state
        raise KeyError(step)

    def gaps(self, pauses: Iterable[int]) -> tuple[Lacking, ...]:
        """What has to be trained for a state at every pause: from the nearest state before each, no further."""
        found: dict[int, list[int]] = {}
        for pause in sorted(set(pauses) - self.steps):
            start = max((step for step in self.steps if step < pause), default=0)
            found.setdefault(start, []).append(pause)
        return tuple(Lacking(start, tuple(lacking)) for start, lacking in found.items())

    def joined(self, states: Iterable[State], losses: NDArray[np.float32]) -> Trajectory:
        """With these states, too, and with `losses`, those of every step before them, where they go further."""
        known = {state.step: state for state in (*self.states, *states)}
        return Trajectory(tuple(known[step] for step in sorted(known)), max(self.losses, losses, key=len))

    def encode(self) -> bytes:
        """As safetensors: `<step>/<name>` for the arrays of a state."""
        arrays: dict[str, Any] = {
            f"{state.step}/{name}": array for state in self.states for name, array in state.arrays.items()
        }
        arrays |= {f"{state.step}/upcoming": state.upcoming for state in self.states}
        return save({**arrays, "losses": self.losses})


NEW = Trajectory((), np.empty(0, np.float32))


def decode(content: bytes) -> Trajectory:
    """The trajectory in `content`; ValueError where it holds none."""
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    found: dict[int, dict[str, Any]] = {}
    for place, array in arrays.items():
        step, within, name = place.partition("/")
        if within:
            found.setdefault(int(step), {})[name] = array.copy()  # in memory of its own, and writable
    states = tuple(State(step, kept, kept.pop("upcoming")) for step, kept in sorted(found.items()))
    return Trajectory(states, arrays["losses"].copy())
