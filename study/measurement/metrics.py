"""The registry of metrics: the name of each, its input and its reducer. Their order here is their order everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from study.errors import unknown
from study.measurement.reducers import All, Chunk, Extreme, Mean, Reducer, Spread
from study.network.activations import Activation
from study.network.layers import Layer
from study.network.mlp import Activations, LayerTrace

Needs = Literal["layer", "output", "gradient"]


@dataclass(frozen=True)
class Metric:
    """A metric: `measure` turns a chunk into values, and `reduce` turns the values of all chunks into the result."""

    name: str
    needs: Needs
    activations: tuple[Activation, ...]  # the activations of the layers to which it applies
    reduce: Callable[[], Reducer] | None
    measure: Callable[..., Tensor]


METRICS: dict[str, Metric] = {}


def metric(
    needs: Needs,
    reduce: Callable[[], Reducer] | None = None,
    activations: Iterable[Activation] = ("tanh", "relu", "linear"),
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a metric under the name of its function. Its label in the report is in labels.py."""

    def register(measure: Callable[..., Tensor]) -> Callable[..., Tensor]:
        name = measure.__name__
        METRICS[name] = Metric(name, needs, tuple(activations), reduce, measure)
        return measure

    return register


# -- of a hidden layer: (trace, layer) -> values ------------------------------------------------------------------


@metric("layer", Mean, activations=["tanh"])
def saturation_97(a: LayerTrace, layer: Layer) -> Tensor:
    """The share of units with |h| > 0.97, per example, (M, n)."""
    return _share(saturated(a, "0.97"))


@metric("layer", Mean, activations=["tanh"])
def saturation_99(a: LayerTrace, layer: Layer) -> Tensor:
    """The share of units with |h| > 0.99, per example, (M, n)."""
    return _share(saturated(a, "0.99"))


@metric("layer", All, activations=["tanh", "relu"])
def dead(a: LayerTrace, layer: Layer) -> Tensor:
    """Whether a unit passes (almost) no gradient: |h| > 0.99 for tanh, h = 0 for relu, (M, n, H)."""
    match layer.activation:
        case "tanh":
            return saturated(a, "0.99")
        case "relu":
            return a.h == 0
        case "linear":
            raise AssertionError("a linear unit passes every gradient")
        case _:
            unknown(layer.activation)


@metric("layer", Mean)
def gradient_pass(a: LayerTrace, layer: Layer) -> Tensor:
    """The mean local gradient of the activation over units, per example: 1 − h² for tanh, (M, n)."""
    match layer.activation:
        case "tanh":
            return 1 - a.h.to(torch.float64, copy=True).square_().mean(-1)
        case "relu":
            return _share(a.h > 0)
        case "linear":
            return _share(torch.ones_like(a.h, dtype=torch.bool))
        case _:
            unknown(layer.activation)


@metric("layer", lambda: Spread("mean"))
def preact_mean(a: LayerTrace, layer: Layer) -> Tensor:
    """The pre-activations, before the norm, (M, n, H)."""
    return a.preact


@metric("layer", lambda: Spread("std"))
def preact_std(a: LayerTrace, layer: Layer) -> Tensor:
    """The pre-activations, before the norm, (M, n, H)."""
    return a.preact


@metric("layer", lambda: Spread("std"))
def normed_std(a: LayerTrace, layer: Layer) -> Tensor:
    """The inputs of the activation: the pre-activations, normalised where the layer has a norm, (M, n, H)."""
    return a.z


@metric("layer", lambda: Spread("std"))
def h_std(a: LayerTrace, layer: Layer) -> Tensor:
    """The outputs of the activation, (M, n, H)."""
    return a.h


def _share(true: Tensor) -> Tensor:
    """The share of true entries along the last axis, float64."""
    # sums of ones are exact in float32 up to 2^24, and take a third of the time of count_nonzero
    return true.view(torch.uint8).float().sum(-1).double() / true.shape[-1]


# -- of the output: logits -> values ------------------------------------------------------------------------------


