"""The registry of metrics: each is one decorated function, with all facts about it. Torch is loaded inside functions.

The order of the metrics here is their order everywhere.

    @metric(of="layer", label="std of h", format=".3f", reduce=lambda: Spread("std"))
    def h_std(a: LayerTrace, layer: Layer) -> Tensor:
        return a.h
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from study.codehash import Origin, origin
from study.errors import SpecError
from study.measurement.labels import Better, IntervalKind, Label, Of
from study.measurement.reducers import All, Chunk, Extreme, Mean, Reducer, Spread
from study.network.activations import in_torch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from study.data.examples import Split
    from study.network.layers import Layer, Network
    from study.network.model import Activations, LayerTrace, Parameters
    from study.network.norms import LayerStatistics, Statistics


@dataclass(frozen=True)
class Metric:
    """A metric, with all facts about it.

    Of a layer and of the output, `measure` turns a chunk of examples into values, and `reduce` turns the values of all
    chunks into the result. Of a parameter, `measure` has the result for a parameter and its gradient. Of a training, it
    has the result for the trajectory.
    """

    name: str
    label: Label
    measure: Callable[..., Any]
    reduce: Callable[[], Reducer] | None
    activations: tuple[str, ...] | None  # the activations of the layers to which it applies; None: all
    table: str  # the table that holds its values
    by_name: bool  # whether the code that makes its rows asks for it by its name, not for all metrics of a kind
    origin: Origin = field(default_factory=lambda: origin(__name__), compare=False, repr=False)

    @property
    def place(self) -> str:
        """The file and the line in which the metric is written."""
        return f"{self.origin[0][0]}:{self.origin[0][1]}"


METRICS: dict[str, Metric] = {}


def metric(
    *,
    of: Of | Literal[""] = "",
    label: str = "",
    unit: str = "",
    format: str = "",
    better: Better = "",
    interval: IntervalKind = "t",
    lost: str = "diverged",
    reduce: Callable[[], Reducer] | None = None,
    activations: Iterable[str] | None = None,
    table: str = "metrics",
    by_name: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a metric under the name of its function.

    The function is called with `(trace, layer)` for a metric of a hidden layer, with `(activations)` for one of the
    output, with `(parameter, gradient, lr)` for one of a parameter, and with `(trajectory)` for one of a training.
    Where `activations` are named, a metric of a layer is measured in layers with these alone. The other arguments are
    those of `Label` and `Metric`. SpecError: a fact is missing or unknown, or another metric has the name.
    """

    def register(measure: Callable[..., Any]) -> Callable[..., Any]:
        name, where = measure.__name__, origin(__name__)[0]
        try:
            told = Label(label, unit, format, better, of, interval, lost)  # type: ignore[arg-type]
        except ValueError as error:
            raise SpecError(f"{where[0]}:{where[1]}: the metric '{name}' {error}") from None
        chosen = None if activations is None else tuple(activations)
        made = Metric(name, told, measure, reduce, chosen, table, by_name)
        chunked = told.of in ("layer", "output") and not by_name
        if chunked and reduce is None:
            raise SpecError(
                f"{made.place}: the metric '{name}' (of='{told.of}') needs reduce=, which turns chunks into one number"
            )
        if reduce is not None and not chunked:
            raise SpecError(f"{made.place}: the metric '{name}' (of='{told.of}') takes no reduce=")
        if chosen is not None and told.of != "layer":
            raise SpecError(f"{made.place}: the metric '{name}' takes activations= only of a layer, got of='{told.of}'")
        if name in METRICS:
            raise SpecError(
                f"{made.place}: the metric '{name}' is defined in {METRICS[name].place}, too; give it another name"
            )
        METRICS[name] = made
        return measure

    return register


# -- of the output, on a whole split: (params, network, split, statistics) -> (M,) ---------------------------------


@metric(of="output", label="loss", unit="nats", format=".4f", better="lower", table="losses", by_name=True)
def loss(params: Parameters, network: Network, split: Split, statistics: Statistics | None) -> Tensor:
    """The mean cross-entropy over the split, read with the statistics, in nats, (M,)."""
    from study.measurement.evaluate import split_loss

    return split_loss(params, network, split, statistics)


# -- of a hidden layer: (trace, layer) -> values ------------------------------------------------------------------


@metric(
    of="layer",
    label="tanh outputs with |h| > 0.97",
    unit="%",
    format=".1f",
    better="lower",
    reduce=Mean,
    activations=["tanh"],
)
def saturation_97(a: LayerTrace, layer: Layer) -> Tensor:
    """The share of units with |h| > 0.97, per example, (M, n)."""
    return _share(saturated(a, "0.97"))


