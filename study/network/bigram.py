"""A bigram table of logits, M models at once: the row of the last character is the prediction, and there is no layer.

It is the smallest model behind the protocol of `model.py`. Its only parameter is W1 (M, V, V), which the lecture
multiplies by a one-hot character; here the row is looked up, so that no sum is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.network.inits import Facts, Place
from study.network.layers import Network
from study.network.mlp import embed
from study.network.mlp import example_loss as example_loss
from study.network.model import Activations, LayerTrace, Named
from study.network.norms import Statistics
from study.rng import Streams


def initialise(
    setups: Sequence[Network],
    vocabulary: int,
    streams: Sequence[Streams],
    device: str = "cpu",
    twins: Sequence[bool] = (),
    facts: Facts = Facts(),  # noqa: B008 (it is frozen)
) -> Named:
    """The tables at step 0, W1 (M, V, V). In a twin, one entry is one unit in the last place larger."""
    tables = []
    for network, twin, random in zip(setups, twins or [False] * len(setups), streams, strict=True):
        place = Place("W1", (vocabulary, vocabulary), vocabulary, vocabulary)
        W = network.output.weight.draw(random, place, facts)
        if twin:  # the smallest possible difference, in one weight
            W[0, 0] = torch.nextafter(W[0, 0], torch.tensor(torch.inf))
        tables.append(W)
    return Named({"W1": torch.stack(tables).to(device)})


def fresh_statistics(params: Named, network: Network) -> Statistics:
    """The buffers before the first step: there are none."""
    return (None,)


def forward(
    params: Named,
    network: Network,
    X: Tensor,
    statistics: Statistics | None = None,
    batch: int | None = None,
    depth: int | None = None,
) -> Activations:
    """The logits (M, N, V) of contexts X (M, N, T), or (N, T): the rows of W1 of their last characters."""
    logits = embed(params.by_name["W1"], X[..., -1:])  # (M, N, V)
    return Activations((LayerTrace(logits, None, logits, logits),))


def stacked(
    models: Sequence[Mapping[str, NDArray[np.float32]]], network: Network, device: str = "cpu"
) -> tuple[Named, Statistics]:
    """Stack the tables of several models: a new W1 (M, V, V)."""
    W1 = torch.stack([torch.from_numpy(model["W1"]) for model in models]).to(device)
    return Named({"W1": W1}), (None,)
