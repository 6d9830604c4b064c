"""The records of a network: its layers, its sizes and the scales of its draws. They need no torch and no disk."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from study.errors import unknown
from study.network.activations import Activation
from study.network.inits import Init
from study.network.norms import Norm


@dataclass(frozen=True)
class Layer:
    """A layer: x @ weight + bias, then the norm, if there is one, then the activation."""

    weight: Init
    bias: Init | None
    norm: Norm = "none"
    activation: Activation = "tanh"

    @property
    def batch_norm(self) -> bool:
        """Whether the layer has BatchNorm, and therefore is read with given statistics."""
        match self.norm:
            case "none":
                return False
            case "batch":
                return True
            case _:
                unknown(self.norm)


@dataclass(frozen=True)
class Network:
    """A network: its graph and its initialisation. With seed, protocol and schedule it determines a trained model."""

    context: int  # T, the characters that the network sees
    embedding_size: int  # E
    widths: tuple[int, ...]  # H of every hidden layer
    embedding: Init
    hidden: tuple[Layer, ...]
    output: Layer

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, the output layer last."""
        return (*self.hidden, self.output)

    def shapes(self, vocabulary: int) -> list[tuple[int, int]]:
        """The (fan_in, fan_out) of every layer's weight, the output layer last."""
        ends = [self.context * self.embedding_size, *self.widths, vocabulary]
        return list(pairwise(ends))

    @property
    def batchnorm_layers(self) -> tuple[int, ...]:
        """The indices of the layers with BatchNorm, counted from 0."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.batch_norm)

    @property
    def norm(self) -> Norm:
        """The norm of the layers that have one; "none" where no layer has one."""
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
        """The properties that are equal in a stack: sizes, norms, presence of biases, activations. Scales are free."""
        kinds = tuple((layer.norm, layer.bias is not None, layer.activation) for layer in self.layers)
        return (self.context, self.embedding_size, self.widths, kinds)
