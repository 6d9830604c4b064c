"""What a training leaves behind: its state at every pause, and the loss of every step; as bytes, without pickle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

Arrays = dict[str, NDArray[np.float32]]  # parameters and running statistics by name, (rows, columns) each


@dataclass(frozen=True)
class State:
    """A model between two steps."""

    step: int  # SGD steps taken
    arrays: Arrays
    upcoming: NDArray[np.int64]  # (batch,), rows of the training split: the minibatch of the next step


@dataclass(frozen=True)
class Trajectory:
    """One training so far. An unfinished one is a checkpoint: its last state is where the training goes on."""

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

    def covering(self, pauses: Iterable[int]) -> Trajectory:
        """The part before the first pause without a state: a training goes on from its end and misses none of them."""
        lacking = min((pause for pause in pauses if pause not in self.steps), default=None)
        if lacking is None:
            return self
        states = tuple(state for state in self.states if state.step < lacking)
        return Trajectory(states, self.losses[: states[-1].step if states else 0])

    def encode(self) -> bytes:
        """As safetensors: `<step>/<name>` for the arrays of a state."""
        arrays: dict[str, Any] = {
            f"{state.step}/{name}": array for state in self.states for name, array in state.arrays.items()
        }
        arrays |= {f"{state.step}/upcoming": state.upcoming for state in self.states}
        return save({**arrays, "losses": self.losses})


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
