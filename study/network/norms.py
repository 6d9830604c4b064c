"""The norms that a layer may have: each is an entry that knows everything about itself. No torch is loaded here.

A new norm is one call of `register`, here or in a file that a study file names. The axes are M models, N examples and
H, the width of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from study.codehash import Origin, origin
from study.errors import check_name, refused, suggest, unknown
from study.network.inits import ONES, ZEROS, Init, Scheme, read_init
from study.network.options import NoOptions, OptionError, Written, names, read, written

if TYPE_CHECKING:
    from torch import Tensor

Reading = Literal["none", "batch", "running", "calibrated"]


def reading_at(statistics: Reading, step: int) -> Reading:
    """The statistics that a model is read with at a step: before the first one there are no running ones yet, so that
    it is calibrated."""
    match statistics:
        case "running":
            return "calibrated" if step == 0 else "running"
        case "none" | "calibrated" | "batch":
            return statistics
        case _:
            unknown(statistics)


@dataclass(frozen=True)
class Parameter:
    """A trained parameter of a norm, with a number for every unit, (M, 1, H)."""

    key: str  # its key in the study file, such as gain
    name: str  # its name in the tables, to which the number of the layer is added: bngain1
    init: Init  # how it is drawn, unless the study file says otherwise


Measure = Literal["std", "var"]


@dataclass(frozen=True)
class LayerStatistics:
    """The mean and the spread of a layer's units over a batch or over a whole split."""

    mean: Tensor  # (M, 1, H), or (M, n, H) where every part of the examples has its own
    spread: Tensor  # of the same shape
    measure: Measure = "std"  # whether the spread is a std or a variance, which the norm's definition decides

    @property
    def std(self) -> Tensor:
        """The spread as a std."""
        return self.spread if self.measure == "std" else self.spread.sqrt()

    @classmethod
    def of(cls, mean: Tensor, std: Tensor, measure: Measure) -> LayerStatistics:
        """The statistics with this mean and std, in the measure of a norm."""
        return cls(mean, std if measure == "std" else std.square(), measure)


Statistics = tuple[LayerStatistics | None, ...]  # of every layer; None for a layer that is read without statistics


@dataclass(frozen=True)
class Norm:
    """A norm: what a layer does between x @ W + b and the activation."""

    name: str
    label: str  # its name on the page
    # (x (M, N, H), the parameters by their keys (M, 1, H), given statistics or None, the options)
    # -> (z (M, N, H), the statistics of the batch that were used, or None where the norm uses none)
    normalise: Callable[[Tensor, dict[str, Tensor], LayerStatistics | None, Any], tuple[Tensor, LayerStatistics | None]]
    parameters: tuple[Parameter, ...] = ()
    # Whether it normalises over the examples of a batch, so that a model is read with given statistics, among them the
    # moving average of those that `normalise` returns.
    needs_statistics: bool = False
    least_batch: int = 1  # the smallest minibatch with which it trains
    options: type[Any] = NoOptions
    momentum: Callable[[Any], float] = lambda options: 0.1  # of the moving average
    measure: Callable[[Any], Measure] = lambda options: "std"  # of the spread in its statistics
    # The same as `normalise` for batches of `size` consecutive examples, each with its own statistics, (M, N / size,
    # H),
    # where `normalise` would not do: with the std of two equal examples, say. None: `normalise` does.
    in_batches: Callable[[Tensor, dict[str, Tensor], int, Any], tuple[Tensor, LayerStatistics]] | None = None
    # (variance of x, examples in the batch, options) -> the variance of z before gain and bias, for wide layers;
    # None: there is no prediction
    variance: Callable[[Any, float, Any], Any] | None = None
    origin: Origin = field(default_factory=lambda: origin(__name__), compare=False, repr=False)


NORMS: dict[str, Norm] = {}


