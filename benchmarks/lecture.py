"""The lecture's loop by torch's autograd: one model at a time, with one operation per line."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.work import Minibatches, Work, examples, training_split
from study.network.mlp import initialise
from study.rng import streams


class Lecture:
    """Models with one hidden layer, trained one after another. There are several only where curves are compared."""

    block = 50

    def __init__(self, work: Work) -> None:
        network = work.network
        assert [layer.activation for layer in network.hidden] == ["tanh"], "the lecture's network has one tanh layer"
        self.model_steps, self.lr = float(work.models), work.schedule.rate(0)
        self.minibatches, self.split = Minibatches(work), training_split()
        self.normed = bool(network.layers_with_statistics)
        self.models = []
        for cell in work.stack.cells:
            alone = initialise([cell.network], examples().vocabulary, [streams(cell.seed, cell.protocol)])
            parameters = {name: tensor[0].clone().requires_grad_() for name, tensor in alone.named()}
            H = parameters["W1"].shape[1]
            running = {"mean": torch.zeros(1, H), "std": torch.ones(1, H)} if self.normed else {}
            self.models.append((parameters, running))

    def draw(self, steps: int) -> None:
        """Draw the minibatches of the next steps."""
        self.minibatches.draw(steps)

    def run(self, steps: int) -> NDArray[np.float32]:
        """Take the next steps, and return their losses in nats, (M, steps)."""
        rows = self.minibatches.take(steps)
        losses = [self._train(*model, rows[:, m]) for m, model in enumerate(self.models)]
        return np.array(losses, np.float32)

    def _train(self, parameters: dict[str, Tensor], running: dict[str, Tensor], rows: Tensor) -> list[float]:
        """Train one model on its rows (steps, batch), and return its losses."""
        X, Y, lr, normed = self.split.X, self.split.Y, self.lr, self.normed
        C, W1, W2, b2 = (parameters[name] for name in ("C", "W1", "W2", "b2"))
        trained, losses = list(parameters.values()), []
        for ix in rows:
            emb = C[X[ix]]  # (N, T, E)
            preact = emb.view(emb.shape[0], -1) @ W1  # (N, H)
            if normed:
                mean, std = preact.mean(0, keepdim=True), preact.std(0, keepdim=True)  # (1, H)
                preact = parameters["bngain1"] * (preact - mean) / std + parameters["bnbias1"]
                with torch.no_grad():
                    running["mean"] = 0.999 * running["mean"] + 0.001 * mean
                    running["std"] = 0.999 * running["std"] + 0.001 * std
            else:
                preact = preact + parameters["b1"]
            h = torch.tanh(preact)
            logits = h @ W2 + b2  # (N, V)
            loss = cross_entropy(logits, Y[ix])
            for p in trained:
                p.grad = None
            loss.backward()
            for p in trained:
                assert p.grad is not None
                p.data += -lr * p.grad
            losses.append(loss.item())
        return losses
