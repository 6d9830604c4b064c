"""The records of a network: its layers, its sizes and the scales of its draws. No torch, no disk."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from study.errors import unknown
from study.network.activations import Activation
from study.network.inits import Init
from study.network.norms import Norm


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
class Network:
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
    def batchnorm_layers(self) -> tuple[int, ...]:
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