def register(entry: Norm) -> Norm:
    """Make a norm known by its name. Raises SpecError for an entry that cannot serve."""
    check_name(entry, entry.name, NORMS)
    if not callable(entry.normalise):
        raise refused(entry, f"normalise: expected a function, got {entry.normalise!r:.60}")
    taken = {p.name for n in NORMS.values() for p in n.parameters}
    for parameter in entry.parameters:
        if parameter.name in taken:
            raise refused(entry, f"another norm has a parameter {parameter.name!r:.60}; choose another name")
    NORMS[entry.name] = entry
    return entry


@dataclass(frozen=True)
class NormChoice:
    """What was chosen for the norm of a layer: its name, its options, and how its parameters are drawn."""

    name: str  # of an entry of NORMS, or none
    options: Written = ()
    inits: tuple[tuple[str, Init], ...] = ()  # (key of the parameter, initialiser), where it is not the default


def read_norm(words: Any) -> NormChoice:
    """The norm that a study file or a program writes: none, batch, {batch: {definition: torch}}, {layer: {gain: …}}.

    The keys behind the name are the parameters of the norm, with an initialiser each, and its options. Raises
    OptionError, in whose `at` the key is.
    """
    if words is None or words == "none":
        return NormChoice("none")
    name: Any = words
    given: Any = {}
    if isinstance(words, Mapping):
        if len(words) != 1:
            raise OptionError(f"expected one norm, such as {{batch: {{definition: torch}}}}, got {dict(words)!r:.60}")
        ((name, given),) = words.items()
    if not isinstance(name, str) or name not in NORMS:
        raise OptionError(f"no norm {name!r:.60}{suggest(str(name), ('none', *NORMS))}")
    entry = NORMS[name]
    if not isinstance(given, Mapping):
        raise OptionError(f"expected the options of {name} as a mapping, got {given!r:.60}", name)
    inits = {}
    for parameter in entry.parameters:
        if parameter.key in given:
            init = read_init(given[parameter.key])
            if isinstance(init, Scheme) or "norm" not in init.entry.places:
                problem = "it has no fan_in; expected {std: …} or {constant: …}"
                raise OptionError(f"{parameter.key} of {name}: {problem}, got {given[parameter.key]!r:.60}", name)
            if init != parameter.init:
                inits[parameter.key] = init
    rest = {key: value for key, value in given.items() if key not in {p.key for p in entry.parameters}}
    known = {*(p.key for p in entry.parameters), *names(entry.options)}
    for key in rest:
        if key not in known:
            raise OptionError(f"{name}: unknown key {key!r:.60}{suggest(str(key), sorted(known))}", name)
    return NormChoice(name, written(read(entry.options, rest)), tuple(inits.items()))


# -- the entries ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BatchOptions:
    """Which of three definitions of BatchNorm is meant.

    `lecture` is that of the first half of the lecture: unbiased std, no eps, and a moving average of the *std* with
    momentum 0.001. `second half` is that of its second half: unbiased variance + 1e-5 under the root, and a moving
    average of the variance with momentum 0.1. `torch` is torch.nn.BatchNorm1d: it divides by the biased variance
    + 1e-5 and averages the unbiased one with momentum 0.1.
    """

    definition: Literal["lecture", "second half", "torch"] = "lecture"


# Of the second half's BatchNorm, of torch's, of torch's LayerNorm, and of all readings in batches of a few examples:
# identical contexts in a batch of two have std 0.
EPS = 1e-5
RMS_EPS = 1.1920929e-7  # torch's default for RMSNorm: the resolution of float32


def _batch(
    x: Tensor, params: dict[str, Tensor], given: LayerStatistics | None, options: BatchOptions
) -> tuple[Tensor, LayerStatistics]:
    """gain · (x − mean) / std + bias over the batch, or with the given mean and std."""
    match options.definition:
        case "lecture":
            used = given or LayerStatistics(x.mean(1, keepdim=True), x.std(1, keepdim=True))  # (M, 1, H)
            return params["gain"] * (x - used.mean) / used.spread + params["bias"], used
        case "second half":
            used = given or LayerStatistics(x.mean(1, keepdim=True), x.var(1, keepdim=True), "var")
            divisor = used.spread
        case "torch":  # it divides by the biased variance of a batch, and averages the unbiased one
            used = given or LayerStatistics(x.mean(1, keepdim=True), x.var(1, keepdim=True), "var")
            divisor = used.spread if given else used.spread * ((x.shape[1] - 1) / x.shape[1])
        case _:
            unknown(options.definition)
    return params["gain"] * (x - used.mean) / (divisor + EPS).sqrt() + params["bias"], used


