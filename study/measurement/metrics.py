"""Registry of measurements: name, what each needs, how its chunks combine. Order here is order everywhere."""

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
    """One measurement: `measure` turns a chunk into values, `reduce` turns the chunks' values into the figure."""

    name: str
    needs: Needs
    activations: tuple[Activation, ...]  # of the levels that it applies to
    reduce: Callable[[], Reducer] | None
    measure: Callable[..., Tensor]


METRICS: dict[str, Metric] = {}


def metric(
    needs: Needs,
    reduce: Callable[[], Reducer] | None = None,
    activations: Iterable[Activation] = ("tanh", "relu", "linear"),
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a measurement under its function's name; labels.py says how the report calls it."""

    def register(measure: Callable[..., Tensor]) -> Callable[..., Tensor]:
        name = measure.__name__
        METRICS[name] = Metric(name, needs, tuple(activations), reduce, measure)
        return measure

    return register


# -- of a hidden level: (level, layer) -> values ------------------------------------------------------------------


@metric("layer", Mean, activations=["tanh"])
def saturation_97(a: LayerTrace, layer: Layer) -> Tensor:
    """Share of units with |h| > 0.97, per example. (M, n)"""
    return _share(saturated(a, "0.97"))


@metric("layer", Mean, activations=["tanh"])
def saturation_99(a: LayerTrace, layer: Layer) -> Tensor:
    """Share of units with |h| > 0.99, per example. (M, n)"""
    return _share(saturated(a, "0.99"))


@metric("layer", All, activations=["tanh", "relu"])
def dead(a: LayerTrace, layer: Layer) -> Tensor:
    """Whether a unit passes (almost) no gradient: |h| > 0.99 for tanh, h = 0 for relu. (M, n, H)"""
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
    """Mean local gradient of the activation over units, per example: 1 − h² for tanh. (M, n)"""
    match layer.activation:
        case "tanh":
            return 1 - a.h.double().square().mean(-1)
        case "relu":
            return _share(a.h > 0)
        case "linear":
            return _share(torch.ones_like(a.h, dtype=torch.bool))
        case _:
            unknown(layer.activation)


@metric("layer", lambda: Spread("mean"))
def preact_mean(a: LayerTrace, layer: Layer) -> Tensor:
    """Pre-activations, before any norm. (M, n, H)"""
    return a.preact


@metric("layer", lambda: Spread("std"))
def preact_std(a: LayerTrace, layer: Layer) -> Tensor:
    """Pre-activations, before any norm. (M, n, H)"""
    return a.preact


@metric("layer", lambda: Spread("std"))
def normed_std(a: LayerTrace, layer: Layer) -> Tensor:
    """What the activation sees: the pre-activation, normalised where there is a norm. (M, n, H)"""
    return a.z


@metric("layer", lambda: Spread("std"))
def h_std(a: LayerTrace, layer: Layer) -> Tensor:
    """Outputs of the activation. (M, n, H)"""
    return a.h


def _share(true: Tensor) -> Tensor:
    """Share of true entries over the last axis, float64."""
    return true.count_nonzero(-1).double() / true.shape[-1]


# -- of the output: logits -> values ------------------------------------------------------------------------------


@metric("output", lambda: Extreme(torch.amin))
def logit_min(a: Activations) -> Tensor:
    """Logits. (M, n, V)"""
    return a.logits


@metric("output", lambda: Extreme(torch.amax))
def logit_max(a: Activations) -> Tensor:
    """Logits. (M, n, V)"""
    return a.logits


@metric("output", lambda: Spread("std"))
def logit_std(a: Activations) -> Tensor:
    """Logits. (M, n, V)"""
    return a.logits


@metric("output", Mean)
def entropy(a: Activations) -> Tensor:
    """Entropy of the prediction for each context, in nats. (M, n)"""
    log_p = F.log_softmax(a.logits.double(), dim=-1)
    entropies: Tensor = torch.special.entr(log_p.exp()).sum(-1)
    return entropies


# -- of one parameter and its gradient on the next minibatch: (p, gradient, lr) -> (M,) ----------------------------


@metric("gradient")
def grad_norm(p: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """Euclidean norm of the gradient. (M,)"""
    norm: Tensor = torch.linalg.vector_norm(gradient.double().flatten(1), dim=1)
    return norm


@metric("gradient")
def grad_std(p: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """Standard deviation of the gradient's entries. (M,)"""
    return _std(gradient)


@metric("gradient")
def update_ratio(p: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """log10 of std(lr · gradient) / std(parameter): about −3 in a healthy training (the lecture's rule). (M,)"""
    return (lr * _std(gradient) / _std(p)).log10()


def _std(p: Tensor) -> Tensor:
    """Standard deviation of a parameter's entries, NaN for a single one. (M,)"""
    entries = p.double().flatten(1)
    return entries.std(1) if entries.shape[1] > 1 else entries[:, 0] * math.nan


def artanh(h: Decimal) -> Decimal:
    """½ ln((1 + h) / (1 − h)) to the precision of the context; infinite at ±1."""
    if abs(h) == 1:
        return h * Decimal("Infinity")
    return ((1 + h) / (1 - h)).ln() / 2


def not_below(exact: Decimal, dtype: torch.dtype) -> float:
    """The smallest number of `dtype` that is not below `exact`: a number of `dtype` reaches the one if the other."""
    nearest = torch.tensor(float(exact), dtype=dtype)
    if Decimal(float(nearest)) < exact:
        nearest = torch.nextafter(nearest, torch.tensor(math.inf, dtype=dtype))
    return float(nearest)


def saturated(a: LayerTrace, bound: str) -> Tensor:
    """Where |h| > `bound`, "0.97" or "0.99", for a level of tanh units. (M, n, H)

    Asked of what tanh saw, as |z| > artanh(bound): the last bit of tanh, which depends on the CPU, decides nothing.
    """
    return a.z.abs() >= _beyond(bound, a.z.dtype)


@cache
def _beyond(bound: str, dtype: torch.dtype) -> float:
    """The smallest number of `dtype` above artanh(bound), which is irrational, so that nothing is equal to it."""
    with localcontext(prec=40):
        return not_below(artanh(Decimal(bound)), dtype)


def names(needs: Needs, layer: Layer | None = None) -> list[str]:
    """Names of the metrics of a kind, in order; those that apply to `layer` where one is given."""
    chosen = [m for m in METRICS.values() if m.needs == needs]
    if layer is None:
        return [m.name for m in chosen]
    match layer.activation:
        case "tanh" | "relu" | "linear":
            return [m.name for m in chosen if layer.activation in m.activations]
        case _:  # no metric names it, so all of them would be left out
            unknown(layer.activation)


def reducers(chosen: Iterable[str]) -> dict[str, Any]:
    """A fresh reducer for each of the metrics; those of one tensor's moments share them."""
    found, chunk = {name: METRICS[name].reduce() for name in chosen}, Chunk()  # type: ignore[misc]
    for reducer in found.values():
        if isinstance(reducer, Spread):
            reducer.chunk = chunk
    return found
