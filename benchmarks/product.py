"""The limit of the arithmetic: the time that a large matrix product takes for the operations of one model-step."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.work import Work, examples, flops

SIZE = 1024  # of square matrices: large enough for full speed, small enough for several products per slice


class Product:
    """Single-precision products of square matrices, by torch or by NumPy, of which the faster one here is used."""

    block = 1

    def __init__(self, work: Work) -> None:
        operations = flops(work.network, examples().vocabulary, work.schedule.batch_size)
        self.model_steps = 2 * SIZE**3 / operations  # the number of model-steps with the operations of one product
        rng = np.random.default_rng(0)
        self.a, self.b = (rng.standard_normal((SIZE, SIZE), np.float32) for _ in range(2))
        self.library = min(("torch", "numpy"), key=self._seconds)

    def _seconds(self, library: str) -> float:
        """The shortest time of five products, after one that warms up."""
        self.library, durations = library, []
        for _ in range(6):
            start = time.perf_counter()
            self.run(1)
            durations.append(time.perf_counter() - start)
        return min(durations[1:])

    def draw(self, steps: int) -> None:
        """Do nothing, since a product needs no minibatches."""

    def run(self, steps: int) -> NDArray[np.float32]:
        """Compute the product `steps` times. There are no losses."""
        a, b = torch.from_numpy(self.a), torch.from_numpy(self.b)
        for _ in range(steps):
            if self.library == "torch":
                torch.mm(a, b)
            else:
                np.matmul(self.a, self.b)
        return np.empty((0, steps), np.float32)