def _batch_in_batches(
    x: Tensor, params: dict[str, Tensor], size: int, options: BatchOptions
) -> tuple[Tensor, LayerStatistics]:
    """Normalise every `size` examples of x (M, N, H) by their own mean and std, with eps in all definitions.

    The deviations from the mean serve for the std and for the result, since torch's own std takes twenty times as long
    along this axis.
    """
    batches = x.unflatten(1, (-1, size))  # (M, N / size, size, H)
    mean = batches.mean(2, keepdim=True)
    gaps = batches - mean
    squares = gaps.square().sum(2, keepdim=True)
    variance = squares / (size - 1)
    divisor = squares / size if options.definition == "torch" else variance
    scale = params["gain"].unsqueeze(2) / (divisor + EPS).sqrt()  # (M, N / size, 1, H)
    z = gaps.mul_(scale).add_(params["bias"].unsqueeze(2)).flatten(1, 2)
    return z, LayerStatistics.of(mean.squeeze(2), variance.squeeze(2).sqrt(), _measure(options))


def _batch_variance(q: Any, examples: float, options: BatchOptions) -> Any:
    """1 − 1/n, the biased variance of what was divided by the unbiased std; 1 where the biased one divides."""
    match options.definition:
        case "lecture":
            return 0 * q + (1 - 1 / examples)
        case "second half":
            return (1 - 1 / examples) * q / (q + EPS)
        case "torch":
            return q / (q + EPS)
        case _:
            unknown(options.definition)


def _measure(options: BatchOptions) -> Measure:
    match options.definition:
        case "lecture":
            return "std"
        case "second half" | "torch":
            return "var"
        case _:
            unknown(options.definition)


def _layer(
    x: Tensor, params: dict[str, Tensor], given: LayerStatistics | None, options: NoOptions
) -> tuple[Tensor, None]:
    """gain · (x − mean) / √(biased variance + eps) + bias over the units of every example, as torch.nn.LayerNorm."""
    gaps = x - x.mean(2, keepdim=True)  # (M, N, H)
    return params["gain"] * gaps / (gaps.square().mean(2, keepdim=True) + EPS).sqrt() + params["bias"], None


def _rms(
    x: Tensor, params: dict[str, Tensor], given: LayerStatistics | None, options: NoOptions
) -> tuple[Tensor, None]:
    """gain · x / √(mean square + eps) over the units of every example, as torch.nn.RMSNorm."""
    return params["gain"] * x / (x.square().mean(2, keepdim=True) + RMS_EPS).sqrt(), None


register(
    Norm(
        "batch",
        label="BatchNorm",
        normalise=_batch,
        parameters=(Parameter("gain", "bngain", ONES), Parameter("bias", "bnbias", ZEROS)),
        needs_statistics=True,
        least_batch=2,
        options=BatchOptions,
        in_batches=_batch_in_batches,
        momentum=lambda options: 0.001 if options.definition == "lecture" else 0.1,
        measure=_measure,
        variance=_batch_variance,
    )
)
register(
    Norm(
        "layer",
        label="LayerNorm",
        normalise=_layer,
        parameters=(Parameter("gain", "lngain", ONES), Parameter("bias", "lnbias", ZEROS)),
        variance=lambda q, examples, options: q / (q + EPS),
    )
)
register(
    Norm(
        "rms",
        label="RMSNorm",
        normalise=_rms,
        parameters=(Parameter("gain", "rmsgain", ONES),),
        variance=lambda q, examples, options: q / (q + RMS_EPS),
    )
)
