"""A stack of cells, trained by the fused engine: model after model, each in a buffer of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.data import Split
from study.engines.fused import train_block
from study.engines.layout import Layout
from study.model import Params, Statistics, arrays, fresh_statistics, initialise, stacked
from study.rng import streams
from study.setup import Stack

AT_ONCE = 1000  # steps whose minibatch rows are drawn together; any number gives the same bits


class FusedTrainer:
    """One stack in training, with the doors of `autograd.Trainer`: advance, peek, params, running."""

    def __init__(self, stack: Stack, split: Split, vocabulary: int, device: str = "cpu") -> None:
        assert device == "cpu", f"the fused engine runs on the CPU, got {device}"
        self.stack, self.step = stack, 0
        self._streams = [streams(cell.seed, cell.protocol) for cell in stack.cells]
        params = initialise(stack, vocabulary, self._streams)
        self._layout = Layout(stack.setup, vocabulary)  # sizes and places only, so it serves the whole stack
        running = fresh_statistics(params, stack.setup)
        self._buffers = [self._layout.pack(arrays(params, running, m)) for m in range(len(stack.cells))]
        self._X, self._Y = (t.numpy().astype(np.int32) for t in (split.X, split.Y))  # (N, T), (N,)
        none = np.empty((0, stack.training.batch_size), np.int32)
        self._rows = [none] * len(stack.cells)  # (steps, batch) at hand, per model

    def _draw(self, steps: int) -> None:
        """Have the rows of at least `steps` steps at hand, for every model."""
        missing = steps - len(self._rows[0])
        if missing > 0:
            high, batch_size = len(self._X), self.stack.training.batch_size
            drawn = [s.indices(high, missing, batch_size).numpy().astype(np.int32) for s in self._streams]
            self._rows = [np.concatenate(pair) for pair in zip(self._rows, drawn, strict=True)]

    def upcoming(self) -> Tensor:
        """Rows of the training split that make the minibatch of the next step, (M, batch), without using it up."""
        self._draw(1)
        return torch.from_numpy(np.stack([rows[0] for rows in self._rows]).astype(np.int64))  # (M, batch)

    def restore(self, step: int, models: Sequence[Mapping[str, NDArray[np.float32]]]) -> None:
        """Go on after `step` steps from the arrays of every model; only a training that has not begun can."""
        assert self.step == 0 and len(self._rows[0]) == 0, "already begun"
        self._buffers = [self._layout.pack(dict(arrays)) for arrays in models]
        for done in range(0, step, AT_ONCE):  # minibatches that were used
            for stream in self._streams:
                stream.indices(len(self._X), min(AT_ONCE, step - done), self.stack.training.batch_size)
        self.step = step

    def advance(self, until: int) -> Tensor:
        """Train to step `until`; the loss of every step taken, on its own minibatch, in nats. (M, steps)"""
        blocks = []
        while self.step < until:
            steps = min(until - self.step, AT_ONCE)
            self._draw(steps)
            rates = np.array([self.stack.training.rate(self.step + i) for i in range(steps)], np.float32)
            loss = np.zeros((len(self._buffers), steps), np.float32)
            for m, buffer in enumerate(self._buffers):
                rows = np.ascontiguousarray(self._rows[m][:steps])
                train_block(self._layout, buffer, self._X, self._Y, rows, rates, loss[m])
            self._rows = [rows[steps:] for rows in self._rows]
            self.step += steps
            blocks.append(torch.from_numpy(loss))
        return torch.cat(blocks, dim=1) if blocks else torch.empty((len(self._buffers), 0))

    @property
    def params(self) -> Params:
        """Copies of the parameters as they are now."""
        return self._stacked()[0]

    @property
    def running(self) -> Statistics:
        """Copies of the running statistics as they are now."""
        return self._stacked()[1]

    def _stacked(self) -> tuple[Params, Statistics]:
        models = [self._layout.unpack(buffer) for buffer in self._buffers]
        return stacked(models, len(self.stack.setup.layers))
