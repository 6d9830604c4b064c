"""The initialisers of a parameter: each is an entry that knows everything about itself. No torch is loaded here.

A new initialiser is one call of `register`, here or in a file that a study file names. `Init` is the record of what was
chosen for a parameter: an initialiser with its options.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from study.codehash import Origin, origin
from study.errors import check_name, refused, suggest, unknown
from study.network.options import NoOptions, OptionError, Written, names, read, written

if TYPE_CHECKING:
    from torch import Tensor

    from study.rng import Streams

Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["normal", "uniform", "truncated"]
Shape = tuple[int, ...]
Array = TypeVar("Array")  # a torch.Tensor or a number: it needs * and /


@dataclass(frozen=True)
class Facts:
    """What an initialiser may know of the data."""

    targets: tuple[int, ...] = ()  # how often every class is the target of a training example, (V,)


@dataclass(frozen=True)
class Place:
    """The parameter that is drawn: its name, its shape, and the sizes of its layer."""

    name: str  # C, W1, b1, bngain1, …: the name of its stream of draws
    shape: Shape
    fan_in: int
    fan_out: int


@dataclass(frozen=True)
class Init:
    """What was chosen for a parameter: `std`, or `gain` / √fan, or another initialiser by its `kind` and its options.

    Exactly one of the three is given. `mode` says which fan divides a gain, and `distribution` belongs to std and gain.
    """

    std: float | None = None
    gain: float | None = None
    mode: Mode = "fan_in"
    distribution: Distribution = "normal"
    kind: str = ""
    options: Written = ()

    def __post_init__(self) -> None:
        given = [self.std is not None, self.gain is not None, bool(self.kind)]
        assert given.count(True) == 1, f"Init takes std, gain or a kind: {self.std=} {self.gain=} {self.kind=}"

    @property
    def entry(self) -> Initialiser:
        """The initialiser that draws it."""
        return INITIALISERS[self.kind or ("std" if self.gain is None else "gain")]

    @property
    def settings(self) -> Any:
        """The options of the initialiser."""
        if self.kind:
            return self.entry.options(**dict(self.options))
        if self.gain is None:
            return StdOptions(self.std or 0.0, self.distribution)
        return GainOptions(self.gain, self.mode, self.distribution)

    def draw(self, streams: Streams, place: Place, facts: Facts) -> Tensor:
        """The parameter at `place` before the first step, float32."""
        return self.entry.draw(self.settings, streams, place, facts)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """The standard deviation of the drawn parameter; NaN where it has none that is known before the draw."""
        return self.entry.scale(self.settings, fan_in, fan_out)

    @property
    def words(self) -> str:
        """The initialiser on the page, such as `std 0.01` or `gain tanh / √fan_in`."""
        return self.entry.words(self.settings)

    @property
    def gaussian(self) -> bool:
        """Whether every entry of the parameter is an independent normal draw of mean 0."""
        return self.entry.gaussian(self.settings)

    @property
    def centred(self) -> bool:
        """Whether the draw has mean 0 and a known std, so that theory can predict what it does to a signal."""
        return self.entry.centred(self.settings)


@dataclass(frozen=True)
class Initialiser:
    """An initialiser: how a parameter is drawn."""

    key: str  # its name in the study file
    draw: Callable[[Any, Streams, Place, Facts], Tensor]  # (options, draws, place, facts) -> float32, (*place.shape)
    scale: Callable[[Any, int, int], float]  # (options, fan_in, fan_out) -> the std of an entry, NaN where unknown
    words: Callable[[Any], str]  # (options) -> the initialiser on the page
    options: type[Any] = NoOptions
    gaussian: Callable[[Any], bool] = lambda options: False
    centred: Callable[[Any], bool] = lambda options: False
    places: tuple[str, ...] = ("weight", "bias", "embedding", "norm")  # the parameters that it can draw
    origin: Origin = field(default_factory=lambda: origin(__name__), compare=False, repr=False)


INITIALISERS: dict[str, Initialiser] = {}


def register(entry: Initialiser) -> Initialiser:
    """Make an initialiser known by its key. Raises SpecError for an entry that cannot serve."""
    check_name(entry, entry.key, INITIALISERS | SCHEMES)
    for what in ("draw", "scale", "words"):
        if not callable(getattr(entry, what)):
            raise refused(entry, f"{what}: expected a function, got {getattr(entry, what)!r:.60}")
    INITIALISERS[entry.key] = entry
    return entry


# -- short names for known schemes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scheme:
    """A known scheme by its short name. The initialiser that it means may depend on the layer's activation."""

    name: str
    init: Init
    own_gain: bool = False  # whether the gain of `init` is that of the layer's activation

    def of(self, gain: float) -> Init:
        """The initialiser in a layer whose activation has this gain."""
        return replace(self.init, gain=gain) if self.own_gain else self.init


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("xavier", Init(gain=1.0, mode="fan_avg", distribution="uniform")),  # Glorot & Bengio 2010
        Scheme("kaiming", Init(gain=1.0), own_gain=True),  # He et al. 2015
        Scheme("lecun", Init(gain=1.0, distribution="truncated")),  # LeCun et al. 1998
        Scheme("pytorch", Init(gain=1 / math.sqrt(3), distribution="uniform")),  # torch.nn.Linear: ± 1/√fan_in
    )
}


