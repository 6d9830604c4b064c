"""The character-level MLP of Bengio et al. (2003), M models at once: a model behind the protocol of `model.py`.

The axes are M models, N examples, T characters of context, V characters of the vocabulary, E embedding size and H
width of a layer. The model axis is first and always there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from study.network.activations import in_torch
from study.network.inits import Facts, Init, Place
from study.network.layers import Layer, Network
from study.network.model import Activations, LayerTrace
from study.network.norms import LayerStatistics, Statistics
from study.rng import Streams


@dataclass(frozen=True)
class LayerParams:
    """The parameters of a layer."""

    W: Tensor  # (M, in, out)
    b: Tensor | None  # (M, 1, out); None: the layer has no bias
    norm: Mapping[str, Tensor]  # the parameters of the norm by name, such as bngain, (M, 1, out) each


@dataclass(frozen=True)
class Params:
    """The parameters: everything that SGD updates."""

    C: Tensor  # (M, V, E)
    layers: tuple[LayerParams, ...]

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, tensor), with the lecture's names: C, W1, b1, bngain1, bnbias1, W2, …"""
        yield "C", self.C
        for number, layer in enumerate(self.layers, start=1):
            yield f"W{number}", layer.W
            if layer.b is not None:
                yield f"b{number}", layer.b
            for name, tensor in layer.norm.items():
                yield f"{name}{number}", tensor

    def tensors(self) -> list[Tensor]:
        """The parameters in the order of named()."""
        return [tensor for _, tensor in self.named()]


def initialise(
    setups: Sequence[Network],
    vocabulary: int,
    streams: Sequence[Streams],
    device: str = "cpu",
    twins: Sequence[bool] = (),
    facts: Facts = Facts(),  # noqa: B008 (it is frozen)
) -> Params:
    """The parameters of models of one graph at step 0.

    There is a draw per model and parameter, in the order C, W1, b1, bngain1, …, W2, …, by the parameter's Init. `facts`
    are of the training split, for initialisers that look at it. In a twin, one weight of W1 is one unit in the last
    place larger.
    """

    def column(draws: list[Tensor]) -> Tensor:
        return torch.stack(draws).to(device)

    drawn: list[list[dict[str, Tensor]]] = []  # by model and layer
    embeddings = []
    for network, twin, random in zip(setups, twins or [False] * len(setups), streams, strict=True):
        assert network.embedding is not None, "an MLP has an embedding"
        C = Place("C", (vocabulary, network.embedding_size), vocabulary, network.embedding_size)
        embeddings.append(network.embedding.draw(random, C, facts))
        drawn.append(
            [
                _layer(layer, i + 1, fan_in, fan_out, random, facts)
                for i, (layer, (fan_in, fan_out)) in enumerate(
                    zip(network.layers, network.shapes(vocabulary), strict=True)
                )
            ]
        )
        if twin:  # the smallest possible difference, in one weight
            W = drawn[-1][0]["W"]
            W[0, 0] = torch.nextafter(W[0, 0], torch.tensor(torch.inf))
    layers = []
    for i in range(len(setups[0].layers)):
        own = {name: column([model[i][name] for model in drawn]) for name in drawn[0][i]}
        layers.append(LayerParams(own.pop("W"), own.pop("b", None), own))
    return Params(column(embeddings), tuple(layers))


