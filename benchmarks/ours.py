"""The engines of the study: stacked autograd as the study runs it, and the fused engine on any number of threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from benchmarks.work import Minibatches, Work, examples, training_split
from study.execution.plan import SHARD, split
from study.network.mlp import fresh_statistics, initialise
from study.rng import streams
from study.training.autograd import Trainer
from study.training.engines import supported
from study.training.fused import compiled
from study.training.fused.block import train_block
from study.training.fused.layout import Layout


class Autograd:
    """Stacked autograd, in the shards that the study would make. The time includes that for drawing minibatches."""

    block = 50

    def __init__(self, work: Work) -> None:
        self.model_steps = float(work.models)
        shards = split(work.stack, SHARD["autograd"])
        self.trainers = [Trainer(shard, training_split(), examples().vocabulary) for shard in shards]

    def draw(self, steps: int) -> None:
        """Do nothing, since the trainers draw for themselves."""

    def run(self, steps: int) -> NDArray[np.float32]:
        """Take the next steps, and return their losses in nats, (M, steps)."""
        return np.concatenate([t.advance(t.step + steps).numpy() for t in self.trainers])


class Fused:
    """The fused engine: the models are shared among threads, each pinned to a core."""

    block = 1000  # as the study runs it: a thousand steps between two reports

    def __init__(self, work: Work, cores: Sequence[int] = ()) -> None:
        reason = supported(work.network)
        assert reason is None, reason
        self.model_steps, self.lr = float(work.models), work.schedule.rate(0)
        self.minibatches, self.layout = Minibatches(work), Layout(work.network, examples().vocabulary)
        self.X, self.Y = (t.numpy().astype(np.int32) for t in (training_split().X, training_split().Y))
        self.buffers, self.train = self._initial(work), compiled.train()
        self.pool = None
        if len(cores) > 1:
            places: SimpleQueue[int] = SimpleQueue()
            for core in cores:
                places.put(core)
            self.pool = ThreadPoolExecutor(len(cores), initializer=lambda: pin([places.get()]))

    def _initial(self, work: Work) -> list[NDArray[np.float32]]:
        """Pack a buffer per model, with the parameters from which every peer starts."""
        stack = work.stack
        params = initialise(stack.setups, self.layout.vocabulary, [streams(c.seed, c.protocol) for c in stack.cells])
        running = fresh_statistics(params, stack.network)
        arrays = {name: tensor.numpy() for name, tensor in params.named()}
        for i in stack.network.layers_with_statistics:
            own = running[i]
            assert own is not None
            arrays |= {f"mean{i + 1}": own.mean.numpy(), f"std{i + 1}": own.std.numpy()}
        return [self.layout.pack({name: a[m] for name, a in arrays.items()}) for m in range(work.models)]

    def draw(self, steps: int) -> None:
        """Draw the minibatches of the next steps."""
        self.minibatches.draw(steps)

    def run(self, steps: int) -> NDArray[np.float32]:
        """Take the next steps, and return their losses in nats, (M, steps)."""
        rows = self.minibatches.take(steps).numpy()  # (steps, M, batch)
        rates, losses = np.full(self.block, self.lr, np.float32), np.empty((len(self.buffers), steps), np.float32)

        def train(m: int) -> None:
            for start in range(0, steps, self.block):
                end = start + self.block
                indices = rows[start:end, m].astype(np.int32)
                train_block(
                    self.layout, self.buffers[m], self.X, self.Y, indices, rates, losses[m, start:end], self.train
                )

        for _ in map(train, range(len(losses))) if self.pool is None else self.pool.map(train, range(len(losses))):
            pass
        return losses


def pin(cores: Sequence[int]) -> None:
    """Pin the calling thread, or a process that has started no thread, to these cores. Only Linux can do this."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
