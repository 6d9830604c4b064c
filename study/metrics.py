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
from study.evaluate import Moments
from study.model import Activations, LevelActivations
from study.setup import Activation, Layer

Needs = Literal["level", "output", "gradient"]


@dataclass(frozen=True)
class Metric:
    """One measurement: `measure` turns a chunk into values, `reduce` turns the chunks' values into the figure."""

    name: str
    needs: Needs
    activations: tuple[Activation, ...]  # of the levels that it applies to
    reduce: Callable[[], Reducer] | None
    measure: Callable[..., Tensor]


class Reducer:
    """Chunks of values (M, n, …), seen weights (n,) times each, as one figure per model, (M,)."""

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in a chunk."""
        raise NotImplementedError

    def result(self) -> Tensor:
        """The figure. (M,)"""
        raise NotImplementedError


class Mean(Reducer):
    """Mean over examples of values (M, n), float64."""

    def __init__(self) -> None:
        self._total, self._n = torch.zeros((), dtype=torch.float64), 0.0

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in values (M, n)."""
        self._total = self._total + (values.double() * weights).sum(1)
        self._n += float(weights.sum())

    def result(self) -> Tensor:
        """(M,)"""
        return self._total / self._n


class All(Reducer):
    """Share of units for which values (M, n, H) are true on every example."""

    def __init__(self) -> None:
        self._all: Tensor | None = None

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in booleans (M, n, H); a context counts however often it occurs."""
        every = values.all(1)  # (M, H)
        self._all = every if self._all is None else self._all & every

    def result(self) -> Tensor:
        """(M,)"""
        assert self._all is not None, "no chunk was added"
        return self._all.double().mean(1)


class Extreme(Reducer):
    """Largest (or smallest) value over everything."""

    def __init__(self, pick: Callable[..., Tensor]) -> None:
        self._pick = pick
        self._value: Tensor | None = None

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in values (M, n, H)."""
        chunk = self._pick(values.flatten(1), 1)  # (M,)
        self._value = chunk if self._value is None else self._pick(torch.stack([self._value, chunk]), 0)

    def result(self) -> Tensor:
        """(M,)"""
        assert self._value is not None, "no chunk was added"
        return self._value.double()


class Chunk:
    """Moments of the newest chunk's tensors, each found once however many reducers ask for it."""

    def __init__(self) -> None:
        self._weights: Tensor | None = None
        self._known: list[tuple[Tensor, Moments]] = []

    def moments(self, values: Tensor, weights: Tensor) -> Moments:
        """Those of values (M, n, H), seen `weights` (n,) times each."""
        if weights is not self._weights:
            self._weights, self._known = weights, []
        for tensor, moments in self._known:
            if tensor is values:
                return moments
        moments = Moments.of(values, weights)
        self._known.append((values, moments))
        return moments


