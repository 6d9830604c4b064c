"""The keys of a study file, with the type, range and default of each. Keys are checked against each other elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from study.data.source import SOURCES, Source
from study.data.word_source import WORDS, WordSource
from study.data.words import SplitName
from study.errors import refused, suggest
from study.measurement.probe import ProbeSizes
from study.network.activations import ACTIVATIONS
from study.network.inits import read_init
from study.network.model import MODELS
from study.network.norms import Reading, read_norm
from study.network.options import OptionError, read
from study.spec.comparisons import COMPARISONS, kinds
from study.spec.document import Document

MAX_SEEDS = 100_000
BATCH_SIZES = (2, 8, 32, 128, 1024)  # the default, as far as dev has so many examples

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Size = Annotated[int, Field(ge=1, le=100_000)]
Step = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, Field(min_length=1)]


def _problem(message: str) -> PydanticCustomError:
    return PydanticCustomError("study", "{message}", {"message": message})


def _none(value: Any) -> Any:
    """The value without a distinction between null and the word `none`."""
    return None if value == "none" else value


def _none_word(value: Any) -> Any:
    return "none" if value is None else value


def _name(name: str) -> str:
    """A name that fits in one line and in a list with commas, and that is not the word none."""
    if not name.isprintable() or "," in name or name != name.strip() or not 0 < len(name) <= 100 or name == "none":
        raise _problem(
            "expected a name of 1 to 100 printable characters without a comma, without blanks around it, and not none; "
            f"got {shown_value(name)}"
        )
    return name


def _profile_name(name: str) -> str:
    """A name that may end the name of a folder: build/<study>-<profile>."""
    if "/" in name or "\\" in name:
        raise _problem(
            f"expected a name without / and \\, since it is part of a folder's name; got {shown_value(name)}"
        )
    return name


def _read_as(reader: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A validator out of a reader of network/, whose problem may name a key within the value."""

    def read(value: Any) -> Any:
        try:
            return reader(value)
        except OptionError as problem:
            context = {"message": str(problem), "at": problem.at}
            raise PydanticCustomError("option", "{message}", context) from None

    return read


def _activation(value: Any) -> str:
    """The name of an activation that is known."""
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise _problem(f"no activation {shown_value(value)}{suggest(str(value), ACTIVATIONS)}")
    return value


def _kind(name: str) -> str:
    """The name of a kind of model that is known."""
    if name not in MODELS:
        raise _problem(f"no model {shown_value(name)}{suggest(name, MODELS)}")
    return name


