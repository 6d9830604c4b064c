"""The trajectory of a training: its state at every pause and the loss of every step, also as bytes, without pickle."""

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
    """Steps at which training pauses -> whether everything is measured there.

    Where it is not (at steps 1, 2, 5, 10, …), the gradients alone are measured.
    """
    traced = {m * 10**e for e in range(10) for m in (1, 2, 5)}
    full = set(schedule.measured(measure))
    return {step: step in full for step in sorted(full | traced) if step <= schedule.steps}


@dataclass(frozen=True)
class State:
    """The state of a model between two steps."""

    step: int  # SGD steps taken
    arrays: Arrays
    upcoming: NDArray[np.int64]  # (batch,), the minibatch of the next step as rows of the training split


@dataclass(frozen=True, order=True)
class Lacking:
    """A section of a training in which states are lacking."""

    start: int  # steps taken at the nearest state before it; 0 where there is none, so that the training begins there
    pauses: tuple[int, ...]  # the steps at which a state is wanted, ascending; training ends at the last one

    @property
    def steps(self) -> int:
        """The number of steps to train."""
        return self.pauses[-1] - self.start


@dataclass(frozen=True)
class Trajectory:
    """A training so far. An unfinished one is a checkpoint: the training continues from its last state.

    No state is ever dropped, since other studies of the same training pause and measure at other steps.
    """

    states: tuple[State, ...]  # in the order of their steps
    losses: NDArray[np.float32]  # (steps so far,), the loss of every step on its own minibatch, nats

    @property
    def step(self) -> int:
        """The number of steps taken so far."""
        return self.states[-1].step if self.states else 0

    @property
    def steps(self) -> frozenset[int]:
        """The steps at which there is a state."""
        return frozenset(state.step for state in self.states)

    def at(self, step: int) -> State:
        """The state after `step` steps. KeyError: none was kept."""
        for state in self.states:
            if state.step == step:
                return state
        raise KeyError(step)

    def gaps(self, pauses: Iterable[int]) -> tuple[Lacking, ...]:
        """The sections to train so that there is a state at every pause, each from the nearest state before it."""
        found: dict[int, list[int]] = {}
        for pause in sorted(set(pauses) - self.steps):
            start = max((step for step in self.steps if step < pause), default=0)
            found.setdefault(start, []).append(pause)
        return tuple(Lacking(start, tuple(lacking)) for start, lacking in found.items())

    def joined(self, states: Iterable[State], losses: NDArray[np.float32]) -> Trajectory:
        """This trajectory with more states. `losses` has the loss of every step from the first one on.

        It takes the place of the losses here where it is longer.
        """
        known = {state.step: state for state in (*self.states, *states)}
        return Trajectory(tuple(known[step] for step in sorted(known)), max(self.losses, losses, key=len))

    def encode(self) -> bytes:
        """The trajectory as safetensors. The arrays of a state are named `<step>/<name>`."""
        arrays: dict[str, Any] = {
            f"{state.step}/{name}": array for state in self.states for name, array in state.arrays.items()
        }
        arrays |= {f"{state.step}/upcoming": state.upcoming for state in self.states}
        return save({**arrays, "losses": self.losses})


NEW = Trajectory((), np.empty(0, np.float32))


def decode(content: bytes) -> Trajectory:
    """The trajectory in `content`. ValueError: it holds none."""
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
