"""The protocol of a model, and the kinds of models: each is an entry that knows everything about itself. No torch.

A model is a module, or an object, with the functions of `Model`. It trains and is read through them, whatever it is:
`mlp.py` is the character MLP, `bigram.py` a table of logits. The record of a network (`layers.Network`) names its kind,
and says how its parameters are drawn. The axes are M models, N examples, T characters of context, V characters of the
vocabulary and H width of a layer. A model that cannot stack several models has M = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from study.codehash import Origin, origin
from study.errors import check_name, refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from study.network.inits import Facts
    from study.network.layers import Network
    from study.network.norms import LayerStatistics, Statistics
    from study.rng import Streams


class Parameters(Protocol):
    """The parameters of M models: everything that SGD updates."""

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, tensor), (M, …) each, in an order that never changes."""

    def tensors(self) -> list[Tensor]:
        """The parameters in the order of named()."""


@dataclass(frozen=True)
class Named:
    """The parameters of a model that needs no more structure than a name for each."""

    by_name: Mapping[str, Tensor]  # (M, …) each

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, tensor) in the order of the mapping."""
        yield from self.by_name.items()

    def tensors(self) -> list[Tensor]:
        """The parameters in the order of named()."""
        return list(self.by_name.values())


@dataclass(frozen=True)
class LayerTrace:
    """The values of one layer in a forward pass: the named points at which it is read."""

    preact: Tensor  # (M, N, H), before the norm
    statistics: LayerStatistics | None  # those by which the norm normalised, (M, 1, H); (M, N / batch, H) in batches
    z: Tensor  # (M, N, H), the input of the activation
    h: Tensor  # (M, N, H), the output of the activation


@dataclass(frozen=True)
class Activations:
    """The values of all layers of the record in a forward pass, the output layer last."""

    layers: tuple[LayerTrace, ...]

    @property
    def logits(self) -> Tensor:
        """The output of the last layer, (M, N, V)."""
        return self.layers[-1].h


P = TypeVar("P", bound=Parameters)


class Model(Protocol[P]):
    """A kind of network with M models at once: what training and measuring ask of it. P is its type of parameters."""

    def initialise(
        self,
        setups: Sequence[Network],
        vocabulary: int,
        streams: Sequence[Streams],
        device: str = "cpu",
        twins: Sequence[bool] = (),
        facts: Facts = ...,
    ) -> P:
        """The parameters of models of one graph at step 0, drawn from the streams of each.

        In a twin, one weight of W1 is one unit in the last place larger. `facts` are of the training split.
        """

    def fresh_statistics(self, params: P, network: Network) -> Statistics:
        """The buffers before the first step, (M, 1, H) for every layer that has them."""

    def forward(
        self,
        params: P,
        network: Network,
        X: Tensor,
        statistics: Statistics | None = None,
        batch: int | None = None,
        depth: int | None = None,
    ) -> Activations:
        """The values of contexts X (M, N, T), or (N, T) where all models share them, at the points of every layer.

        A layer that normalises over a batch takes its statistics from `statistics`, or from the batch itself where
        they are None. With `batch`, every `batch` consecutive contexts are a batch of their own. With `depth`, the
        layers after the first `depth` may be left out.
        """

    def example_loss(self, logits: Tensor, Y: Tensor) -> Tensor:
        """The loss of every example in nats, (M, N), from logits (M, N, V) and Y (M, N)."""

    def stacked(
        self, models: Sequence[Mapping[str, NDArray[np.float32]]], network: Network, device: str = "cpu"
    ) -> tuple[P, Statistics]:
        """Stack the results of arrays() for several models of one graph: new tensors, (M, …) each."""


def arrays(params: Parameters, running: Statistics, m: int) -> dict[str, NDArray[np.float32]]:
    """Copies of the parameters and running statistics of model m by name, without the model axis."""
    tensors = dict(params.named())
    for number, own in enumerate(running, start=1):
        if own is not None:
            tensors |= {f"mean{number}": own.mean, f"{own.measure}{number}": own.spread}
    return {name: tensor.detach()[m].cpu().numpy().copy() for name, tensor in tensors.items()}


# -- the registry -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelKind:
    """A kind of model: the value of `model: {kind: …}` in a study file."""

    name: str
    label: str  # a noun with its article, for the page and for messages
    load: Callable[[], Model[Any]]  # torch is loaded here
    # (record, V) -> the (fan_in, fan_out) of the weight of every layer of the record, the output layer last
    shapes: Callable[[Network, int], list[tuple[int, int]]]
    layered: bool = True  # whether a study file gives it an embedding and hidden layers, and not the output alone
    context: int | None = None  # the characters that it sees, where this is not the study's to choose
    stacks: bool = True  # whether several models can be trained and read at once; otherwise M = 1
    origin: Origin = field(default_factory=lambda: origin(__name__), compare=False, repr=False)


MODELS: dict[str, ModelKind] = {}


def register(entry: ModelKind) -> ModelKind:
    """Make a kind of model known by its name. Raises SpecError for an entry that cannot serve."""
    check_name(entry, entry.name, MODELS)
    for part in (entry.load, entry.shapes):
        if not callable(part):
            raise refused(entry, f"load and shapes: expected a function, got {part!r:.60}")
    MODELS[entry.name] = entry
    return entry


# -- the entries ------------------------------------------------------------------------------------------------------


def _mlp() -> Model[Any]:
    from study.network import mlp

    return mlp


def _bigram() -> Model[Any]:
    from study.network import bigram

    return bigram


def _mlp_shapes(network: Network, vocabulary: int) -> list[tuple[int, int]]:
    return list(pairwise([network.context * network.embedding_size, *network.widths, vocabulary]))


register(ModelKind("mlp", "a character-level MLP", _mlp, _mlp_shapes))
register(
    ModelKind("bigram", "a bigram table", _bigram, lambda network, V: [(V, V)], layered=False, context=1),
)
