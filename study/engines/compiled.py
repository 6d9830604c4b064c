"""A stack of cells, trained by the fused engine: model after model, each in a buffer of its own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from study.data import Split
from study.engines.fused import train_block
from study.engines.layout import Layout
from study.model import Level, Params, Statistics, fresh_statistics, initialise
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
        self._buffers = [self._layout.pack(_arrays(params, running, m)) for m in range(len(stack.cells))]
        self._split = split
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

    def peek(self) -> tuple[Tensor, Tensor]:
        """The minibatch of the next step, X (M, batch, T) and Y (M, batch), without using it up."""
        self._draw(1)
        rows = torch.from_numpy(np.stack([rows[0] for rows in self._rows]).astype(np.int64))  # (M, batch)
        return self._split.X[rows], self._split.Y[rows]

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
        arrays = self._stacked()
        levels = []
        for number in range(1, len(self.stack.setup.layers) + 1):
            W, b, gain, bias = (arrays.get(f"{name}{number}") for name in ("W", "b", "bngain", "bnbias"))
            assert W is not None
            levels.append(Level(W, b, gain, bias))
        return Params(arrays["C"], tuple(levels))

    @property
    def running(self) -> Statistics:
        """Copies of the running statistics as they are now."""
        arrays = self._stacked()
        numbers = range(1, len(self.stack.setup.layers) + 1)
        return Statistics(
            tuple(arrays.get(f"mean{number}") for number in numbers),
            tuple(arrays.get(f"std{number}") for number in numbers),
        )

    def _stacked(self) -> dict[str, Tensor]:
        """Every array of all models, (M, rows, columns), by name."""
        models = [self._layout.unpack(buffer) for buffer in self._buffers]
        return {name: torch.from_numpy(np.stack([arrays[name] for arrays in models])) for name in models[0]}


def _arrays(params: Params, running: Statistics, m: int) -> dict[str, NDArray[np.float32]]:
    """Model m's parameters and running statistics by name, (rows, columns) each."""
    found = {name: tensor[m].numpy() for name, tensor in params.named()}
    for number, (mean, std) in enumerate(zip(running.mean, running.std, strict=True), start=1):
        if mean is not None and std is not None:
            found |= {f"mean{number}": mean[m].numpy(), f"std{number}": std[m].numpy()}
    return found