def _layer(layer: Layer, number: int, fan_in: int, fan_out: int, streams: Streams, facts: Facts) -> dict[str, Tensor]:
    """The parameters of one layer of one model: W (in, out), and b and those of the norm, (1, out) each.

    A layer without a bias draws none.
    """

    def draw(name: str, init: Init, *shape: int) -> Tensor:
        return init.draw(streams, Place(f"{name}{number}", shape, fan_in, fan_out), facts)

    found = {"W": draw("W", layer.weight, fan_in, fan_out)}
    if layer.bias is not None:
        found["b"] = draw("b", layer.bias, fan_out).view(1, fan_out)
    for _, name, init in layer.norm_parameters:
        found[name] = draw(name, init, fan_out).view(1, fan_out)
    return found


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

    A layer that normalises over a batch takes its statistics from `statistics`, or from the batch X itself where they
    are None. With `batch`, every `batch` consecutive contexts are normalised as a batch of their own. With `depth`,
    only the first `depth` layers are computed.
    """
    x = embed(params.C, X)  # (M, N, T·E)
    layers = []
    for i, (own, layer) in enumerate(zip(params.layers[:depth], network.layers[:depth], strict=True)):
        preact = torch.bmm(x, own.W)  # (M, N, H)
        if own.b is not None:
            preact = preact + own.b
        z, used = normalise(preact, own, layer, None if statistics is None else statistics[i], batch)
        x = in_torch(layer.activation)(z)  # (M, N, H)
        layers.append(LayerTrace(preact, used, z, x))
    return Activations(tuple(layers))


def normalise(
    preact: Tensor, own: LayerParams, layer: Layer, given: LayerStatistics | None, batch: int | None
) -> tuple[Tensor, LayerStatistics | None]:
    """The pre-activations (M, N, H) after the layer's norm, if it has one, and the statistics that it used."""
    norm = layer.norm_entry
    if norm is None:
        return preact, None
    params, settings = {p.key: own.norm[p.name] for p in norm.parameters}, layer.norm_settings
    if batch is None or not norm.needs_statistics:
        return norm.normalise(preact, params, given, settings)
    if norm.in_batches is not None:
        return norm.in_batches(preact, params, batch, settings)
    M, N, H = preact.shape
    repeated = {key: tensor.repeat_interleave(N // batch, dim=0) for key, tensor in params.items()}  # (M·n, 1, H)
    z, used = norm.normalise(preact.view(-1, batch, H), repeated, None, settings)
    assert used is not None, f"{norm.name} returns the statistics of a batch"
    return z.view(M, N, H), replace(used, mean=used.mean.view(M, -1, H), spread=used.spread.view(M, -1, H))


def example_loss(logits: Tensor, Y: Tensor) -> Tensor:
    """The loss of every example in nats, (M, N), from logits (M, N, V) and Y (M, N)."""
    M, N, V = logits.shape
    return F.cross_entropy(logits.reshape(M * N, V), Y.reshape(M * N), reduction="none").view(M, N)


def cross_entropy(logits: Tensor, Y: Tensor) -> Tensor:
    """The mean loss of each model over its minibatch in nats, (M,), from logits (M, N, V) and Y (M, N)."""
    return example_loss(logits, Y).mean(1)


def fresh_statistics(params: Params, network: Network) -> Statistics:
    """The running statistics before the first step: mean 0 and std 1, (M, 1, H) per layer that has them."""
    found: list[LayerStatistics | None] = []
    for own, layer in zip(params.layers, network.layers, strict=True):
        if layer.norm_entry is None or not layer.needs_statistics:
            found.append(None)
            continue
        zeros = own.W.new_zeros((len(own.W), 1, own.W.shape[2]))
        found.append(LayerStatistics(zeros, torch.ones_like(zeros), layer.norm_entry.measure(layer.norm_settings)))
    return tuple(found)


def stacked(
    models: Sequence[Mapping[str, NDArray[np.float32]]], network: Network, device: str = "cpu"
) -> tuple[Params, Statistics]:
    """Stack the results of arrays() for several models of one graph: new tensors, (M, rows, columns) each."""

    def column(name: str) -> Tensor:
        return torch.stack([torch.from_numpy(model[name]) for model in models]).to(device)

    layers, running = list[LayerParams](), list[LayerStatistics | None]()
    for number, layer in enumerate(network.layers, start=1):
        norm = {name: column(f"{name}{number}") for _, name, _ in layer.norm_parameters}
        layers.append(LayerParams(column(f"W{number}"), column(f"b{number}") if layer.bias else None, norm))
        if layer.norm_entry is None or not layer.needs_statistics:
            running.append(None)
            continue
        measure = layer.norm_entry.measure(layer.norm_settings)
        running.append(LayerStatistics(column(f"mean{number}"), column(f"{measure}{number}"), measure))
    return Params(column("C"), tuple(layers)), tuple(running)
