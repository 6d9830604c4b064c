"""Train a stack of cells by the fused engine: model after model, each in a buffer of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.data.examples import Split
from study.network.inits import Facts
from study.network.mlp import Params, fresh_statistics, initialise, stacked
from study.network.model import arrays
from study.network.norms import Statistics
from study.rng import Minibatches, blocks, streams
from study.training.cells import Stack
from study.training.fused.block import train_block
from study.training.fused.layout import Layout


class FusedTrainer:
    """A stack in training, with the interface of `loop.Training`: advance, upcoming, restore, params and running."""

    def __init__(self, stack: Stack, split: Split, vocabulary: int, train: Any, device: str = "cpu") -> None:
        """Prepare the stack. `train` is the compiled loop (see `compiled.train`)."""
        assert device == "cpu", f"the fused engine runs on the CPU, got {device}"
        self.stack, self.step, self._train = stack, 0, train
        draws = [streams(cell.seed, cell.protocol) for cell in stack.cells]
        params = initialise(stack.setups, vocabulary, draws, twins=stack.twins, facts=Facts(split.targets))
        self._layout = Layout(stack.network, vocabulary)  # sizes and places alone, so that it serves the whole stack
        running = fresh_statistics(params, stack.network)
        self._buffers = [self._layout.pack(arrays(params, running, m)) for m in range(len(stack.cells))]
        self._X, self._Y = (t.numpy().astype(np.int32) for t in (split.X, split.Y))  # (N, T), (N,)
        self._minibatches = Minibatches(draws, len(split.Y), stack.schedule.batch_size)

    def upcoming(self) -> Tensor:
        """The minibatch of the next step, as rows of the training split, (M, batch). It is not used up."""
        return self._minibatches.upcoming()

    def restore(self, step: int, models: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        """Continue after `step` steps from the arrays of every model. The training must not have begun."""
        assert self.step == 0, "already begun"
        self._buffers = [self._layout.pack(dict(arrays)) for arrays in models]
        self._minibatches.skip(step)
        self.step = step

    def advance(self, until: int) -> Tensor:
        """Train to step `until`. Return the loss of every step taken, on its own minibatch, in nats, (M, steps)."""
        losses = []
        for steps in blocks(until - self.step, len(self._buffers) * self.stack.schedule.batch_size):
            drawn = self._minibatches.take(steps).numpy().astype(np.int32)  # (steps, M, batch)
            rates = np.array([self.stack.schedule.rate(self.step + i) for i in range(steps)], np.float32)
            loss = np.zeros((len(self._buffers), steps), np.float32)
            for m, buffer in enumerate(self._buffers):
                rows = np.ascontiguousarray(drawn[:, m])  # (steps, batch)
                train_block(self._layout, buffer, self._X, self._Y, rows, rates, loss[m], self._train)
            self.step += steps
            losses.append(torch.from_numpy(loss))
        return torch.cat(losses, dim=1) if losses else torch.empty((len(self._buffers), 0))

    @property
    def params(self) -> Params:
        """Copies of the current parameters, (M, …) each."""
        return self._stacked()[0]

    @property
    def running(self) -> Statistics:
        """Copies of the current running statistics, (M, 1, H) each."""
        return self._stacked()[1]

    def _stacked(self) -> tuple[Params, Statistics]:
        models = [self._layout.unpack(buffer) for buffer in self._buffers]
        return stacked(models, self.stack.network)
