"""The lecture's training loop for one model, written out: the oracle of the stacked engine.

Any number of hidden layers, but one model at a time, no model axis, and every step of the recipe in plain sight.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from study.network.inits import Init
from study.rng import streams
from study.training.cells import Cell


def scaled(init: Init, draw: Tensor, fan_in: int) -> Tensor:
    """A draw as the lecture scales it: randn(...) * std, or randn(...) * gain / fan_in**0.5."""
    return draw * init.std if init.gain is None else draw * init.gain / fan_in**0.5  # type: ignore[operator]


def train(cell: Cell, X: Tensor, Y: Tensor, vocabulary: int) -> tuple[dict[str, Tensor], list[float]]:
    """Parameters and running statistics after the cell's training on X (N, T), Y (N,), and the loss of every step."""
    network, g = cell.network, streams(cell.seed, cell.protocol)
    p: dict[str, Tensor] = {
        "C": scaled(network.embedding, g.normal("C", (vocabulary, network.embedding_size)), vocabulary)
    }
    running: dict[str, Tensor] = {}
    for i, (fan_in, fan_out) in enumerate(network.shapes(vocabulary), start=1):
        layer = network.layers[i - 1]
        p[f"W{i}"] = scaled(layer.weight, g.normal(f"W{i}", (fan_in, fan_out)), fan_in)
        if layer.bias is not None:
            p[f"b{i}"] = scaled(layer.bias, g.normal(f"b{i}", (fan_out,)), fan_in)
        if layer.norm == "batch":
            p[f"bngain{i}"], p[f"bnbias{i}"] = torch.ones((1, fan_out)), torch.zeros((1, fan_out))
            running[f"mean{i}"], running[f"std{i}"] = torch.zeros((1, fan_out)), torch.ones((1, fan_out))
    for tensor in p.values():
        tensor.requires_grad_()
    losses = []
    for step in range(cell.schedule.steps):
        ix = g.indices(len(X), 1, cell.schedule.batch_size)[0]
        emb = p["C"][X[ix]]
        x = emb.view(emb.shape[0], -1)
        for i, layer in enumerate(network.layers, start=1):
            preact = x @ p[f"W{i}"]
            if layer.bias is not None:
                preact = preact + p[f"b{i}"]
            if layer.norm == "batch":
                mean, std = preact.mean(0, keepdim=True), preact.std(0, keepdim=True)
                preact = p[f"bngain{i}"] * (preact - mean) / std + p[f"bnbias{i}"]
                with torch.no_grad():
                    running[f"mean{i}"] = 0.999 * running[f"mean{i}"] + 0.001 * mean
                    running[f"std{i}"] = 0.999 * running[f"std{i}"] + 0.001 * std
            x = {"tanh": torch.tanh, "relu": torch.relu, "linear": lambda t: t}[layer.activation](preact)
        loss = F.cross_entropy(x, Y[ix])
        for tensor in p.values():
            tensor.grad = None
        loss.backward()
        for tensor in p.values():
            assert tensor.grad is not None
            tensor.data += -cell.schedule.rate(step) * tensor.grad
        losses.append(loss.item())
    return {**{name: tensor.detach() for name, tensor in p.items()}, **running}, losses
