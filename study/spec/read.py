"""experiments.yaml as a Spec: the profile laid over it, inheritance resolved, what cannot be run refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from study.data.words import SPLITS
from study.errors import SpecError, suggest, unknown
from study.network.inits import Init
from study.network.layers import Layer, Network
from study.network.norms import Reading
from study.spec import schema
from study.spec.claims import check_at, check_measure, check_section, probed, select, value
from study.spec.describe import changes, described, schedule_words
from study.spec.document import Document, load_document
from study.spec.records import FULL_PROFILE, Condition, Published, Run, Spec, Sweep, Twins
from study.spec.schema import COMPARISONS, ClaimEntry, Comparison
from study.training.cells import Schedule
from study.training.identity import sha256

OVERLAY = (
    "seeds", "measure", "model", "training", "evaluation", "probe", "groups", "conditions", "published", "sweeps",
    "twins",
)  # fmt: skip
MAX_WEIGHTS = 10**8  # of one model; its gradients and a second copy want as much memory again


def read_study(
    path: Path,
    profile: str = FULL_PROFILE,
    seeds: Sequence[int] | None = None,
    name: str | None = None,
    anywhere: bool = False,
) -> Spec:
    """The study in the file at `path` under `profile`; SpecError for whatever cannot be run.

    data.path stays in the folder of the study file, unless it may lead `anywhere`.
    """
    document = load_document(path, name)
    written = schema.check_study(document, document.value)
    _confine(document, written.data.path, path.parent, anywhere)
    if profile not in (FULL_PROFILE, *written.profiles):
        known = (FULL_PROFILE, *(p for p in written.profiles if p != FULL_PROFILE))
        raise document.error(("profiles",), f"no profile '{profile}'{suggest(profile, known)}")
    laid = {name: overlay(document, name, patch) for name, patch in written.profiles.items()}
    # every profile is checked, the one in use or not
    studies = {name: schema.check_study(over, over.value) for name, over in laid.items()}
    overlaid, study = laid.get(profile, document), studies.get(profile, written)
    return _Resolver(overlaid, study, written).spec(path, profile, seeds, document)


def _confine(document: Document, data: str, folder: Path, anywhere: bool) -> None:
    """Refuse a data.path that is no file, or leaves `folder` by `..`, as an absolute path or through a symlink."""
    place = ("data", "path")
    try:
        home, target = folder.resolve(), (folder / data).resolve()
        inside, other = target.is_relative_to(home), target.exists() and not target.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL or too long a name; symlinks in a circle
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise document.error(place, f"cannot be followed ({reason:.80}), got {schema.shown_value(data)}") from None
    if not inside and not anywhere:
        problem = f"leads out of the study file's folder, got {schema.shown_value(data)}"
        raise document.error(place, f"{problem}; move the word list there, or allow this with --data-anywhere")
    if other:
        raise document.error(
            place, f"expected a file, a word on each line, got {schema.shown_value(data)}, which is none"
        )


def overlay(document: Document, profile: str, patch: Any) -> Document:
    """The document with `patch`, its profiles.<profile>, laid over it, key by key."""
    place = ("profiles", profile)
    if patch is None:
        return document
    if not isinstance(patch, dict):
        raise document.error(place, f"expected a mapping with {', '.join(OVERLAY)}, got {schema.shown_value(patch)}")
    for key in patch:
        if key not in OVERLAY:
            raise document.error((*place, key), f"unknown key {schema.shown_value(key)}{suggest(str(key), OVERLAY)}")
    lines = dict(document.lines)
    lines.update({path[2:]: line for path, line in document.lines.items() if path[:2] == place and len(path) > 2})
    return Document(document.name, _merge(document.value, patch), lines)


def _merge(base: Any, patch: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(patch, dict)) or _whole(patch):
        return patch
    return {**base, **{key: _merge(base.get(key), value) for key, value in patch.items()}}


def _whole(patch: dict[Any, Any]) -> bool:
    """Whether a mapping is one value, replaced whole: an Init, {std: 0.2}, or a schedule, {0: 0.1, 9: 0.01}."""
    init = set(patch) <= {"std", "gain"} and not any(isinstance(value, dict) for value in patch.values())
    return bool(patch) and (init or all(isinstance(key, int) for key in patch))


@dataclass(frozen=True)
class _Draft:
    """A condition in the making: what it has so far from its parents and itself."""

    group: str
    model: dict[str, Any]
    training: dict[str, Any]
    statistics: Reading | None
    embedding: Init | None
    hidden: dict[str, Any] | list[dict[str, Any]]  # fields of every level, or of each
    output: dict[str, Any]


class _Resolver:
    """One pass over a checked study file; `document` knows the lines that errors point to."""

    def __init__(self, document: Document, study: schema.StudyEntry, written: schema.StudyEntry) -> None:
        self.document, self.study, self.written = document, study, written
        self.groups = {name: g.title or name for name, g in study.groups.items()} or {"conditions": "Conditions"}
        self._drafts: dict[str, _Draft] = {}

    def spec(self, path: Path, profile: str, seeds: Sequence[int] | None, whole: Document) -> Spec:
        study = self.study
        self._check_data()
        if 1 in study.evaluation.batch_sizes:
            problem = "one example has no standard deviation to be read with; expected sizes of 2 or more, got 1"
            raise self.document.error(("evaluation", "batch_sizes"), problem)
        conditions = tuple(self._condition(name, ("conditions", name), raw) for name, raw in study.conditions.items())
        sweeps, swept = self._sweeps(conditions)
        self._check_measure((*conditions, *swept))
        return Spec(
            title=study.title,
            name=self.document.name,
            path=path,
            profile=profile,
            data=study.data.record(),
            seeds=tuple(study.seeds if seeds is None else seeds),
            measure=tuple(sorted(set(study.measure))),
            batch_sizes=tuple(sorted(set(study.evaluation.batch_sizes))),
            probe=None if study.probe is None else study.probe.record(),
            groups={g: t for g, t in self.groups.items() if any(c.group == g for c in conditions)},
            twins=self._twins(conditions),
            sweeps=sweeps,
            conditions=(*conditions, *swept),
            published=self._published(),
            claims=self._claims(conditions),
            document_sha256=sha256(whole.value),
        )

    # -- checks that need more than one key ---------------------------------------------------------------------

    def _check_data(self) -> None:
        data = self.study.data
        missing = [name for name in SPLITS if name not in data.splits]
        if missing:
            problem = f"missing split '{missing[0]}'; train, dev and test are needed"
            raise self.document.error(("data", "splits"), problem)
        for name in data.splits:
            match name:
                case "train" | "dev" | "test":
                    pass
                case _:
                    unknown(name)
        total = sum(Fraction(str(share)) for share in data.splits.values())
        if total != 1:
            raise self.document.error(("data", "splits"), f"the shares must add up to 1, got {float(total)}")
        character, times = Counter(data.vocabulary or " ").most_common(1)[0]
        if times > 1:
            raise self.document.error(("data", "vocabulary"), f"every character once, got {character!r} {times} times")
        if data.boundary in "\r\n":
            problem = f"expected a character that can stand in a line, got {data.boundary!r}"
            raise self.document.error(("data", "boundary"), problem)

    def _check_measure(self, conditions: Sequence[Condition]) -> None:
        longest = max(c.schedule.steps for c in conditions)
        for i, step in enumerate(self.study.measure):
            if not 0 < step <= longest:
                problem = f"expected a step from 1 to {longest}, the longest training of this profile, got {step}"
                raise self.document.error(("measure", i), problem)

    # -- conditions ---------------------------------------------------------------------------------------------

    def _parent(self, place: tuple[str, ...], raw: schema.ConditionEntry) -> _Draft:
        """What a condition starts from; its ancestors are drafted first, the oldest of them foremost."""
        conditions, chain = self.study.conditions, list[str]()
        origin = raw.from_
        while origin is not None and origin not in self._drafts:
            if origin not in conditions:
                raise self.document.error(
                    (*place, "from"), f"no condition {schema.shown_value(origin)}{suggest(origin, conditions)}"
                )
            if origin in chain:
                cycle = " from ".join((*chain[chain.index(origin) :], origin))
                raise self.document.error((*place, "from"), f"a cycle: {cycle:.200}")
            chain.append(origin)
            place, origin = ("conditions", origin), conditions[origin].from_
        for name in reversed(chain):
            self._drafts[name] = self._draft(("conditions", name), conditions[name])
        if raw.from_ is not None:
            return self._drafts[raw.from_]
        return _Draft(next(iter(self.groups)), self.study.model.model_dump(), {}, None, None, {}, {})

    def _draft(self, place: tuple[str, ...], raw: schema.ConditionEntry) -> _Draft:
        parent = self._parent(place, raw)
        if raw.group is not None and raw.group not in self.groups:
            raise self.document.error(
                (*place, "group"), f"no group {schema.shown_value(raw.group)}{suggest(raw.group, self.groups)}"
            )
        model = {**parent.model, **_sizes(raw.model)}
        group = raw.group or parent.group
        # what a condition moves to says more of it than what its parent said of itself
        shared = self._shared(place, group) if place[0] == "published" or group != parent.group else {}
        training = {key: number for key, number in parent.training.items() if key not in shared}
        return _Draft(
            group=group,
            model=model,
            training={**training, **_sizes(raw.training)},
            statistics=raw.statistics if raw.statistics is not None else parent.statistics,
            embedding=parent.embedding if raw.embedding is None else _init(raw.embedding),
            hidden=self._hidden(parent, raw, len(model["hidden"] or []), place),
            output={**parent.output, **_layer_fields(raw.output)},
        )

    def _hidden(self, parent: _Draft, raw: schema.ConditionEntry, depth: int, place: tuple[str, ...]) -> Any:
        """Fields of every level (a mapping) or of each (a list), the parent's first and the condition's over them."""
        below = parent.hidden
        if isinstance(below, list) and len(below) != depth:
            if below and all(_complete(fields) == _complete(below[0]) for fields in below):
                below = below[0]  # every level is this one, however many there are
            elif isinstance(raw.hidden, list):
                below = {}  # which of the parent's levels is which of these? They say all that they are themselves
            elif depth:
                problem = f"{schema.shown_value(raw.from_)} lists {len(below)} levels where this condition has {depth}"
                raise self.document.error((*place, "hidden"), f"{problem}; list all {depth}")
        if raw.hidden is None:
            return below
        if isinstance(raw.hidden, schema.LayerEntry):
            patch = _layer_fields(raw.hidden)
            return [{**base, **patch} for base in below] if isinstance(below, list) else {**below, **patch}
        patches = [_layer_fields(layer) for layer in raw.hidden]
        if isinstance(below, list) and len(below) != len(patches):
            return patches  # too many or too few: refused with the depth
        bases = below if isinstance(below, list) else [below] * len(patches)
        return [{**base, **patch} for base, patch in zip(bases, patches, strict=True)]

    def _condition(self, name: str, place: tuple[str, ...], raw: schema.ConditionEntry) -> Condition:
        draft = self._draft(place, raw)
        if place[0] == "conditions":
            self._drafts[name] = draft
        network = self._setup(draft, place)
        schedule = self._training(draft, network, place)
        if network.batchnorm_layers and raw.statistics == "none":
            problem = "BatchNorm is read with running, calibrated or batch statistics, got none"
            raise self.document.error((*place, "statistics"), problem)
        if not network.batchnorm_layers and raw.statistics not in (None, "none"):
            problem = f"no level has norm: batch, so there is nothing {raw.statistics}; leave it out"
            raise self.document.error((*place, "statistics"), problem)
        return Condition(
            name=name,
            title=raw.title or name,
            parent=raw.from_,
            group=draft.group,
            network=network,
            statistics=_statistics(draft, network),
            schedule=schedule,
            changes=tuple(self._changes(raw, draft, network, schedule)) or ("nothing",),
        )

    def _changes(self, raw: schema.ConditionEntry, draft: _Draft, network: Network, schedule: Schedule) -> list[str]:
        """What a condition changes of its parent's, in words."""
        statistics, before = _statistics(draft, network), "none"
        if raw.from_ is None:
            words, usual = described(network), _fields(schedule) == _sizes(self.study.training)
        else:
            origin, place = self._drafts[raw.from_], ("conditions", raw.from_)
            parent = self._setup(origin, place)
            words, before = changes(parent, network), _statistics(origin, parent)
            usual = schedule == self._training(origin, parent, place)
        if statistics not in ("none", before if before != "none" else "running"):
            words.append(f"read with {statistics} statistics" + (f" (were {before})" if before != "none" else ""))
        if not usual:
            words.append(f"training: {schedule_words(schedule)}")
        return words

    def _setup(self, draft: _Draft, place: tuple[str, ...]) -> Network:
        sizes = draft.model
        for key in ("context", "embedding", "hidden"):
            if sizes[key] is None:
                raise self.document.error(("model",), f"missing key '{key}'")
        widths = tuple(sizes["hidden"])
        hidden = draft.hidden if isinstance(draft.hidden, list) else [draft.hidden] * len(widths)
        if len(hidden) != len(widths):
            problem = (
                f"{len(hidden)} levels listed for the {len(widths)} of model.hidden {schema.shown_value(list(widths))}"
            )
            raise self.document.error((*place, "hidden"), problem)
        if draft.embedding is None:
            problem = "missing key 'embedding'; a condition without a parent says how C is drawn"
            raise self.document.error(place, problem)
        if draft.embedding.gain is not None:
            problem = "the embedding has no fan_in; expected {std: …}, got a gain"
            raise self.document.error((*place, "embedding"), problem)
        network = Network(
            context=sizes["context"],
            embedding_size=sizes["embedding"],
            widths=widths,
            embedding=draft.embedding,
            hidden=tuple(self._layer(fields, "tanh", (*place, "hidden")) for fields in hidden),
            output=self._layer(draft.output, "linear", (*place, "output")),
        )
        weights = sum(fan_in * fan_out for fan_in, fan_out in network.shapes(1)[:-1])
        if weights > MAX_WEIGHTS:
            problem = f"expected at most {MAX_WEIGHTS:,} weights, got {weights:,} before the output layer"
            raise self.document.error(self._where(place, draft.group, "model"), problem)
        return network

    def _layer(self, fields: Mapping[str, Any], activation: str, place: tuple[str, ...]) -> Layer:
        if fields.get("weight") is None:
            raise self.document.error(place, "missing key 'weight'; expected {std: …} or {gain: …}")
        return Layer(**_complete(fields, activation))

    def _training(self, draft: _Draft, network: Network, place: tuple[str, ...]) -> Schedule:
        """The schedule of the study, over it that of its group, over it what it and its parents say themselves."""
        fields = {**_sizes(self.study.training), **self._shared(place, draft.group), **draft.training}
        for key in ("batch_size", "steps", "lr"):
            if key not in fields:
                raise self.document.error(("training",), f"missing key '{key}'")
        lr, steps, batch_size = fields["lr"], fields["steps"], fields["batch_size"]
        where = self._where(place, draft.group)
        if network.batchnorm_layers and batch_size < 2:
            problem = f"BatchNorm needs 2 or more, as one example has no standard deviation; got {batch_size}"
            raise self.document.error((*where, "batch_size"), problem)
        if 0 not in lr:
            raise self.document.error((*where, "lr"), f"no rate for step 0; the first entry starts at {min(lr)}")
        if max(lr) >= steps:
            late = min(start for start in lr if start >= steps)
            problem = f"changes at step {late}, but training ends after {steps}; a shorter training names its own lr"
            raise self.document.error((*where, "lr"), problem)
        return Schedule(batch_size, steps, tuple(sorted(lr.items())))

    def _shared(self, place: tuple[str, ...], group: str) -> dict[str, Any]:
        """What is said of the training of all conditions of a group, or of all published runs."""
        between = self.study.published if place[0] == "published" else self.study.groups.get(group)
        return _sizes(between.training if between else None)

    def _where(self, place: tuple[str, ...], group: str, key: str = "training") -> tuple[str, ...]:
        """The `training:` (or `model:`) nearest to a condition: its own, its group's or published's, the study's."""
        between = ("published", key) if place[0] == "published" else ("groups", group, key)
        return next(path for path in ((*place, key), between, (key,)) if path in self.document.lines or path == (key,))

    # -- sweeps and twins ---------------------------------------------------------------------------------------

    def _named(self, place: tuple[str, ...], names: Sequence[str], known: Sequence[Condition]) -> list[Condition]:
        """The conditions of these names."""
        by_name = {c.name: c for c in known}
        for i, name in enumerate(names):
            if name not in by_name:
                raise self.document.error(
                    (*place, "of", i), f"no condition {schema.shown_value(name)}{suggest(name, by_name)}"
                )
        return [by_name[name] for name in dict.fromkeys(names)]

    def _sweeps(self, conditions: Sequence[Condition]) -> tuple[tuple[Sweep, ...], list[Condition]]:
        """Every sweep, and the conditions that it yields: a condition for each that is swept and each rate."""
        sweeps, yielded, taken = [], list[Condition](), {c.name for c in conditions}
        for name, raw in self.study.sweeps.items():
            if raw is None:
                continue
            place = ("sweeps", name)
            if raw.training is not None and raw.training.lr is not None:
                problem = f"the rates of a sweep are those of sweeps.{name}.lr; leave this out"
                raise self.document.error((*place, "training", "lr"), problem)
            swept, rates = self._named(place, raw.of, conditions), tuple(dict.fromkeys(raw.lr))
            names = {}
            for condition in swept:
                for rate in rates:
                    found = self._swept(condition, rate, raw, place)
                    if found.name in taken:
                        raise self.document.error(place, f"yields '{found.name}', which is there already")
                    taken.add(found.name)
                    names[condition.name, rate] = found.name
                    yielded.append(found)
            sweeps.append(Sweep(name, raw.title or name, tuple(c.name for c in swept), rates, names))
        return tuple(sweeps), yielded

    def _swept(self, condition: Condition, rate: float, raw: schema.SweepEntry, place: tuple[str, ...]) -> Condition:
        """A condition, trained at another learning rate."""
        draft = self._drafts[condition.name]
        fields = {**draft.training, **_sizes(raw.training), "lr": {0: rate}}
        schedule = self._training(replace(draft, training=fields), condition.network, place)
        return replace(
            condition,
            name=f"{condition.name} at lr {rate:.12g}",
            title=f"{condition.title}, lr {rate:.12g}",
            parent=condition.name,
            schedule=schedule,
            changes=(f"training: {schedule_words(schedule)}",),
            seeds=raw.seeds,
            sweep=place[-1],
        )

    def _twins(self, conditions: Sequence[Condition]) -> Twins | None:
        raw = self.study.twins
        if raw is None:
            return None
        chosen = self._named(("twins",), raw.of, conditions)
        short = raw.short
        return Twins(
            tuple(c.name for c in chosen),
            raw.seeds,
            raw.seeds if short is None else max(raw.seeds, short.seeds),
            1 if short is None else short.steps,
        )

    # -- published numbers and claims ---------------------------------------------------------------------------

    def _published(self) -> Published | None:
        raw = self.study.published
        if raw is None:
            return None
        runs = []
        for name, run in raw.runs.items():
            place = ("published", "runs", name)
            if run.from_ is None:
                raise self.document.error(place, "missing key 'from'; a published run is a condition, changed")
            condition = self._condition(name, place, run)
            as_written = self._as_written(name, condition)
            runs.append(Run(condition, run.origin, run.train, run.dev, run.tolerance, as_written))
        return Published(raw.source, raw.seed, raw.protocol, tuple(runs))

    def _as_written(self, name: str, condition: Condition) -> bool:
        """Whether the profile left the training of a published run as the file has it."""
        if self.study == self.written or self.written.published is None:
            return self.written.published is not None
        plain = _Resolver(self.document, self.written, self.written)
        raw = self.written.published.runs.get(name)
        if raw is None:
            return False
        original = plain._condition(name, ("published", "runs", name), raw)
        return original.schedule == condition.schedule and original.network == condition.network

    def _claims(self, conditions: Sequence[Condition]) -> tuple[ClaimEntry, ...]:
        first: dict[str, int] = {}
        for i, claim in enumerate(self.study.claims):
            self._claim(claim, ("claims", i), conditions)
            if first.setdefault(claim.id, i) != i:
                problem = f"the id '{claim.id:.60}' is taken by claim {first[claim.id] + 1}"
                raise self.document.error(("claims", i, "id"), problem)
        return tuple(self.study.claims)

    def _claim(self, claim: ClaimEntry, place: tuple[str | int, ...], conditions: Sequence[Condition]) -> None:
        """Refuse a claim that could not be judged whatever the tables say."""
        given = claim.comparisons
        if len(given) != 1:
            problem = f"expected one of {', '.join(COMPARISONS)}, got {', '.join(given) or 'none'}"
            raise self.document.error(place, problem)
        for key, partner in (("near", "within"), ("equivalent_to", "margin")):
            if (getattr(claim, key) is None) != (getattr(claim, partner) is None):
                raise self.document.error(place, f"{key} and {partner} belong together")
        comparison, other = claim.comparison, claim.other
        difference = _difference(comparison)
        chosen: list[Condition] = []
        key = "measure"
        try:
            check_measure(claim.measure)
            key = "at"
            check_at(claim.measure, claim.at)
            key = "section"
            check_section(claim.section)
            key = comparison
            if not difference:
                value(getattr(claim, comparison), vocabulary=2)
            for key in ("minus", *([comparison] if difference else []), "of"):
                if (named := getattr(claim, key)) is not None:
                    chosen = select(conditions, named) if not claim.measure.startswith("probe.") else probed(named)
        except SpecError as error:
            raise self.document.error((*place, key), str(error)) from None
        if not chosen and isinstance(claim.of, list):
            raise self.document.error((*place, "of"), "selects no condition, got an empty list")
        if claim.minus is not None and difference:
            raise self.document.error((*place, "minus"), f"{comparison} is a difference already; leave minus out")
        if other in [c.name for c in chosen]:
            raise self.document.error((*place, "of"), f"selects '{other}', which cannot be compared with itself")


