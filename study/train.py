"""A stack of cells, trained: the SGD loop by torch autograd and nothing else.

Bit for bit the lecture's loop, whatever else is in the stack: bmm works on each model by itself, C is gathered through
flattened indices, and an update is a product, then a sum (`p += -lr * grad`), never one fused multiply-add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.data import Split
from study.model import Activations, Params, Statistics, example_loss, forward, fresh_statistics, initialise, stacked
from study.rng import Minibatches, blocks, streams
from study.setup import Stack

MOMENTUM = 0.001  # of the lecture's running statistics
ENTRIES = 5000  # of a product that stackable compares at least: another kernel may change 1 in 200 of them, no more
AT_ONCE = 200  # steps whose minibatches are gathered together, fewer of large ones; any number gives the same bits


class Trainer:
    """One stack in training. `advance` moves it; between calls `params` and `running` may be read, never written."""

    def __init__(self, stack: Stack, split: Split, vocabulary: int, device: str = "cpu") -> None:
        self.stack, self.step = stack, 0
        draws = [streams(cell.seed, cell.protocol) for cell in stack.cells]
        self.params: Params = initialise(stack.setups, vocabulary, draws, device, stack.twins)
        self.running: Statistics = fresh_statistics(self.params, stack.setup)
        self._X, self._Y = split.X.to(device), split.Y.to(device)  # (N, T), (N,)
        batch_size = stack.training.batch_size
        self._minibatches = Minibatches(draws, len(split.Y), batch_size)
        # (M, batch): what each example counts in the mean of its minibatch
        self._share = torch.ones((len(stack.cells), batch_size), device=device) / batch_size
        self._parameters = self.params.tensors()
        for tensor in self._parameters:
            tensor.requires_grad_()

    def upcoming(self) -> Tensor:
        """Rows of the training split that make the minibatch of the next step, (M, batch), without using it up."""
        return self._minibatches.upcoming()

    def restore(self, step: int, models: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        """Go on after `step` steps from the arrays of every model; only a training that has not begun can."""
        assert self.step == 0, "already begun"
        params, running = stacked(models, len(self.stack.setup.layers), str(self._X.device))
        with torch.no_grad():
            for own, kept in zip(self.params.tensors(), params.tensors(), strict=True):
                own.copy_(kept)
        self.running = running
        self._minibatches.skip(step)
        self.step = step

    def advance(self, until: int) -> Tensor:
        """Train to step `until`; the loss of every step taken, on its own minibatch, in nats. (M, steps)"""
        losses = []
        for steps in blocks(until - self.step, self._share.numel() * self._X.shape[1], AT_ONCE):
            rows = self._minibatches.take(steps).to(self._X.device)
            X, Y = self._X[rows], self._Y[rows]  # (steps, M, batch, T), (steps, M, batch)
            # as tensors: foreach turns a number into one for every parameter
            rates = torch.tensor([-self.stack.training.rate(self.step + i) for i in range(steps)], device=X.device)
            block = [self._sgd(*step) for step in zip(X.unbind(), Y.unbind(), rates.unbind(), strict=True)]
            losses.append(torch.stack(block).mean(2))  # (steps, M)
            self.step += steps
        M = len(self.stack.cells)
        return torch.cat(losses).T.contiguous() if losses else torch.empty((M, 0), device=self._X.device)

    def _sgd(self, X: Tensor, Y: Tensor, minus_lr: Tensor) -> Tensor:
        """One step of every model on its own X (M, batch, T), Y (M, batch), by minus_lr (); the losses before. (M, batch)"""
        activations = forward(self.params, self.stack.setup, X)
        loss = example_loss(activations.logits, Y)  # (M, batch)
        # the models share no parameter, so the gradient of the sum of their mean losses is each model's own
        gradients = torch.autograd.grad(loss, self._parameters, self._share)
        with torch.no_grad():
            torch._foreach_mul_(gradients, minus_lr)
            torch._foreach_add_(self._parameters, gradients)
            self._update_running(activations)
        return loss.detach()

    def _update_running(self, activations: Activations) -> None:
        """Exponential moving average of the batches' mean and std: the lecture averages the std, not the variance."""
        for i in self.stack.setup.normed:
            level = activations.levels[i]
            for average, batch in ((self.running.mean[i], level.mean), (self.running.std[i], level.std)):
                assert average is not None and batch is not None
                average.mul_(1 - MOMENTUM).add_(MOMENTUM * batch)


def stackable(stack: Stack, vocabulary: int, device: str = "cpu") -> bool:
    """Whether a batched product of this stack's shapes gives each model the bits that it gets alone, on this machine.

    It does for all but small odd shapes (a batch of 5 into a width of 7, say), where the BLAS picks another kernel by
    the address of a model's matrix. Such stacks are trained model by model; the numbers are the same either way.
    """
    M, N = len(stack.cells), stack.training.batch_size
    if M == 1 or device != "cpu":
        return True
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    for fan_in, fan_out in stack.setup.shapes(vocabulary):
        smallest = M * min(N * fan_in, N * fan_out, fan_in * fan_out)
        for _ in range(min(-(-ENTRIES // smallest), 200)):
            x, W, g = normal(M, N, fan_in), normal(M, fan_in, fan_out), normal(M, N, fan_out)
            # the products of a level: forward, for its input's gradient, for its weight's gradient
            for a, b in ((x, W), (g, W.transpose(1, 2)), (x.transpose(1, 2), g)):
                together = torch.bmm(a, b)
                for m in range(M):
                    # the transposes stay views, as they are in autograd; the clones lie where memory of their own lies
                    alone = torch.bmm(_copy(a, m), _copy(b, m))
                    if not torch.equal(together[m : m + 1], alone):
                        return False
    return True


def _copy(stacked: Tensor, m: int) -> Tensor:
    """Model m in memory of its own, in the same layout."""
    part = stacked[m : m + 1]
    return part.clone() if part.is_contiguous() else part.transpose(1, 2).clone().transpose(1, 2)
