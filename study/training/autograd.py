"""Train a stack of cells: the SGD loop, by torch's autograd and nothing else.

The parameters are those of the lecture's loop, bit for bit, whatever else is in the stack. For this, bmm works on each
model by itself, C is gathered through flattened indices, and an update is a product, then a sum (`p += -lr * grad`),
never one fused multiply-add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.data.examples import Split
from study.network.inits import Facts
from study.network.model import Activations, Parameters
from study.network.norms import Statistics
from study.rng import Minibatches, blocks, streams
from study.training.cells import Stack

# The minibatches of this many steps are gathered together, of fewer steps where they are large. Any number gives the
# same bits.
AT_ONCE = 200


class Trainer:
    """A stack in training. `advance` trains it. Between the calls `params` and `running` may be read, not written."""

    def __init__(self, stack: Stack, split: Split, vocabulary: int, device: str = "cpu") -> None:
        self.stack, self.step = stack, 0
        draws = [streams(cell.seed, cell.protocol) for cell in stack.cells]
        self._model = stack.network.model.load()
        facts = Facts(split.targets)
        self.params: Parameters = self._model.initialise(stack.setups, vocabulary, draws, device, stack.twins, facts)
        self.running: Statistics = self._model.fresh_statistics(self.params, stack.network)
        self._X, self._Y = split.X.to(device), split.Y.to(device)  # (N, T), (N,)
        batch_size = stack.schedule.batch_size
        self._minibatches = Minibatches(draws, len(split.Y), batch_size)
        # (M, batch): the weight of each example in the mean of its minibatch
        self._share = torch.ones((len(stack.cells), batch_size), device=device) / batch_size
        # the layers that keep running statistics, and the momentum of each
        self._momenta = [
            (i, layer.norm_entry.momentum(layer.norm_settings))
            for i, layer in enumerate(stack.network.layers)
            if layer.norm_entry is not None and layer.needs_statistics
        ]
        self._parameters = self.params.tensors()
        for tensor in self._parameters:
            tensor.requires_grad_()

    def upcoming(self) -> Tensor:
        """The minibatch of the next step, as rows of the training split, (M, batch). It is not used up."""
        return self._minibatches.upcoming()

    def restore(self, step: int, models: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        """Continue after `step` steps from the arrays of every model. The training must not have begun."""
        assert self.step == 0, "already begun"
        params, running = self._model.stacked(models, self.stack.network, str(self._X.device))
        with torch.no_grad():
            for own, kept in zip(self.params.tensors(), params.tensors(), strict=True):
                own.copy_(kept)
        self.running = running
        self._minibatches.skip(step)
        self.step = step

    def advance(self, until: int) -> Tensor:
        """Train to step `until`. Return the loss of every step taken, on its own minibatch, in nats, (M, steps)."""
        losses = []
        for steps in blocks(until - self.step, self._share.numel() * self._X.shape[1], AT_ONCE):
            rows = self._minibatches.take(steps).to(self._X.device)
            X, Y = self._X[rows], self._Y[rows]  # (steps, M, batch, T), (steps, M, batch)
            # The rates are tensors, since foreach would make a tensor of a number again for every parameter.
            rates = torch.tensor([-self.stack.schedule.rate(self.step + i) for i in range(steps)], device=X.device)
            block = [self._sgd(*step) for step in zip(X.unbind(), Y.unbind(), rates.unbind(), strict=True)]
            losses.append(torch.stack(block).mean(2))  # (steps, M)
            self.step += steps
        M = len(self.stack.cells)
        return torch.cat(losses).T.contiguous() if losses else torch.empty((M, 0), device=self._X.device)

    def _sgd(self, X: Tensor, Y: Tensor, minus_lr: Tensor) -> Tensor:
        """Take one step of every model on its own X (M, batch, T), Y (M, batch), scaled by minus_lr ().

        Return the losses of the examples before the step, (M, batch).
        """
        activations = self._model.forward(self.params, self.stack.network, X)
        loss = self._model.example_loss(activations.logits, Y)  # (M, batch)
        # The models share no parameter, so that the gradient of the sum of their mean losses is each model's own.
        gradients = torch.autograd.grad(loss, self._parameters, self._share)
        with torch.no_grad():
            torch._foreach_mul_(gradients, minus_lr)
            torch._foreach_add_(self._parameters, gradients)
            self._update_running(activations)
        return loss.detach()

    def _update_running(self, activations: Activations) -> None:
        """Update the moving averages of the batches' mean and spread."""
        for i, momentum in self._momenta:
            running, used = self.running[i], activations.layers[i].statistics
            assert running is not None and used is not None
            for average, batch in ((running.mean, used.mean), (running.spread, used.spread)):
                average.mul_(1 - momentum).add_(momentum * batch)