@metric(
    of="layer",
    label="tanh outputs with |h| > 0.99",
    unit="%",
    format=".1f",
    better="lower",
    reduce=Mean,
    activations=["tanh"],
)
def saturation_99(a: LayerTrace, layer: Layer) -> Tensor:
    """The share of units with |h| > 0.99, per example, (M, n)."""
    return _share(saturated(a, "0.99"))


@metric(
    of="layer", label="dead units", unit="%", format=".1f", better="lower", reduce=All, activations=["tanh", "relu"]
)
def dead(a: LayerTrace, layer: Layer) -> Tensor:
    """Whether a unit passes (almost) no gradient: |h| > 0.99 for tanh, h = 0 for relu, (M, n, H)."""
    match layer.activation:
        case "tanh":
            return saturated(a, "0.99")
        case "relu":
            return a.h == 0
        case _:
            raise AssertionError(f"{layer.activation}: this metric is for tanh and relu")


@metric(of="layer", label="mean local gradient", format=".3f", better="higher", reduce=Mean)
def gradient_pass(a: LayerTrace, layer: Layer) -> Tensor:
    """The mean local gradient of the activation over units, per example: 1 − h² for tanh, (M, n).

    For an activation without a shorter way it is the derivative that training uses, found by autograd.
    """
    import torch

    match layer.activation:
        case "tanh":
            return 1 - a.h.to(torch.float64, copy=True).square_().mean(-1)
        case "relu":
            return _share(a.h > 0)
        case "linear":
            return _share(torch.ones_like(a.h, dtype=torch.bool))
        case _:
            with torch.enable_grad():
                z = a.z.detach().requires_grad_()
                (slope,) = torch.autograd.grad(in_torch(layer.activation)(z).sum(), z)
            return slope.double().mean(-1)


@metric(of="layer", label="mean of the pre-activation", format=".3f", reduce=lambda: Spread("mean"))
def preact_mean(a: LayerTrace, layer: Layer) -> Tensor:
    """The pre-activations, before the norm, (M, n, H)."""
    return a.preact


@metric(of="layer", label="std of the pre-activation", format=".3f", reduce=lambda: Spread("std"))
def preact_std(a: LayerTrace, layer: Layer) -> Tensor:
    """The pre-activations, before the norm, (M, n, H)."""
    return a.preact


@metric(of="layer", label="std of what the activation sees", format=".3f", reduce=lambda: Spread("std"))
def normed_std(a: LayerTrace, layer: Layer) -> Tensor:
    """The inputs of the activation: the pre-activations, normalised where the layer has a norm, (M, n, H)."""
    return a.z


@metric(of="layer", label="std of h", format=".3f", reduce=lambda: Spread("std"))
def h_std(a: LayerTrace, layer: Layer) -> Tensor:
    """The outputs of the activation, (M, n, H)."""
    return a.h


def _share(true: Tensor) -> Tensor:
    """The share of true entries along the last axis, float64."""
    import torch

    # sums of ones are exact in float32 up to 2^24, and take a third of the time of count_nonzero
    return true.view(torch.uint8).float().sum(-1).double() / true.shape[-1]


# -- of the output: logits -> values ------------------------------------------------------------------------------


@metric(of="output", label="smallest logit", format=".2f", reduce=lambda: Extreme("smallest"))
def logit_min(a: Activations) -> Tensor:
    """The logits, (M, n, V)."""
    return a.logits


@metric(of="output", label="largest logit", format=".2f", reduce=lambda: Extreme("largest"))
def logit_max(a: Activations) -> Tensor:
    """The logits, (M, n, V)."""
    return a.logits


@metric(of="output", label="std of the logits", format=".3f", reduce=lambda: Spread("std"))
def logit_std(a: Activations) -> Tensor:
    """The logits, (M, n, V)."""
    return a.logits


@metric(of="output", label="mean entropy of the prediction", unit="nats", format=".3f", reduce=Mean)
def entropy(a: Activations) -> Tensor:
    """The entropy of the prediction for each context, in nats, (M, n)."""
    import torch
    import torch.nn.functional as F

    log_p = F.log_softmax(a.logits.double(), dim=-1)
    entropies: Tensor = torch.special.entr(log_p.exp()).sum(-1)
    return entropies


# -- of one parameter and its gradient on the next minibatch: (p, gradient, lr) -> (M,) ----------------------------


