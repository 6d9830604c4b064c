"""Measure stacked autograd on a GPU: model-steps per second, where the step of all models is one CUDA graph."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from benchmarks.work import Work, examples, training_split
from study.network.mlp import example_loss, forward, fresh_statistics, initialise
from study.rng import streams

MODELS = (100, 1000, 10_000)
MOMENTUM = 0.001  # of the lecture's running statistics
STEPS = 100  # the steps whose minibatches are on the device; they are repeated


class Graph:
    """Models in training whose step reads and writes fixed memory on the device, so that it can be captured once."""

    def __init__(self, work: Work, device: str = "cuda") -> None:
        stack, split, vocabulary = work.stack, training_split(), examples().vocabulary
        draws = [streams(cell.seed, cell.protocol) for cell in stack.cells]
        self.models, self.setup, self.lr = work.models, stack.network, work.schedule.rate(0)
        self.params = initialise(stack.setups, vocabulary, draws, device)
        self.running = fresh_statistics(self.params, stack.network)
        self.tensors = self.params.tensors()
        for tensor in self.tensors:
            tensor.requires_grad_()
        batch_size = work.schedule.batch_size
        rows = torch.stack([s.indices(len(split.Y), STEPS, batch_size) for s in draws], dim=1)
        self.X, self.Y, self.rows = split.X.to(device), split.Y.to(device), rows.to(device)  # rows (steps, M, batch)
        self.number = torch.zeros(1, dtype=torch.int64, device=device)  # the number of the next step
        self.share = torch.full((work.models, batch_size), 1 / batch_size, device=device)
        self.losses = torch.zeros(work.models, device=device)  # (M,), the losses of the last step, in nats
        self.graph: torch.cuda.CUDAGraph | None = None

    def step(self) -> None:
        """Take one SGD step of every model."""
        ix = self.rows.index_select(0, self.number % STEPS)[0]  # (M, batch)
        activations = forward(self.params, self.setup, self.X[ix])
        loss = example_loss(activations.logits, self.Y[ix])  # (M, batch)
        gradients = torch.autograd.grad(loss, self.tensors, self.share)
        with torch.no_grad():
            torch._foreach_add_(self.tensors, torch._foreach_mul(gradients, -self.lr))
            for i in self.setup.layers_with_statistics:
                layer = activations.layers[i]
                running, used = self.running[i], layer.statistics
                assert running is not None and used is not None
                for average, batch in ((running.mean, used.mean), (running.spread, used.spread)):
                    average.copy_((1 - MOMENTUM) * average + MOMENTUM * batch)
            self.losses.copy_(loss.detach().mean(1))
            self.number += 1

    def capture(self) -> None:
        """Capture the step, after a few steps on a stream of their own, since lazy setup must not be captured."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()

    def seconds(self, steps: int) -> float:
        """The duration of `steps` replays in seconds."""
        assert self.graph is not None, "capture() comes first"
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            self.graph.replay()
        torch.cuda.synchronize()
        return time.perf_counter() - start


def rows(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Rows of model-steps per second by norm and number of models. Without a GPU, a single row says so."""
    if not torch.cuda.is_available():
        return [row("none", None, [], "no CUDA device")]
    device = torch.cuda.get_device_name()
    return [measure(Work(norm, models), rounds, seconds, device) for norm in ("none", "batch") for models in MODELS]


def measure(work: Work, rounds: int, seconds: float, device: str) -> dict[str, Any]:
    """The row of one number of models. Where the memory of the GPU is too small for them, the row says so."""
    try:
        graph = Graph(work)
        graph.step()
        before = float(graph.losses.mean())
        graph.capture()
        steps = max(STEPS, round(seconds / graph.seconds(10) * 10))
        rates = [work.models * steps / graph.seconds(steps) for _ in range(rounds)]
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return row(work.norm, work.models, [], f"{device}: out of memory")
    after = float(graph.losses.mean())
    assert after < before, f"the mean loss of {work.models} models went from {before:.3f} to {after:.3f}"
    return row(work.norm, work.models, rates, device)


def row(norm: str, models: int | None, rates: list[float], note: str) -> dict[str, Any]:
    """A row of the results, with the median, low and high of the rates."""
    figures = [statistics.median(rates), min(rates), max(rates)] if rates else [None] * 3
    median, low, high = (None if f is None else float(f"{f:.4g}") for f in figures)
    return {
        "engine": "autograd, CUDA graph",
        "norm": norm,
        "models": models,
        "model_steps_per_second": median,
        "low": low,
        "high": high,
        "note": note,
    }
