"""The character-level MLP of Bengio et al. (2003), M models at once: initialise() and forward().

The axes are M models, N examples, T characters of context, V characters of the vocabulary, E embedding size and H
width of a layer. The model axis is first and always there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from study.errors import unknown
from study.network.activations import Activation
from study.network.layers import Network
from study.rng import Streams

EPS = 1e-5  # for readings in batches of a few examples: identical contexts in a batch of two have std 0


@dataclass(frozen=True)
class LayerParams:
    """The parameters of a layer. A parameter that the network does not have is None."""

    W: Tensor  # (M, in, out)
    b: Tensor | None  # (M, 1, out)
    bngain: Tensor | None  # (M, 1, out)
    bnbias: Tensor | None  # (M, 1, out)


@dataclass(frozen=True)
class Params:
    """The parameters: everything that SGD updates."""

    C: Tensor  # (M, V, E)
    layers: tuple[LayerParams, ...]

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, tensor), with the lecture's names: C, W1, b1, bngain1, bnbias1, W2, …"""
        yield "C", self.C
        for number, layer in enumerate(self.layers, start=1):
            for name in ("W", "b", "bngain", "bnbias"):
                tensor = getattr(layer, name)
                if tensor is not None:
                    yield f"{name}{number}", tensor

    def tensors(self) -> list[Tensor]:
        """The parameters in the order of named()."""
        return [tensor for _, tensor in self.named()]


@dataclass(frozen=True)
class Statistics:
    """The mean that each layer with BatchNorm subtracts, and the std by which it divides; None for the other layers."""

    mean: tuple[Tensor | None, ...]  # (M, 1, H) per layer
    std: tuple[Tensor | None, ...]  # (M, 1, H) per layer


@dataclass(frozen=True)
class LayerTrace:
    """The values of one layer in a forward pass."""

    preact: Tensor  # (M, N, H), before the norm
    mean: Tensor | None  # (M, 1, H), which the norm subtracted; (M, N / batch, H) in batches
    std: Tensor | None  # (M, 1, H), by which the norm divided; (M, N / batch, H) in batches
    z: Tensor  # (M, N, H), the input of the activation
    h: Tensor  # (M, N, H), the output of the activation


@dataclass(frozen=True)
class Activations:
    """The values of all layers in a forward pass, the output layer last."""

    layers: tuple[LayerTrace, ...]

    @property
    def logits(self) -> Tensor:
        """The output of the last layer, (M, N, V)."""
        return self.layers[-1].h


def initialise(
    setups: Sequence[Network],
    vocabulary: int,
    streams: Sequence[Streams],
    device: str = "cpu",
    twins: Sequence[bool] = (),
) -> Params:
    """The parameters of models of one graph at step 0.

    There is a draw per model and parameter, in the order C, W1, b1, W2, …, scaled by the parameter's Init. In a twin,
    one weight of W1 is one unit in the last place larger.
    """

    def column(draws: list[Tensor]) -> Tensor:
        return torch.stack(draws).to(device)

    shared, twins = setups[0], twins or [False] * len(setups)
    embedding = (vocabulary, shared.embedding_size)
    C = column([s.embedding.apply(r.normal("C", embedding), vocabulary) for s, r in zip(setups, streams, strict=True)])
    layers = []
    for i, (fan_in, fan_out) in enumerate(shared.shapes(vocabulary)):
        kind = shared.layers[i]
        W, b = [], []
        for network, twin, random in zip(setups, twins, streams, strict=True):
            layer = network.layers[i]
            W.append(layer.weight.apply(random.normal(f"W{i + 1}", (fan_in, fan_out)), fan_in))
            if twin and i == 0:  # the smallest possible difference, in one weight
                W[-1][0, 0] = torch.nextafter(W[-1][0, 0], torch.tensor(torch.inf))
            if layer.bias is not None:  # a layer without a bias draws none
                b.append(layer.bias.apply(random.normal(f"b{i + 1}", (fan_out,)), fan_in).view(1, fan_out))
        bngain = bnbias = None
        match kind.norm:
            case "none":
                pass
            case "batch":
                bngain = torch.ones((len(setups), 1, fan_out), device=device)
                bnbias = torch.zeros_like(bngain)
            case _:
                unknown(kind.norm)
        layers.append(
            LayerParams(
                W=column(W),  # (M, in, out)
                b=column(b) if b else None,  # (M, 1, out)
                bngain=bngain,  # (M, 1, out)
                bnbias=bnbias,  # (M, 1, out)
            )
        )
    return Params(C, tuple(layers))


def embed(C: Tensor, X: Tensor) -> Tensor:
    """The concatenated embeddings of the contexts, (M, N, T·E), from C (M, V, E) and X (M, N, T) or (N, T)."""
    M, V, E = C.shape
    return C.view(M * V, E)[X + _offsets(M, V, C.device)].view(M, X.shape[-2], -1)


@lru_cache(maxsize=8)
def _offsets(M: int, V: int, device: torch.device) -> Tensor:
    """The first row of every model in the flattened C, (M, 1, 1)."""
    return torch.arange(0, M * V, V, device=device).view(M, 1, 1)