@metric(of="parameter", label="norm of the gradient", format=".4f")
def grad_norm(p: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """The Euclidean norm of the gradient, (M,)."""
    import torch

    norm: Tensor = torch.linalg.vector_norm(gradient.double().flatten(1), dim=1)
    return norm


@metric(of="parameter", label="std of the gradient", format=".5f")
def grad_std(p: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """The standard deviation of the gradient's entries, (M,)."""
    return _std(gradient)


@metric(of="parameter", label="log10 of update : data", format=".2f")
def update_ratio(p: Tensor, gradient: Tensor, lr: float) -> Tensor:
    """The log10 of std(lr · gradient) / std(parameter): about −3 in a healthy training (the lecture's rule), (M,)."""
    return (lr * _std(gradient) / _std(p)).log10()


def _std(p: Tensor) -> Tensor:
    """The standard deviation of a parameter's entries, NaN where it has a single entry, (M,)."""
    entries = p.double().flatten(1)
    return entries.std(1) if entries.shape[1] > 1 else entries[:, 0] * math.nan


# -- of a layer's BatchNorm statistics: the given ones, the calibrated ones, the layer's index from 0 -> () -----------


@metric(
    of="layer",
    label="largest gap of a unit's mean from the calibrated one",
    format=".4f",
    better="lower",
    by_name=True,
)
def gap_mean(given: Statistics, calibrated: Statistics, i: int) -> Tensor:
    """The largest gap of a unit's mean from the calibrated one, (), for one model."""
    return _gap(given, calibrated, i, lambda own: own.mean)


@metric(
    of="layer",
    label="largest gap of a unit's std from the calibrated one",
    format=".4f",
    better="lower",
    by_name=True,
)
def gap_std(given: Statistics, calibrated: Statistics, i: int) -> Tensor:
    """The largest gap of a unit's std from the calibrated one, (), for one model."""
    return _gap(given, calibrated, i, lambda own: own.std)


def _gap(given: Statistics, calibrated: Statistics, i: int, of: Callable[[LayerStatistics], Tensor]) -> Tensor:
    """The largest gap of a number of any unit of layer `i` from the calibrated one, (), for one model."""
    one, other = given[i], calibrated[i]
    assert one is not None and other is not None
    return (of(one) - of(other)).abs().max()


# -- of a layer that is drawn alone: activation(x @ w), (examples, units) -> () ----------------------------------------


@metric(of="layer", label="std after x @ w", format=".3f", table="probe", by_name=True)
def probe(y: Tensor) -> Tensor:
    """The std of activation(x @ w), (examples, units), over all entries, ()."""
    return y.std()


# -- definitions that several metrics share ----------------------------------------------------------------------------


def artanh(h: Decimal) -> Decimal:
    """The artanh ½ ln((1 + h) / (1 − h)), to the precision of the decimal context. It is infinite at ±1."""
    if abs(h) == 1:
        return h * Decimal("Infinity")
    return ((1 + h) / (1 - h)).ln() / 2


def not_below(exact: Decimal, dtype: torch.dtype) -> float:
    """The smallest number of `dtype` that is not below `exact`.

    A number of `dtype` reaches it exactly if it reaches `exact`.
    """
    import torch

    nearest = torch.tensor(float(exact), dtype=dtype)
    if Decimal(float(nearest)) < exact:
        nearest = torch.nextafter(nearest, torch.tensor(math.inf, dtype=dtype))
    return float(nearest)


def saturated(a: LayerTrace, bound: str) -> Tensor:
    """Whether |h| > `bound`, "0.97" or "0.99", for a layer of tanh units, (M, n, H).

    The test is |z| > artanh(bound) on the input z of tanh, since the last bit of tanh depends on the CPU.
    """
    import torch

    # NumPy compares four times as fast as torch, and a comparison has no rounding
    return torch.from_numpy(a.z.abs().numpy() >= _beyond(bound, a.z.dtype))


@cache
def _beyond(bound: str, dtype: torch.dtype) -> float:
    """The smallest number of `dtype` above artanh(bound), which is irrational, so that no number is equal to it."""
    with localcontext(prec=40):
        return not_below(artanh(Decimal(bound)), dtype)


def names(of: Of, layer: Layer | None = None) -> list[str]:
    """The names of the metrics of a kind, in order. Where `layer` is given, they are those that apply to it.

    Metrics that are asked for by name are left out.
    """
    chosen = [m for m in METRICS.values() if m.label.of == of and not m.by_name]
    if layer is None:
        return [m.name for m in chosen]
    return [m.name for m in chosen if m.activations is None or layer.activation in m.activations]


def entries(network: Network) -> dict[str, Origin]:
    """The metrics that are measured of a network, in words, and where each of them was made."""
    applying = {name for layer in network.hidden for name in names("layer", layer)}
    found = [m for m in METRICS.values() if m.by_name or m.label.of != "layer" or m.name in applying]
    return {f"metric {m.name}": m.origin for m in found}


def reducers(chosen: Iterable[str]) -> dict[str, Any]:
    """A new reducer for each of the metrics. The reducers that need the moments of one tensor share these."""
    found, chunk = {name: METRICS[name].reduce() for name in chosen}, Chunk()  # type: ignore[misc]
    for reducer in found.values():
        if isinstance(reducer, Spread):
            reducer.chunk = chunk
    return found