def _schedule(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {0: value}
    if not isinstance(value, dict) or not value:
        raise _problem(f"expected a rate, or a mapping such as {{0: 0.1, 1000: 0.01}}, got {shown_value(value)}")
    return value


OrNone = BeforeValidator(_none)
Name = Annotated[str, AfterValidator(_name)]
ProfileName = Annotated[Name, AfterValidator(_profile_name)]


class Entry(BaseModel):
    """A mapping of the study file. Unknown keys are refused, and no value is converted in silence."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _problem(f"expected a mapping with {', '.join(cls.keys())}, got {shown_value(value)}")
        for key in value:
            if key not in (known := cls.keys()):
                hint = suggest(str(key), known)
                raise PydanticCustomError(
                    "unknown_key", "unknown key {key}{hint}", {"key": shown_value(key), "hint": hint, "at": key}
                )
        return value

    @classmethod
    def keys(cls) -> list[str]:
        """The keys that may stand here, as the user writes them."""
        return [field.alias or name for name, field in cls.model_fields.items()]


class DataEntry(Entry):
    """The key `data` of a study of words: a word list and its splits."""

    kind: Literal["words"] = "words"
    path: Text
    sha256: Annotated[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None, OrNone] = None
    about: Annotated[Text | None, OrNone] = None
    vocabulary: Annotated[Text | None, OrNone] = None
    boundary: Annotated[str, Field(min_length=1, max_length=1)] = "."
    splits: dict[SplitName, Annotated[float, Field(gt=0, lt=1)]] = {"train": 0.8, "dev": 0.1, "test": 0.1}
    shuffle_seed: int = 42

    def record(self) -> WordSource:
        """The source of the examples."""
        return WordSource(**self.model_dump(exclude={"kind"}))


def _source(value: Any) -> Source:
    """The source of another kind, whose dataclass reads and checks the other keys."""
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in SOURCES:
        problem = f"no source {shown_value(kind)}{suggest(str(kind), SOURCES)}"
        raise PydanticCustomError("option", "{message}", {"message": problem, "at": "kind"})
    entry: Source = read(SOURCES[kind].source, {key: given for key, given in value.items() if key != "kind"})
    return entry


def _of_words(value: Any) -> bool:
    return not isinstance(value, dict) or value.get("kind", WORDS.name) == WORDS.name


DataWords = Annotated[
    Annotated[DataEntry, Tag("a word list")] | Annotated[Any, PlainValidator(_read_as(_source)), Tag("a source")],
    Discriminator(lambda value: "a word list" if isinstance(value, DataEntry) or _of_words(value) else "a source"),
]


class ModelEntry(Entry):
    """The key `model`: the kind of model and the sizes of the network. A condition may give any part of them."""

    kind: Annotated[str, AfterValidator(_kind)] | None = None
    context: Annotated[int, Field(ge=1, le=1000)] | None = None
    embedding: Size | None = None
    hidden: Annotated[list[Size], Field(min_length=1, max_length=100)] | None = None


class TrainingEntry(Entry):
    """The key `training`: the schedule of plain SGD. Below the top of the file, any part of it may be given.

    Without steps (`steps: 0`) there is no training: a condition is measured as it is drawn.
    """

    batch_size: Annotated[int, Field(ge=1, le=10**6)] | None = None
    steps: Step | None = None
    lr: Annotated[dict[Step, Positive], BeforeValidator(_schedule)] | None = None


_init = _read_as(read_init)
InitWords = Annotated[Any, PlainValidator(_init)]  # an Init, or a Scheme
NormWords = Annotated[Any, PlainValidator(_read_as(read_norm))]  # a NormChoice


class LayerEntry(Entry):
    """The keys of a layer in a condition. A key that is left out is inherited from the parent."""

    weight: InitWords = None
    bias: Annotated[Any, PlainValidator(lambda value: None if _none(value) is None else _init(value))] = None
    norm: NormWords = None
    activation: Annotated[Any, PlainValidator(_activation)] = None


Hidden = Annotated[
    Annotated[LayerEntry, Tag("every layer")] | Annotated[list[LayerEntry], Tag("one per layer")],
    Discriminator(lambda value: "one per layer" if isinstance(value, list) else "every layer"),
]


class ConditionEntry(Entry):
    """A condition: its parent, and only the keys that it changes."""

    title: str | None = None
    from_: Annotated[str | None, OrNone] = Field(default=None, alias="from")
    group: str | None = None
    statistics: Annotated[Reading | None, BeforeValidator(_none_word)] = None
    embedding: InitWords = None
    hidden: Hidden | None = None
    output: LayerEntry | None = None
    model: ModelEntry | None = None
    training: TrainingEntry | None = None


class RunEntry(ConditionEntry):
    """A run of somebody else: a condition, and the losses that were published for it."""

    train: Finite
    dev: Finite
    tolerance: Annotated[Positive | None, OrNone] = None
    origin: str = ""


class PublishedEntry(Entry):
    """The key `published`: the numbers of others, with their source and exactly the runs behind them."""

    source: str
    seed: Seed
    protocol: Literal["lecture"] = "lecture"  # it marks these runs in the tables, beside the study's own trainings
    training: TrainingEntry | None = None
    runs: Annotated[dict[Name, RunEntry], Field(min_length=1)]


class GroupEntry(Entry):
    """An entry of `groups`: conditions that are shown and compared together."""

    title: str | None = None
    training: TrainingEntry | None = None


class SweepEntry(Entry):
    """An entry of `sweeps`: conditions that are trained again at several learning rates."""

    title: str | None = None
    of: Annotated[list[str], Field(min_length=1)]
    lr: Annotated[list[Positive], Field(min_length=1)]
    training: TrainingEntry | None = None
    seeds: Count | None = None


class ShortEntry(Entry):
    """The short pairs of twins: the number of seeds in all, and the number of steps."""

    seeds: Count
    steps: Count


class TwinsEntry(Entry):
    """The key `twins`: conditions that are trained again from a start that differs in the last bit of one weight."""

    of: Annotated[list[str], Field(min_length=1)]
    seeds: Step = 3
    short: Annotated[ShortEntry | None, OrNone] = None


class ProbeEntry(Entry):
    """The key `probe`: Gaussian x (examples, fan_in) @ w (fan_in, units), to measure how the std grows with fan_in."""

    examples: Annotated[int, Field(ge=2, le=10**6)] = 1000
    units: Annotated[int, Field(ge=2, le=10**6)] = 200
    fan_in: Annotated[list[Count], Field(min_length=1)] = [10, 30, 100, 300, 1000]

    def record(self) -> ProbeSizes:
        """The record that the drawing of the probe takes."""
        return ProbeSizes(self.examples, self.units, tuple(self.fan_in))


class EvaluationEntry(Entry):
    """The key `evaluation`: the batch sizes at which BatchNorm is read with the statistics of the batch.

    All sizes are read on the same examples.
    """

    batch_sizes: list[Count] = list(BATCH_SIZES)


def _selection(value: Any) -> Any:
    texts = value if isinstance(value, (list, dict)) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise _problem(
            f"expected a condition, a list of conditions or a mapping of properties, got {shown_value(value)}"
        )
    return value


class ClaimEntry(Entry):
    """A sentence that the study asserts, with its measurement and the comparison that could refute it.

    A claim has exactly one comparison, with its partner: the keys are those of `spec/comparisons.py`.
    """

    model_config = ConfigDict(extra="allow")  # the keys of the comparisons, which `_compared` reads

    id: Text
    sentence: Text
    measure: str  # loss.train, or a metric, or a gradient's metric and its parameter: grad_norm.W1
    at: Literal["init", "common", "end", "best"] | Step = "init"
    layer: Count = 1
    of: Annotated[str | list[str] | dict[str, Any], BeforeValidator(_selection)]
    minus: str | None = None  # the claim is then about the difference from this condition, seed by seed
    because: str = ""
    gate: bool = False
    section: str = ""

    @model_validator(mode="before")
    @classmethod
    def _compared(cls, value: Any) -> Any:
        """Read what the comparisons and their partners are given. A key without a value is left out."""
        if not isinstance(value, dict):
            return value
        for entry in COMPARISONS.values():
            if entry.key in cls.model_fields or (entry.partner is not None and entry.partner.key in cls.model_fields):
                raise refused(entry, "a claim has another key of this name or of its partner's; choose another one")
        known = kinds()
        return {
            key: _read_as_kind(key, known[key], given) if key in known else given
            for key, given in value.items()
            if given is not None or key not in known
        }

    @classmethod
    def keys(cls) -> list[str]:
        """The keys that may stand here, those of the comparisons among them."""
        return [*super().keys(), *kinds()]

    def compared(self, key: str) -> Any:
        """The value under the key of a comparison or of its partner; None where the claim does not give it."""
        return (self.model_extra or {}).get(key)

    @property
    def comparisons(self) -> list[str]:
        """The comparisons that are given. When a study file is read, exactly one is allowed."""
        return [key for key in COMPARISONS if self.compared(key) is not None]

    @property
    def comparison(self) -> str:
        """The key of the comparison that is given."""
        (given,) = self.comparisons
        return given

    @property
    def value(self) -> Any:
        """The value of the comparison: a bound, the name of a condition, or what else it takes."""
        return self.compared(self.comparison)

    @property
    def partner(self) -> Any:
        """The value of the key that belongs to the comparison; None where it has no such key."""
        beside = COMPARISONS[self.comparison].partner
        return None if beside is None else self.compared(beside.key)

    @property
    def other(self) -> str | None:
        """The condition (or initialiser of the probe) that the selected ones are compared with, if any.

        The comparison is paired by seed.
        """
        named: str | None = self.value if COMPARISONS[self.comparison].names_a_condition else self.minus
        return named


def _read_as_kind(key: str, kind: Any, given: Any) -> Any:
    """The value as pydantic reads this kind, without conversions. The problem names the key."""
    try:
        return TypeAdapter(kind).validate_python(given, strict=True)
    except ValidationError as problem:
        raise PydanticCustomError("option", "{message}", {"message": _told(problem.errors()[0]), "at": key}) from None


def _seeds(value: Any) -> Any:
    """The list of seeds: a number n stands for the seeds from 0 to n - 1."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_SEEDS:
        return list(range(value))
    if not isinstance(value, list) or not 0 < len(value) <= MAX_SEEDS:
        raise _problem(
            f"expected a number of seeds from 1 to {MAX_SEEDS:,}, or a list of them, got {shown_value(value)}"
        )
    return value


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise _problem(f"expected distinct seeds, got {shown_value(seeds)}")
    return seeds


SeedsEntry = Annotated[list[Seed], BeforeValidator(_seeds), AfterValidator(_distinct)]


class StudyEntry(Entry):
    """A whole study file, with one profile laid over it."""

    title: str = "A study of initialisation"
    out: Annotated[Text | None, OrNone] = None
    extensions: list[Text] = []
    data: DataWords  # a DataEntry, or a Source
    model: ModelEntry
    training: TrainingEntry
    seeds: SeedsEntry
    initial_states: Annotated[Annotated[int, Field(ge=1, le=MAX_SEEDS)] | None, OrNone] = None
    measure: list[Step] = []
    evaluation: EvaluationEntry = EvaluationEntry()
    probe: Annotated[ProbeEntry | None, OrNone] = None
    groups: dict[Name, GroupEntry] = {}
    profiles: dict[ProfileName, Any] = {}
    conditions: Annotated[dict[Name, ConditionEntry], Field(min_length=1)]
    published: Annotated[PublishedEntry | None, OrNone] = None
    sweeps: dict[Name, Annotated[SweepEntry | None, OrNone]] = {}
    twins: Annotated[TwinsEntry | None, OrNone] = None
    claims: list[ClaimEntry] = []


def shown_value(value: Any, limit: int = 60) -> str:
    """The value about as the user wrote it, cut to `limit` characters."""
    words = {None: "null", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def check_study(document: Document, value: Any) -> StudyEntry:
    """The content of the file as an entry. Raises SpecError with the place, the value and the expectation."""
    try:
        return StudyEntry.model_validate(value)
    except ValidationError as problem:
        error = problem.errors(include_url=False)[0]
        path = _path(value, error["loc"])
        if error["type"] == "unknown_key":
            raise document.error((*path, error["ctx"]["at"]), error["msg"]) from None
        if error["type"] == "missing":
            raise document.error(path, f"missing key '{error['loc'][-1]}'") from None
        if error["type"] == "option":
            raise document.error((*path, *filter(None, [error["ctx"]["at"]])), error["msg"]) from None
        if error["type"] == "study":
            raise document.error(path, error["msg"]) from None
        raise document.error(path, _told(error)) from None


PLAIN = {
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected a mapping",
    "string_too_short": "expected some text",
    "string_too_long": "expected one character",
    "string_pattern_mismatch": "expected 64 hexadecimal digits in lower case",
    "too_short": "expected at least one entry",
    "too_long": "expected at most {max_length} entries",
    "greater_than_equal": "expected {ge:g} or more",
    "greater_than": "expected more than {gt:g}",
    "less_than_equal": "expected at most {le:,}",
    "less_than": "expected less than {lt:,}",
}  # in the words of a study file; other types keep pydantic's message


def _told(error: ErrorDetails) -> str:
    return f"{_plain(error)}, got {shown_value(error['input'])}{_quotes(error)}"


def _plain(error: ErrorDetails) -> str:
    if error["type"] in PLAIN:
        return PLAIN[error["type"]].format(**error.get("ctx", {}))
    return error["msg"].replace("Input should be", "expected", 1)


def _quotes(error: ErrorDetails) -> str:
    scalar = isinstance(error["input"], (bool, int, float))
    return "; put it in quotes" if error["type"] == "string_type" and scalar else ""


def _path(value: Any, loc: Iterable[str | int]) -> tuple[str | int, ...]:
    """The keys and indices of `loc` that are in the file, without the names of union members that pydantic adds."""
    path: list[str | int] = []
    for part in loc:
        if (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int)):
            value = value[part]  # type: ignore[index]
            path.append(part)
    return tuple(path)
