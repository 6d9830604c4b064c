"""Trained parameters read under given BatchNorm statistics: losses, calibration. No gradient, no training.

Everything here works on the distinct contexts of a split, weighted by how often they occur, in chunks, with float64
sums: the figures are those of the full split, and memory does not grow with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from study.data import Split
from study.model import Params, Statistics, forward, fresh_statistics
from study.setup import Setup

CHUNK = 1_000_000  # numbers at once: contexts × units of all hidden levels, or × characters where those are more
SMALL_BATCH_EPS = 1e-5  # identical contexts in a batch of two have std 0


def chunks(split: Split, setup: Setup) -> Iterator[tuple[Tensor, Tensor]]:
    """Distinct contexts X (n, T), counts of what follows (n, V) float64: pieces that fit the memory at any size."""
    size = chunk_size(setup, split.vocabulary)
    for start in range(0, len(split.distinct[0]), size):
        yield split.piece(start, start + size)


def chunk_size(setup: Setup, vocabulary: int) -> int:
    """Contexts per piece."""
    return max(32, CHUNK // max(sum(setup.widths), vocabulary))


class Moments:
    """Weighted mean and spread over examples, merged chunk by chunk (Chan, Golub and LeVeque 1983), in float64."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0.0, torch.zeros(()), torch.zeros(())

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in values (M, n, …), seen `weights` (n,) times each."""
        x = values.double()
        w = weights.view(1, -1, *(1,) * (x.dim() - 2))  # (1, n, 1 …)
        n = float(weights.sum())
        mean = (w * x).sum(1, keepdim=True) / n  # (M, 1, …)
        squares = (w * (x - mean) ** 2).sum(1, keepdim=True)
        self._merge(n, mean, squares)

    def _merge(self, n: float, mean: Tensor, squares: Tensor) -> None:
        if self.n == 0:
            self.n, self.mean, self.squares = n, mean, squares
            return
        total, gap = self.n + n, mean - self.mean
        self.squares = self.squares + squares + gap**2 * (self.n * n / total)
        self.mean = self.mean + gap * (n / total)
        self.n = total

    def std(self, correction: int = 1) -> Tensor:
        """Standard deviation over the examples, unbiased variance unless `correction` is 0. (M, 1, …)"""
        return (self.squares / (self.n - correction)).sqrt()


def _partial(params: Params, setup: Setup) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Statistics to be filled in from the first normed level to the last."""
    blank = fresh_statistics(params, setup)
    return list(blank.mean), list(blank.std)


@torch.no_grad()
def calibrate(params: Params, setup: Setup, split: Split) -> Statistics:
    """Mean and std of every normed level's pre-activation over the whole split, (M, 1, H): the split as one batch.

    The lecture's definition: unbiased std, no eps. Level after level, each fed by levels that use the statistics just
    measured. PyTorch's recipe (fvcore's precise_bn) averages the statistics of minibatches instead.
    """
    mean, std = _partial(params, setup)
    for i in setup.normed:
        moments = Moments()
        for X, counts in chunks(split, setup):
            level = forward(params, setup, X, Statistics(tuple(mean), tuple(std))).levels[i]
            moments.add(level.preact, counts.sum(1))
        mean[i], std[i] = moments.mean.float(), moments.std().float()
    return Statistics(tuple(mean), tuple(std))


@torch.no_grad()
def batch_statistics(params: Params, setup: Setup, X: Tensor, size: int) -> Statistics:
    """Mean and std over consecutive batches of `size` contexts of X (n, T), repeated for every example. (M, n, H)"""
    if size < 2:
        raise ValueError(f"a batch of {size} has no standard deviation; batch statistics need 2 examples or more")
    assert len(X) % size == 0, f"{len(X)} contexts do not fill batches of {size}"
    mean, std = _partial(params, setup)
    for i in setup.normed:
        preact = forward(params, setup, X, Statistics(tuple(mean), tuple(std)), SMALL_BATCH_EPS).levels[i].preact
        batches = preact.unflatten(1, (-1, size))  # (M, n / size, size, H)
        mean[i] = batches.mean(2).repeat_interleave(size, dim=1)
        std[i] = batches.std(2).repeat_interleave(size, dim=1)
    return Statistics(tuple(mean), tuple(std))


def negative_log_likelihood(logits: Tensor, counts: Tensor) -> Tensor:
    """Summed loss of examples given as counts (n, V), in nats, float64. (M,), from logits (M, n, V)"""
    log_p = F.log_softmax(logits, dim=-1).double()
    # a character that never follows costs nothing, even where its probability has underflowed to 0
    return -torch.where(counts > 0, log_p * counts, 0.0).sum((1, 2))


@torch.no_grad()
def split_loss(
    params: Params, setup: Setup, split: Split, statistics: Statistics | None = None, eps: float = 0.0
) -> Tensor:
    """Mean loss over a whole split under `statistics`, in nats, float64. (M,)"""
    if setup.normed and statistics is None:
        raise ValueError("a model with BatchNorm is read under given statistics: running, calibrated, the split's own")
    total = torch.zeros(len(params.C), dtype=torch.float64)
    for X, counts in chunks(split, setup):
        total += negative_log_likelihood(forward(params, setup, X, statistics, eps).logits, counts)
    return total / len(split.Y)


@torch.no_grad()
def small_batch_loss(params: Params, setup: Setup, X: Tensor, Y: Tensor, size: int) -> Tensor:
    """Mean loss of X (n, T), Y (n,) when every batch of `size` is normalised by its own statistics, float64. (M,)"""
    step = size * max(1, chunk_size(setup, params.C.shape[1]) // size)
    total = torch.zeros(len(params.C), dtype=torch.float64)
    for start in range(0, len(X), step):
        x, y = X[start : start + step], Y[start : start + step]
        logits = forward(params, setup, x, batch_statistics(params, setup, x, size), SMALL_BATCH_EPS).logits
        total += negative_log_likelihood(logits, F.one_hot(y, logits.shape[-1]).double())
    return total / len(X)
