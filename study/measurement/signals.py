"""Read models in one forward pass over a split: the loss, and every registered metric of layers and output."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from study.measurement import metrics
from study.measurement.evaluate import models, negative_log_likelihood
from study.measurement.metrics import METRICS
from study.network.layers import Network
from study.network.model import Parameters
from study.network.norms import Statistics

Pieces = Iterable[
    tuple[Tensor, Tensor]
]  # contexts (n, T) and the counts (n, V) of what follows, as `chunks` gives them


@dataclass(frozen=True)
class Signals:
    """The numbers of a forward pass over a split, for M models."""

    loss: Tensor  # (M,) float64, the mean loss in nats
    values: dict[tuple[int | None, str], Tensor]  # (layer from 1, None for the output; metric) -> (M,)


@torch.no_grad()
def read_signals(params: Parameters, network: Network, pieces: Pieces, statistics: Statistics | None) -> Signals:
    """The loss of models of one graph over a split, and all metrics of their hidden layers and logits."""
    chosen = {i + 1: metrics.reducers(metrics.names("layer", layer)) for i, layer in enumerate(network.hidden)}
    of_output = metrics.reducers(metrics.names("output"))
    model, examples = network.model.load(), 0.0
    total = torch.zeros(models(params), dtype=torch.float64)
    for X, counts in pieces:
        weights = counts.sum(1)  # (n,)
        activations = model.forward(params, network, X, statistics)
        total += negative_log_likelihood(activations.logits, counts)
        examples += float(weights.sum())
        for number, reducers in chosen.items():
            trace, layer = activations.layers[number - 1], network.layers[number - 1]
            for name, reducer in reducers.items():
                reducer.add(METRICS[name].measure(trace, layer), weights)
        for name, reducer in of_output.items():
            reducer.add(METRICS[name].measure(activations), weights)
    found: dict[tuple[int | None, str], Tensor] = {
        (number, name): reducer.result() for number, reducers in chosen.items() for name, reducer in reducers.items()
    }
    return Signals(total / examples, found | {(None, name): reducer.result() for name, reducer in of_output.items()})
