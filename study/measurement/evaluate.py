"""Read trained parameters with given BatchNorm statistics: losses and calibration, without gradients.

Every function works on the distinct contexts of a split, weighted by how often they occur, in chunks and with sums in
float64. The results are those of the full split, and memory does not grow with the split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from study.data.examples import Split
from study.network.layers import Network
from study.network.model import Activations, Parameters
from study.network.norms import LayerStatistics, Statistics

CHUNK = 250_000  # numbers per chunk: contexts × units of all hidden layers, or × characters where these are more


def chunks(split: Split, network: Network) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield distinct contexts X (n, T) and the counts of the characters that follow them, (n, V) float64, in chunks."""
    size = chunk_size(network, split.vocabulary)
    for start in range(0, len(split.distinct[0]), size):
        yield split.piece(start, start + size)


def chunk_size(network: Network, vocabulary: int) -> int:
    """The number of contexts per chunk."""
    return max(32, CHUNK // max(sum(network.widths), vocabulary))


def models(params: Parameters) -> int:
    """The number of models M."""
    return len(params.tensors()[0])


class Moments:
    """Weighted mean and sum of squared deviations over examples in float64, merged chunk by chunk.

    The rule that merges them is that of Chan, Golub and LeVeque (1983).
    """

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0.0, torch.zeros(()), torch.zeros(())

    @classmethod
    def of(cls, values: Tensor, weights: Tensor) -> Moments:
        """The moments of values (M, n, H), each of which occurs `weights` (n,) float64 times."""
        found, x = cls(), values.to(torch.float64, copy=True)
        found.n = float(weights.sum())
        found.mean = (weights @ x).unsqueeze(1) / found.n  # (M, 1, H)
        found.squares = (weights @ x.sub_(found.mean).square_()).unsqueeze(1)
        return found

    def add(self, other: Moments) -> None:
        """Add the moments of other examples."""
        if self.n == 0:
            self.n, self.mean, self.squares = other.n, other.mean, other.squares
            return
        total, gap = self.n + other.n, other.mean - self.mean
        self.squares = self.squares + other.squares + gap**2 * (self.n * other.n / total)
        self.mean = self.mean + gap * (other.n / total)
        self.n = total

    def std(self) -> Tensor:
        """The standard deviation over the examples, from the unbiased variance, (M, 1, H)."""
        return (self.squares / (self.n - 1)).sqrt()


@torch.no_grad()
def calibrate(params: Parameters, network: Network, split: Split) -> Statistics:
    """Mean and spread of the pre-activations of every layer that has statistics, over the whole split, (M, 1, H).

    The std is the unbiased one, also where a norm divides a batch by the biased one. The layers are measured one after
    another, and each gets its input from layers that use the statistics measured before. PyTorch's recipe (fvcore's
    precise_bn) averages the statistics of minibatches instead.
    """
    model = network.model.load()
    found = list(model.fresh_statistics(params, network))  # filled in from the first layer to the last
    for i in network.layers_with_statistics:
        blank = found[i]
        assert blank is not None
        moments = Moments()
        for X, counts in chunks(split, network):
            layer = model.forward(params, network, X, tuple(found), depth=i + 1).layers[i]
            moments.add(Moments.of(layer.preact, counts.sum(1)))
        found[i] = LayerStatistics.of(moments.mean.float(), moments.std().float(), blank.measure)
    return tuple(found)


@torch.no_grad()
def batch_statistics(params: Parameters, network: Network, X: Tensor, size: int) -> Statistics:
    """The statistics of consecutive batches of `size` contexts of X (n, T), repeated for every example, (M, n, H)."""
    used = [layer.statistics for layer in _in_batches(params, network, X, size).layers]
    return tuple(None if one is None else _for_every_example(one, size) for one in used)


def _for_every_example(batches: LayerStatistics, size: int) -> LayerStatistics:
    mean, spread = (t.repeat_interleave(size, dim=1) for t in (batches.mean, batches.spread))
    return replace(batches, mean=mean, spread=spread)


def _in_batches(params: Parameters, network: Network, X: Tensor, size: int) -> Activations:
    """The activations of X (n, T), where every `size` contexts are normalised by their own statistics.

    ValueError: a batch of one has no standard deviation.
    """
    if size < 2:
        raise ValueError(f"a batch of {size} has no standard deviation; batch statistics need 2 examples or more")
    assert len(X) % size == 0, f"{len(X)} contexts do not fill batches of {size}"
    return network.model.load().forward(params, network, X, batch=size)


def negative_log_likelihood(logits: Tensor, counts: Tensor) -> Tensor:
    """The summed loss of examples given as counts (n, V), in nats, (M,) float64, from logits (M, n, V)."""
    log_p = F.log_softmax(logits, dim=-1).double()
    # A character that never follows adds nothing, even where its probability has underflowed to 0.
    return -torch.where(counts > 0, log_p * counts, 0.0).sum((1, 2))


@torch.no_grad()
def split_loss(params: Parameters, network: Network, split: Split, statistics: Statistics | None = None) -> Tensor:
    """The mean loss over a whole split with `statistics`, in nats, (M,) float64.

    ValueError: the network normalises over a batch, and no statistics are given.
    """
    if network.layers_with_statistics and statistics is None:
        raise ValueError(
            "a model that normalises over a batch is read with given statistics: running, calibrated or the split's own"
        )
    model, total = network.model.load(), torch.zeros(models(params), dtype=torch.float64)
    for X, counts in chunks(split, network):
        total += negative_log_likelihood(model.forward(params, network, X, statistics).logits, counts)
    return total / len(split.Y)


@torch.no_grad()
def small_batch_loss(params: Parameters, network: Network, split: Split, size: int) -> Tensor:
    """The mean loss of a split where every `size` examples are normalised by their own statistics, in nats, (M,).

    The result is float64.
    """
    step = size * max(1, chunk_size(network, split.vocabulary) // size)
    total = torch.zeros(models(params), dtype=torch.float64)
    for start in range(0, len(split.X), step):
        x, y = split.X[start : start + step], split.Y[start : start + step]
        log_p = F.log_softmax(_in_batches(params, network, x, size).logits, dim=-1)  # (M, n, V)
        total -= log_p.gather(2, y.view(1, -1, 1).expand(len(log_p), -1, 1)).double().sum((1, 2))
    return total / len(split.X)