@metric("output", lambda: Extreme(torch.amin))
def logit_min(a: Activations) -> Tensor:
    """The logits, (M, n, V)."""
    return a.logits


@metric("output", lambda: Extreme(torch.amax))
def logit_max(a: Activations) -> Tensor:
    """The logits, (M, n, V)."""
    return a.logits


@metric("output", lambda: Spread("std"))
def logit_std(a: Activations) -> Tensor:
    """The logits, (M, n, V)."""
    return a.logits


@metric("output", Mean)
def entropy(a: Activations) -> Tensor:
    """The entropy of the prediction for each context, in nats, (M, n)."""
    log_p = F.log_softmax(a.logits.double(), dim=-1)
    entropies: Tensor = torch.special.entr(log_p.exp()).sum(-1)
    return entropies


# -- of one parameter and its gradient on the next minibatch: (p, gradient, lr) -> (M,) ----------------------------


@metric("gradient")
def grad_norm(p: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """The Euclidean norm of the gradient, (M,)."""
    norm: Tensor = torch.linalg.vector_norm(gradient.double().flatten(1), dim=1)
    return norm


@metric("gradient")
def grad_std(p: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """The standard deviation of the gradient's entries, (M,)."""
    return _std(gradient)


@metric("gradient")
def update_ratio(p: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """The log10 of std(lr · gradient) / std(parameter): about −3 in a healthy training (the lecture's rule), (M,)."""
    return (lr * _std(gradient) / _std(p)).log10()


def _std(p: Tensor) -> Tensor:
    """The standard deviation of a parameter's entries, NaN where it has a single entry, (M,)."""
    entries = p.double().flatten(1)
    return entries.std(1) if entries.shape[1] > 1 else entries[:, 0] * math.nan


def artanh(h: Decimal) -> Decimal:
    """The artanh ½ ln((1 + h) / (1 − h)), to the precision of the decimal context. It is infinite at ±1."""
    if abs(h) == 1:
        return h * Decimal("Infinity")
    return ((1 + h) / (1 - h)).ln() / 2


def not_below(exact: Decimal, dtype: torch.dtype) -> float:
    """The smallest number of `dtype` that is not below `exact`.

    A number of `dtype` reaches it exactly if it reaches `exact`.
    """
    nearest = torch.tensor(float(exact), dtype=dtype)
    if Decimal(float(nearest)) < exact:
        nearest = torch.nextafter(nearest, torch.tensor(math.inf, dtype=dtype))
    return float(nearest)


def saturated(a: LayerTrace, bound: str) -> Tensor:
    """Whether |h| > `bound`, "0.97" or "0.99", for a layer of tanh units, (M, n, H).

    The test is |z| > artanh(bound) on the input z of tanh, since the last bit of tanh depends on the CPU.
    """
    # NumPy compares four times as fast as torch, and a comparison has no rounding
    return torch.from_numpy(a.z.abs().numpy() >= _beyond(bound, a.z.dtype))


@cache
def _beyond(bound: str, dtype: torch.dtype) -> float:
    """The smallest number of `dtype` above artanh(bound), which is irrational, so that no number is equal to it."""
    with localcontext(prec=40):
        return not_below(artanh(Decimal(bound)), dtype)


def names(needs: Needs, layer: Layer | None = None) -> list[str]:
    """The names of the metrics of a kind, in order. Where `layer` is given, they are those that apply to it."""
    chosen = [m for m in METRICS.values() if m.needs == needs]
    if layer is None:
        return [m.name for m in chosen]
    match layer.activation:
        case "tanh" | "relu" | "linear":
            return [m.name for m in chosen if layer.activation in m.activations]
        case _:  # no metric names it, so all of them would be left out
            unknown(layer.activation)


def reducers(chosen: Iterable[str]) -> dict[str, Any]:
    """A new reducer for each of the metrics. The reducers that need the moments of one tensor share these."""
    found, chunk = {name: METRICS[name].reduce() for name in chosen}, Chunk()  # type: ignore[misc]
    for reducer in found.values():
        if isinstance(reducer, Spread):
            reducer.chunk = chunk
    return found
