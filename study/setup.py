"""The records that say what a trained model is: Init, Layer, Setup, Training, Cell, Stack. No torch, no disk."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeVar

from study.errors import unknown

Activation = Literal["tanh", "relu", "linear"]
Norm = Literal["none", "batch"]
Statistics = Literal["none", "batch", "running", "calibrated"]
Protocol = Literal["paired", "lecture"]
Engine = Literal["autograd", "fused"]

# Recommended gains of torch.nn.init.calculate_gain, by activation; `study` computes with them before torch is imported.
GAINS: dict[str, float] = {"tanh": 5 / 3, "relu": math.sqrt(2), "linear": 1.0}

Array = TypeVar("Array")  # torch.Tensor or numpy.ndarray: whatever has * and /


@dataclass(frozen=True)
class Init:
    """The scale of a normal draw: a plain `std`, or `gain` / √fan_in (He et al. 2015). Exactly one is given."""

    std: float | None = None
    gain: float | None = None

    def __post_init__(self) -> None:
        assert (self.std is None) != (self.gain is None), f"Init takes std or gain: {self.std=} {self.gain=}"

    def apply(self, draw: Array, fan_in: int) -> Array:
        """draw · multiplier / divisor, in that order: one rounding each, as the lecture writes it."""
        multiplier, divisor = (self.std, 1.0) if self.gain is None else (self.gain, fan_in**0.5)
        return draw * multiplier / divisor  # type: ignore[operator, return-value]

    def scale(self, fan_in: int) -> float:
        """Standard deviation of the drawn parameter."""
        return self.apply(1.0, fan_in)


@dataclass(frozen=True)
class Layer:
    """One level: x @ weight + bias, normalised or not, through an activation."""

    weight: Init
    bias: Init | None
    norm: Norm = "none"
    activation: Activation = "tanh"

    @property
    def batch_norm(self) -> bool:
        """Whether the level has BatchNorm, and with it statistics that it is read under."""
        match self.norm:
            case "none":
                return False
            case "batch":
                return True
            case _:
                unknown(self.norm)


@dataclass(frozen=True)
class Setup:
    """All that makes a trained model different, apart from seed, protocol and schedule: its graph and its initialisation."""

    context: int  # T, characters seen
    embedding_size: int  # E
    widths: tuple[int, ...]  # H of every hidden level
    embedding: Init
    hidden: tuple[Layer, ...]
    output: Layer

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every level, the output layer last."""
        return (*self.hidden, self.output)

    def shapes(self, vocabulary: int) -> list[tuple[int, int]]:
        """(fan_in, fan_out) of every level's weight, the output layer last."""
        ends = [self.context * self.embedding_size, *self.widths, vocabulary]
        return list(pairwise(ends))

    @property
    def normed(self) -> tuple[int, ...]:
        """Indices of the levels with BatchNorm."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.batch_norm)

    @property
    def norm(self) -> Norm:
        """The norm of the levels that have one; none where no level has."""
        found: Norm = "none"
        for layer in self.layers:
            match layer.norm:
                case "none":
                    pass
                case "batch":
                    found = "batch"
                case _:
                    unknown(layer.norm)
        return found

    @property
    def graph(self) -> tuple[object, ...]:
        """What splits a stack: sizes, norms, presence of biases, activations. Every scale may differ within a stack."""
        kinds = tuple((layer.norm, layer.bias is not None, layer.activation) for layer in self.layers)
        return (self.context, self.embedding_size, self.widths, kinds)


def reading_at(statistics: Statistics, step: int) -> Statistics:
    """The statistics that a model is read with at a step: before the first one there are no running ones yet, so that
    it is calibrated."""
    match statistics:
        case "running":
            return "calibrated" if step == 0 else "running"
        case "none" | "calibrated" | "batch":
            return statistics
        case _:
            unknown(statistics)


@dataclass(frozen=True)
class Training:
    """A schedule of plain SGD: `lr` is ((first step, rate), …), the first of them at step 0."""

    batch_size: int
    steps: int
    lr: tuple[tuple[int, float], ...]

    def rate(self, step: int) -> float:
        """Learning rate in force at `step`."""
        return [rate for start, rate in self.lr if start <= step][-1]

    def first(self, steps: int) -> Training:
        """The same schedule, ended after `steps` steps."""
        steps = min(steps, self.steps)
        return Training(self.batch_size, steps, tuple((start, rate) for start, rate in self.lr if start < steps))


@dataclass(frozen=True)
class Cell:
    """One training: everything its numbers depend on, except the data."""

    setup: Setup
    seed: int
    protocol: Protocol
    training: Training
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
        kinds = {(cell.setup.graph, cell.training) for cell in self.cells}
        assert len(kinds) == 1, f"a stack holds one graph and one schedule, got {len(kinds)}"

    @property
    def setup(self) -> Setup:
        """A Setup with the graph that all cells share (its scales are the first cell's)."""
        return self.cells[0].setup

    @property
    def setups(self) -> list[Setup]:
        """The Setup of every model."""
        return [cell.setup for cell in self.cells]

    @property
    def twins(self) -> list[bool]:
        """Whether each model is a twin."""
        return [cell.twin for cell in self.cells]

    @property
    def training(self) -> Training:
        """The schedule that all cells share."""
        return self.cells[0].training