def _complete(fields: Mapping[str, Any], activation: str = "tanh") -> dict[str, Any]:
    """Fields of a level, and what those that nobody gave are."""
    return {"bias": None, "norm": "none", "activation": activation, **fields}


def _difference(comparison: Comparison) -> bool:
    """Whether a comparison is with another condition, by the difference from it, and not with a bound."""
    match comparison:
        case "near" | "above" | "below":
            return False
        case "less_than" | "equivalent_to":
            return True
        case _:
            unknown(comparison)


def _statistics(draft: _Draft, network: Network) -> Reading:
    """What a condition is read with: running statistics unless it, or a parent, says otherwise."""
    if network.norm == "none":
        return "none"
    match draft.statistics:
        case None | "none":
            return "running"
        case "running" | "calibrated" | "batch":
            return draft.statistics
        case _:
            unknown(draft.statistics)


def _given(entry: schema.Entry | None) -> dict[str, Any]:
    """The keys that the user wrote."""
    return {} if entry is None else {key: getattr(entry, key) for key in entry.model_fields_set}


def _sizes(entry: schema.ModelEntry | schema.TrainingEntry | None) -> dict[str, Any]:
    """The numbers that the user wrote; null leaves a number as it was."""
    return {key: number for key, number in _given(entry).items() if number is not None}


def _fields(schedule: Schedule) -> dict[str, Any]:
    """A schedule as a study file has it."""
    return {"batch_size": schedule.batch_size, "steps": schedule.steps, "lr": dict(schedule.lr)}


def _init(raw: schema.InitEntry) -> Init:
    return Init(std=None if raw.std is None else float(raw.std), gain=None if raw.gain is None else float(raw.gain))


def _layer_fields(raw: schema.LayerEntry | None) -> dict[str, Any]:
    fields = _given(raw)
    return {key: _init(value) if isinstance(value, schema.InitEntry) else value for key, value in fields.items()}