class Spread(Reducer):
    """Mean or std over examples and units together."""

    def __init__(self, what: Literal["mean", "std"]) -> None:
        self._what, self._moments = what, Moments()
        self.chunk = Chunk()

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in values (M, n, H)."""
        self._moments.add(self.chunk.moments(values, weights))

    def result(self) -> Tensor:
        """(M,)"""
        m, n = self._moments, self._moments.n
        mean = m.mean.flatten(1)  # (M, H), over examples
        if self._what == "mean":
            return mean.mean(1)
        # all units weigh the same, so the spread over everything is that within units and that between them
        return (m.squares.flatten(1).mean(1) / n + mean.var(1, correction=0)).sqrt()


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


@metric("level", Mean, activations=["tanh"])
def saturation_97(a: LevelActivations, layer: Layer) -> Tensor:
    """Share of units with |h| > 0.97, per example. (M, n)"""
    return _share(saturated(a, "0.97"))


@metric("level", Mean, activations=["tanh"])
def saturation_99(a: LevelActivations, layer: Layer) -> Tensor:
    """Share of units with |h| > 0.99, per example. (M, n)"""
    return _share(saturated(a, "0.99"))


@metric("level", All, activations=["tanh", "relu"])
def dead(a: LevelActivations, layer: Layer) -> Tensor:
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


@metric("level", Mean)
def gradient_pass(a: LevelActivations, layer: Layer) -> Tensor:
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


@metric("level", lambda: Spread("mean"))
def preact_mean(a: LevelActivations, layer: Layer) -> Tensor:
    """Pre-activations, before any norm. (M, n, H)"""
    return a.preact


@metric("level", lambda: Spread("std"))
def preact_std(a: LevelActivations, layer: Layer) -> Tensor:
    """Pre-activations, before any norm. (M, n, H)"""
    return a.preact


@metric("level", lambda: Spread("std"))
def normed_std(a: LevelActivations, layer: Layer) -> Tensor:
    """What the activation sees: the pre-activation, normalised where there is a norm. (M, n, H)"""
    return a.normed


@metric("level", lambda: Spread("std"))
def h_std(a: LevelActivations, layer: Layer) -> Tensor:
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


# -- histograms ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bins:
    """Bins from −reach to reach, equal in asinh(x / knee), or in x without a knee; one more at each end for the rest.

    With a knee they are fine around 0 and wide in the tails: logits of ±0.3 and of ±30 are both seen. A value is found
    among stored edges by comparison alone, so that no function whose last bit depends on the CPU decides where it is.
    For the same reason outputs of tanh are found by what tanh saw (`through`), among the artanh of the edges.
    """

    reach: float
    count: int
    knee: float | None = None
    through: Literal["", "tanh"] = ""

    def edges(self) -> list[float]:
        """count + 3 edges, the first −inf and the last inf."""
        return list(_edges(self))

    def bounds(self, dtype: torch.dtype) -> Tensor:
        """What values are compared with: the count + 1 finite edges (through tanh: their artanh), each as the smallest
        number of `dtype` that is not below it."""
        return _bounds(self, dtype)


def _inner(bins: Bins) -> list[Decimal]:
    """The count + 1 finite edges; those with a knee to 40 digits, since they are rounded once."""
    if bins.knee is None:
        return [Decimal(bins.reach * (2 * i / bins.count - 1)) for i in range(bins.count + 1)]
    with localcontext(prec=40):
        knee = Decimal(bins.knee)
        ratio = Decimal(bins.reach) / knee
        end = (ratio + (ratio * ratio + 1).sqrt()).ln()  # asinh
        places = [end * (2 * i - bins.count) / bins.count for i in range(bins.count + 1)]
        return [knee * (place.exp() - (-place).exp()) / 2 for place in places]  # sinh


@cache
def _edges(bins: Bins) -> tuple[float, ...]:
    return (-math.inf, *map(float, _inner(bins)), math.inf)


@cache
def _bounds(bins: Bins, dtype: torch.dtype) -> Tensor:
    exact = [Decimal(float(edge)) for edge in _inner(bins)]
    if bins.through:
        with localcontext(prec=40):
            exact = [artanh(edge) for edge in exact]
    return torch.tensor([not_below(edge, dtype) for edge in exact], dtype=dtype)


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


# fixed edges, so that histograms of seeds and chunks add up; tanh's outputs fill [−1, 1]
BINS = {
    "preact": Bins(40, 160, knee=2.0),
    "h": Bins(1, 80, through="tanh"),
    "h unbounded": Bins(40, 160, knee=2.0),
    "logits": Bins(100, 200, knee=0.5),
}


class Histogram:
    """Counts (count + 2,) float64 of all values of one model, streamed."""

    def __init__(self, bins: Bins) -> None:
        self.bins = bins
        self.counts = torch.zeros(bins.count + 2, dtype=torch.float64)

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in values (n, H), each row seen `weights` (n,) times: h, or what tanh saw where the bins are `through`
        it. NaN are left out."""
        bounds = self.bins.bounds(values.dtype)
        index = torch.bucketize(values, bounds, right=True)  # (n, H), 0: below the first edge
        index.masked_fill_(values == bounds[-1], self.bins.count)  # the last bin is closed, so that h = 1 is inside
        weight = weights.view(-1, 1).expand_as(index)
        missing = values.isnan()
        if bool(missing.any()):  # a NaN counts as nothing
            weight = weight.masked_fill(missing, 0.0)
        self.counts += torch.bincount(index.flatten(), weights=weight.flatten(), minlength=self.bins.count + 2)


def bins_of(quantity: str, layer: Layer) -> Bins:
    """The bins of preact, h or logits at a level."""
    if quantity != "h":
        return BINS[quantity]
    match layer.activation:
        case "tanh":
            return BINS["h"]
        case "relu" | "linear":
            return BINS["h unbounded"]
        case _:
            unknown(layer.activation)


def saturated(a: LevelActivations, bound: str) -> Tensor:
    """Where |h| > `bound`, "0.97" or "0.99", for a level of tanh units. (M, n, H)

    Asked of what tanh saw, as |z| > artanh(bound): the last bit of tanh, which depends on the CPU, decides nothing.
    """
    return a.normed.abs() >= _beyond(bound, a.normed.dtype)


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