# -- the entries ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StdOptions:
    """A plain standard deviation."""

    std: float
    distribution: Distribution = "normal"

    def __post_init__(self) -> None:
        _check_scale("std", self.std)

    def scaled(self, draw: Array, fan_in: int, fan_out: int) -> Array:
        """A draw of std 1, scaled: draw · std."""
        return draw * self.std  # type: ignore[operator, return-value]


@dataclass(frozen=True)
class GainOptions:
    """A standard deviation of gain / √fan (He et al. 2015; Glorot & Bengio 2010 for fan_avg)."""

    gain: float
    mode: Mode = "fan_in"
    distribution: Distribution = "normal"

    def __post_init__(self) -> None:
        _check_scale("gain", self.gain)

    def scaled(self, draw: Array, fan_in: int, fan_out: int) -> Array:
        """A draw of std 1, scaled: draw · gain / √fan, each rounded once, in the lecture's order."""
        return draw * self.gain / _fan(self.mode, fan_in, fan_out) ** 0.5  # type: ignore[operator, return-value]


def _check_scale(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise OptionError(f"expected 0 or more, got {value:g}", name)


def _fan(mode: Mode, fan_in: int, fan_out: int) -> float:
    match mode:
        case "fan_in":
            return fan_in
        case "fan_out":
            return fan_out
        case "fan_avg":
            return (fan_in + fan_out) / 2
        case _:
            unknown(mode)


def _standard(distribution: Distribution, streams: Streams, place: Place) -> Tensor:
    """A draw of mean 0 and std 1, (*place.shape)."""
    match distribution:
        case "normal":
            return streams.normal(place.name, place.shape)
        case "uniform":
            return streams.uniform(place.name, place.shape)
        case "truncated":
            return streams.truncated(place.name, place.shape)
        case _:
            unknown(distribution)


def _draw_scaled(options: StdOptions | GainOptions, streams: Streams, place: Place, facts: Facts) -> Tensor:
    return options.scaled(_standard(options.distribution, streams, place), place.fan_in, place.fan_out)


def _of(distribution: Distribution) -> str:
    return "" if distribution == "normal" else f", {distribution}"


def _gain_words(options: GainOptions) -> str:
    from study.network.words import gain_words  # a gain has a name by the activations, which no draw needs

    return f"gain {gain_words(options.gain)} / √{options.mode}{_of(options.distribution)}"


register(
    Initialiser(
        "std",
        _draw_scaled,
        scale=lambda options, fan_in, fan_out: options.scaled(1.0, fan_in, fan_out),
        words=lambda options: f"std {options.std:g}{_of(options.distribution)}",
        options=StdOptions,
        gaussian=lambda options: options.distribution == "normal",
        centred=lambda options: True,
    )
)
register(
    Initialiser(
        "gain",
        _draw_scaled,
        scale=lambda options, fan_in, fan_out: options.scaled(1.0, fan_in, fan_out),
        words=_gain_words,
        options=GainOptions,
        gaussian=lambda options: options.distribution == "normal",
        centred=lambda options: True,
        places=("weight", "bias"),
    )
)


@dataclass(frozen=True)
class OrthogonalOptions:
    """Orthonormal columns, or rows where these are fewer, times a gain (Saxe et al. 2014)."""

    gain: float = 1.0

    def __post_init__(self) -> None:
        _check_scale("gain", self.gain)


def _draw_orthogonal(options: OrthogonalOptions, streams: Streams, place: Place, facts: Facts) -> Tensor:
    draw = streams.normal(place.name, place.shape)  # (fan_in, fan_out)
    wide = place.shape[0] < place.shape[1]
    found = orthonormal(np.asarray(draw.T if wide else draw, np.float64))
    return draw.new_tensor(options.gain * (found.T if wide else found))


def orthonormal(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns (n, k), n ≥ k, made orthonormal one after another, which keeps the direction of the first.

    Gram and Schmidt's method, twice for every column, which makes the result orthonormal to rounding (Giraud et al.
    2005). All sums are made by NumPy element by element in a fixed order and not by a BLAS, whose last bits depend on
    the kind of CPU.
    """
    found = np.array(columns.T)  # (k, n): a row per column of the result
    for j in range(len(found)):
        for _ in range(2):
            shares = (found[:j] * found[j]).sum(1, keepdims=True)  # (j, 1)
            found[j] -= (shares * found[:j]).sum(0)
        found[j] /= math.sqrt(float((found[j] * found[j]).sum()))
    return found.T


register(
    Initialiser(
        "orthogonal",
        _draw_orthogonal,
        scale=lambda options, fan_in, fan_out: options.gain / math.sqrt(max(fan_in, fan_out)),
        words=lambda options: f"orthogonal, gain {options.gain:g}",
        options=OrthogonalOptions,
        centred=lambda options: True,
        places=("weight", "embedding"),
    )
)


@dataclass(frozen=True)
class ConstantOptions:
    """One number for every entry. `draws` says whether the generator is used all the same, as by randn() * 0."""

    constant: float
    draws: bool = True


def _draw_constant(options: ConstantOptions, streams: Streams, place: Place, facts: Facts) -> Tensor:
    if options.draws:
        return streams.normal(place.name, place.shape).fill_(options.constant)
    import torch

    return torch.full(place.shape, options.constant)


register(
    Initialiser(
        "constant",
        _draw_constant,
        scale=lambda options, fan_in, fan_out: 0.0,
        words=lambda options: f"constant {options.constant:g}",
        options=ConstantOptions,
        centred=lambda options: options.constant == 0,
    )
)


def log_frequencies(targets: Sequence[int]) -> list[float]:
    """ln((n_c + ½) / (N + V/2)) of the counts n_c of V classes, whose sum is N, correctly rounded on every CPU."""
    with localcontext(prec=40):
        whole = Decimal(sum(targets)) + Decimal(len(targets)) / 2
        return [float(((Decimal(n) + Decimal("0.5")) / whole).ln()) for n in targets]


def _draw_frequencies(options: NoOptions, streams: Streams, place: Place, facts: Facts) -> Tensor:
    import torch

    assert place.shape == (len(facts.targets),), f"{place}: {len(facts.targets)} classes"
    return torch.tensor(log_frequencies(facts.targets), dtype=torch.float64).float()


register(
    Initialiser(
        "log frequencies",
        _draw_frequencies,
        scale=lambda options, fan_in, fan_out: math.nan,
        words=lambda options: "log frequencies of the targets",
        places=("output bias",),
    )
)

ONES = Init(kind="constant", options=(("constant", 1.0), ("draws", False)))
ZEROS = Init(kind="constant", options=(("constant", 0.0), ("draws", False)))


# -- reading ----------------------------------------------------------------------------------------------------------


def read_init(words: Any) -> Init | Scheme:
    """The initialiser that a study file or a program writes: {std: 0.2}, {orthogonal: 1}, xavier, log frequencies.

    An initialiser with options is a mapping. Its first key is the initialiser's, with the first option's value or with
    all options as a mapping; the other options may stand beside it. Raises OptionError, in whose `at` the key is.
    """
    if isinstance(words, str):
        if words in SCHEMES:
            return SCHEMES[words]
        if words not in INITIALISERS:
            raise OptionError(f"no initialiser {words!r:.60}{suggest(words, [*INITIALISERS, *SCHEMES])}")
        words = {words: {}}
    if not isinstance(words, Mapping):
        raise OptionError(f"expected an initialiser such as {{std: 0.2}}, {{gain: tanh}} or xavier, got {words!r:.60}")
    kinds = [key for key in words if key in INITIALISERS]
    if not kinds:
        strange = next(iter(words), None)
        if strange is None:
            raise OptionError("expected an initialiser such as {std: 0.2}, got an empty mapping")
        hint = suggest(str(strange), INITIALISERS)
        raise OptionError(f"unknown key {strange!r:.60}{hint}", str(strange))
    if "std" in kinds and "gain" in kinds:
        raise OptionError("expected either std or gain, got both")
    kind = kinds[0]
    entry = INITIALISERS[kind]
    given = {key: value for key, value in words.items() if key != kind}
    if isinstance(words[kind], Mapping) and not (kind == "gain" and _names_gain(words[kind])):
        given = {**given, **words[kind]}
    elif known := names(entry.options):
        given = {**given, known[0]: words[kind]}
    elif words[kind] is not True:
        raise OptionError(f"{kind} has no options, got {words[kind]!r:.60}", kind)
    if kind == "gain" and "gain" in given:
        given["gain"] = _gain(given["gain"])
    options = read(entry.options, given)
    if isinstance(options, StdOptions):
        return Init(std=options.std, distribution=options.distribution)
    if isinstance(options, GainOptions):
        return Init(gain=options.gain, mode=options.mode, distribution=options.distribution)
    return Init(kind=kind, options=written(options))


def _names_gain(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a gain by name and kind, {gelu: variance}, and not the options of the initialiser."""
    return "gain" not in value


def _gain(value: Any) -> Any:
    """The number of a gain: a number, the name of an activation, or {gelu: variance}."""
    from study.network.activations import ACTIVATIONS
    from study.network.expectations import GAIN_KINDS, gain

    kind: Any = "torch"
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise OptionError(f"expected one activation, such as {{gelu: variance}}, got {dict(value)!r:.60}", "gain")
        ((value, kind),) = value.items()
        if kind not in GAIN_KINDS:
            raise OptionError(
                f"expected one of {', '.join(GAIN_KINDS)}, got {kind!r:.60}{suggest(str(kind), GAIN_KINDS)}", "gain"
            )
    elif not isinstance(value, str):
        return value
    if value not in ACTIVATIONS:
        raise OptionError(
            f"expected a number or the name of an activation, got {value!r:.60}{suggest(str(value), ACTIVATIONS)}",
            "gain",
        )
    return gain(value, kind)
