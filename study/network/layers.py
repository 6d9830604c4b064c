"""The records of a network: its layers, its sizes and the scales of its draws. They need no torch and no disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from study.codehash import Origin
from study.network.activations import ACTIVATIONS
from study.network.inits import Init
from study.network.model import MODELS, ModelKind
from study.network.norms import NORMS, Norm
from study.network.options import Written


@dataclass(frozen=True)
class Layer:
    """A layer: x @ weight + bias, then the norm, if there is one, then the activation."""

    weight: Init
    bias: Init | None
    norm: str = "none"  # the name of an entry of NORMS, or none
    activation: str = "tanh"  # the name of an entry of ACTIVATIONS
    norm_options: Written = ()  # those that are not at their defaults
    norm_inits: tuple[tuple[str, Init], ...] = ()  # (key of a parameter of the norm, initialiser), unless the default

    def __post_init__(self) -> None:
        assert self.norm == "none" or self.norm in NORMS, f"no norm {self.norm!r}"
        assert self.activation in ACTIVATIONS, f"no activation {self.activation!r}"

    @property
    def norm_entry(self) -> Norm | None:
        """The entry of the norm. None: the layer has no norm."""
        return None if self.norm == "none" else NORMS[self.norm]

    @property
    def norm_settings(self) -> Any:
        """The options of the norm."""
        assert self.norm_entry is not None, "a layer without a norm"
        options: Any = self.norm_entry.options
        return _settings(options, self.norm_options)

    @property
    def norm_parameters(self) -> tuple[tuple[str, str, Init], ...]:
        """The parameters of the norm: the key, the name and the initialiser of each."""
        chosen = dict(self.norm_inits)
        parameters = () if self.norm_entry is None else self.norm_entry.parameters
        return tuple((p.key, p.name, chosen.get(p.key, p.init)) for p in parameters)

    @property
    def norm_words(self) -> str:
        """The norm in words: `none`, `BatchNorm`, `LayerNorm (gain constant 0.1)`."""
        if self.norm_entry is None:
            return "none"
        options = [f"{name} {value}" for name, value in self.norm_options]
        inits = [f"{key} {init.words}" for key, init in self.norm_inits]
        return (
            f"{self.norm_entry.label} ({', '.join((*options, *inits))})" if options or inits else self.norm_entry.label
        )

    @property
    def needs_statistics(self) -> bool:
        """Whether the layer normalises over a batch, and therefore is read with given statistics."""
        return self.norm_entry is not None and self.norm_entry.needs_statistics


@lru_cache(maxsize=256)  # every forward pass asks for them
def _settings(options: Any, given: Written) -> Any:
    return options(**dict(given))


@dataclass(frozen=True)
class Network:
    """A network: its graph and its initialisation. With seed, protocol and schedule it determines a trained model."""

    context: int  # T, the characters that the network sees
    embedding_size: int  # E; 0 in a model without an embedding
    widths: tuple[int, ...]  # H of every hidden layer
    embedding: Init | None
    hidden: tuple[Layer, ...]
    output: Layer
    kind: str = "mlp"  # the name of an entry of MODELS

    def __post_init__(self) -> None:
        assert self.kind in MODELS, f"no model {self.kind!r}"
        assert self.embedding is not None or not self.model.layered, f"{self.model.label} has an embedding"

    @property
    def model(self) -> ModelKind:
        """The entry of the kind of model."""
        return MODELS[self.kind]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, the output layer last."""
        return (*self.hidden, self.output)

    def shapes(self, vocabulary: int) -> list[tuple[int, int]]:
        """The (fan_in, fan_out) of every layer's weight, the output layer last."""
        return self.model.shapes(self, vocabulary)

    @property
    def activation(self) -> str:
        """The activation of the first hidden layer, "none" where there is no hidden layer."""
        return self.hidden[0].activation if self.hidden else "none"

    @property
    def layers_with_statistics(self) -> tuple[int, ...]:
        """The indices of the layers that normalise over a batch, counted from 0."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.needs_statistics)

    @property
    def norm(self) -> str:
        """The norm of the layers that have one, "none" where no layer has one, and "several" where they differ."""
        found = {layer.norm for layer in self.layers if layer.norm != "none"}
        return "several" if len(found) > 1 else next(iter(found), "none")

    @property
    def least_batch(self) -> int:
        """The smallest minibatch with which the network trains."""
        return max((layer.norm_entry.least_batch for layer in self.layers if layer.norm_entry is not None), default=1)

    @property
    def inits(self) -> tuple[Init, ...]:
        """The initialisers of all parameters, the embedding's first."""
        of_layers = [
            (layer.weight, *([] if layer.bias is None else [layer.bias]), *(init for *_, init in layer.norm_parameters))
            for layer in self.layers
        ]
        embedding = () if self.embedding is None else (self.embedding,)
        return (*embedding, *(init for own in of_layers for init in own))

    @property
    def entries(self) -> dict[str, Origin]:
        """The entries of registries that the network uses, in words, and where each of them was made."""
        found = {f"model {self.kind}": self.model.origin}
        found |= {f"activation {layer.activation}": ACTIVATIONS[layer.activation].origin for layer in self.layers}
        found |= {f"norm {one.norm}": one.norm_entry.origin for one in self.layers if one.norm_entry is not None}
        return found | {f"initialiser {init.entry.key}": init.entry.origin for init in self.inits}

    @property
    def graph(self) -> tuple[object, ...]:
        """The properties that are equal in a stack: kind of model, sizes, norms, presence of biases, activations.

        Scales are free.
        """
        kinds = tuple(
            (layer.norm, layer.norm_options, layer.bias is not None, layer.activation) for layer in self.layers
        )
        return (self.kind, self.context, self.embedding_size, self.widths, kinds)