def forward(
    params: Params,
    network: Network,
    X: Tensor,
    statistics: Statistics | None = None,
    batch: int | None = None,
    depth: int | None = None,
) -> Activations:
    """The activations of contexts X (M, N, T), or (N, T) where all models share them.

    A layer with BatchNorm takes its mean and std from `statistics`, or from the batch X itself where they are None, by
    the lecture's definition: unbiased std and no eps. PyTorch's BatchNorm1d divides by √(biased variance + 1e-5)
    instead. With `batch`, every `batch` consecutive contexts are normalised as a batch of their own, and EPS is added
    to its variance. With `depth`, only the first `depth` layers are computed.
    """
    x = embed(params.C, X)  # (M, N, T·E)
    layers = []
    for i, (own, layer) in enumerate(zip(params.layers[:depth], network.layers[:depth], strict=True)):
        preact = torch.bmm(x, own.W)  # (M, N, H)
        if own.b is not None:
            preact = preact + own.b
        mean = std = None
        match layer.norm:
            case "none":
                normed = preact
            case "batch":
                assert own.bngain is not None and own.bnbias is not None
                if batch is not None:
                    normed, mean, std = _in_batches(preact, batch, own.bngain, own.bnbias)
                elif statistics is None:
                    mean, std = preact.mean(1, keepdim=True), preact.std(1, keepdim=True)  # (M, 1, H)
                else:
                    mean, std = statistics.mean[i], statistics.std[i]
                if batch is None:
                    assert mean is not None and std is not None
                    normed = own.bngain * (preact - mean) / std + own.bnbias  # (M, N, H)
            case _:
                unknown(layer.norm)
        x = activate(normed, layer.activation)  # (M, N, H)
        layers.append(LayerTrace(preact, mean, std, normed, x))
    return Activations(tuple(layers))


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Apply the activation to every entry of x. The result has the shape of x."""
    match activation:
        case "tanh":
            return torch.tanh(x)
        case "relu":
            return torch.relu(x)
        case "linear":
            return x
        case _:
            unknown(activation)


def example_loss(logits: Tensor, Y: Tensor) -> Tensor:
    """The loss of every example in nats, (M, N), from logits (M, N, V) and Y (M, N)."""
    M, N, V = logits.shape
    return F.cross_entropy(logits.reshape(M * N, V), Y.reshape(M * N), reduction="none").view(M, N)


def cross_entropy(logits: Tensor, Y: Tensor) -> Tensor:
    """The mean loss of each model over its minibatch in nats, (M,), from logits (M, N, V) and Y (M, N)."""
    return example_loss(logits, Y).mean(1)


def _in_batches(preact: Tensor, size: int, gain: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise every `size` examples of preact (M, N, H) by their own mean and std.

    Return the result (M, N, H), and the means and stds, (M, N / size, H) each. The deviations from the mean serve for
    the std and for the result, since torch's own std takes twenty times as long along this axis.
    """
    batches = preact.unflatten(1, (-1, size))  # (M, N / size, size, H)
    mean = batches.mean(2, keepdim=True)
    gaps = batches - mean
    variance = gaps.square().sum(2, keepdim=True) / (size - 1)
    scale = gain.unsqueeze(2) / torch.sqrt(variance + EPS)  # (M, N / size, 1, H)
    return gaps.mul_(scale).add_(bias.unsqueeze(2)).flatten(1, 2), mean.squeeze(2), variance.sqrt().squeeze(2)


def fresh_statistics(params: Params, network: Network) -> Statistics:
    """The running statistics before the first step: mean 0 and std 1, (M, 1, H) per layer with BatchNorm."""
    mean: list[Tensor | None] = []
    std: list[Tensor | None] = []
    for own, layer in zip(params.layers, network.layers, strict=True):
        match layer.norm:
            case "none":
                mean.append(None)
                std.append(None)
            case "batch":
                assert own.bngain is not None
                mean.append(torch.zeros_like(own.bngain))
                std.append(torch.ones_like(own.bngain))
            case _:
                unknown(layer.norm)
    return Statistics(tuple(mean), tuple(std))


def arrays(params: Params, running: Statistics, m: int) -> dict[str, NDArray[np.float32]]:
    """Copies of the parameters and running statistics of model m by name, (rows, columns) each."""
    tensors = dict(params.named())
    for number, (mean, std) in enumerate(zip(running.mean, running.std, strict=True), start=1):
        if mean is not None and std is not None:
            tensors |= {f"mean{number}": mean, f"std{number}": std}
    return {name: tensor.detach()[m].cpu().numpy().copy() for name, tensor in tensors.items()}


def stacked(
    models: Sequence[Mapping[str, NDArray[np.float32]]], layers: int, device: str = "cpu"
) -> tuple[Params, Statistics]:
    """Stack the results of arrays() for several models: new tensors, (M, rows, columns) each."""

    def column(name: str) -> Tensor | None:
        return (
            torch.stack([torch.from_numpy(model[name]) for model in models]).to(device) if name in models[0] else None
        )

    names = [tuple(f"{name}{number}" for name in ("W", "b", "bngain", "bnbias")) for number in range(1, layers + 1)]
    params = Params(column("C"), tuple(LayerParams(*map(column, layer)) for layer in names))  # type: ignore[arg-type]
    numbers = range(1, layers + 1)
    return params, Statistics(tuple(column(f"mean{n}") for n in numbers), tuple(column(f"std{n}") for n in numbers))
