"""The stacked step under torch.compile: forward, gradient and update of all models as one compiled graph."""

from __future__ import annotations

import os
import shutil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.work import Minibatches, Work, examples, training_split
from study.network.layers import Network
from study.network.mlp import embed, initialise
from study.rng import streams

Named = dict[str, Tensor]


def missing() -> str | None:
    """The reason why torch.compile cannot work here, which needs a C++ compiler. None: it can."""
    compilers = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++", "c++"]
    return None if any(shutil.which(c) for c in compilers) else "no C++ compiler"


def make_step(network: Network, lr: float) -> Any:
    """The function step(params, running, X (M, batch, T), Y (M, batch)) -> losses (M,).

    It changes params and running in place.
    """

    def total(params: Named, X: Tensor, Y: Tensor) -> tuple[Tensor, tuple[Tensor, Named]]:
        M, N, _ = X.shape
        x = embed(params["C"], X)  # (M, N, T·E)
        moments: Named = {}
        for i, layer in enumerate(network.layers, 1):
            x = torch.bmm(x, params[f"W{i}"])  # (M, N, H)
            if layer.bias is not None:
                x = x + params[f"b{i}"]
            if layer.norm == "batch":
                mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True)  # (M, 1, H)
                x = params[f"bngain{i}"] * (x - mean) / std + params[f"bnbias{i}"]
                moments |= {f"mean{i}": mean, f"std{i}": std}
            else:
                assert layer.norm == "none", f"this peer does not know the norm {layer.norm}"
            x = {"tanh": torch.tanh, "relu": torch.relu, "linear": lambda t: t}[layer.activation](x)
        loss = cross_entropy(x.view(M * N, -1), Y.reshape(M * N), reduction="none").view(M, N).mean(1)  # (M,)
        return loss.sum(), (loss, moments)  # the models share no parameter: the sum has the gradient of each

    def step(params: Named, running: Named, X: Tensor, Y: Tensor) -> Tensor:
        gradients, (_, (loss, moments)) = torch.func.grad_and_value(total, has_aux=True)(params, X, Y)
        for name, tensor in params.items():
            tensor.add_(gradients[name], alpha=-lr)
        for name, tensor in running.items():
            tensor.copy_(0.999 * tensor + 0.001 * moments[name])
        return loss  # type: ignore[no-any-return]

    return step


class Inductor:
    """Models in training, whose stacked step under torch.compile is called once per step."""

    block = 50

    def __init__(self, work: Work) -> None:
        stack = work.stack
        self.model_steps, self.minibatches, self.split = float(work.models), Minibatches(work), training_split()
        self.shape = (work.models, work.schedule.batch_size)
        params = initialise(stack.setups, examples().vocabulary, [streams(c.seed, c.protocol) for c in stack.cells])
        self.params = dict(params.named())
        shape = {i + 1: params.layers[i].W[:, :1] for i in stack.network.layers_with_statistics}  # (M, 1, H)
        self.running = {f"mean{i}": torch.zeros_like(t) for i, t in shape.items()}
        self.running |= {f"std{i}": torch.ones_like(t) for i, t in shape.items()}
        self.step = make_step(stack.network, work.schedule.rate(0))

    def compile(self) -> None:
        """Compile the step by taking it once with copies."""
        # This setting is the fastest here: the compiled operations are called from C++, not from generated Python.
        self.step = torch.compile(self.step, fullgraph=True, dynamic=False, options={"cpp_wrapper": True})
        X, Y = (t[:1].expand(self.shape[0], self.shape[1], *t.shape[1:]).clone() for t in (self.split.X, self.split.Y))
        with torch.no_grad():
            self.step(*({name: t.clone() for name, t in named.items()} for named in (self.params, self.running)), X, Y)

    def draw(self, steps: int) -> None:
        """Draw the minibatches of the next steps."""
        self.minibatches.draw(steps)

    def run(self, steps: int) -> NDArray[np.float32]:
        """Take the next steps, and return their losses in nats, (M, steps)."""
        rows = self.minibatches.take(steps)
        X, Y = self.split.X[rows], self.split.Y[rows]  # (steps, M, batch, T), (steps, M, batch)
        with torch.no_grad():
            losses = [self.step(self.params, self.running, X[i], Y[i]) for i in range(steps)]
        return torch.stack(losses, dim=1).numpy()  # type: ignore[no-any-return]
