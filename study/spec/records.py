"""The records of a study under one profile, in which the inheritance between conditions is resolved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.codehash import Origin
from study.data.source import Source, kind_of
from study.data.word_source import WordSource
from study.measurement import metrics
from study.measurement.probe import ProbeSizes
from study.network.inits import Init
from study.network.layers import Network
from study.network.norms import Reading
from study.spec.extensions import Extension
from study.spec.schema import ClaimEntry
from study.training.cells import Protocol, Schedule
from study.training.identity import gained, network_values, schedule_values, sha256

FULL_PROFILE = "full"  # the study as written; every other profile overrides some of its keys


@dataclass(frozen=True)
class Condition:
    """A row of the study: a network under a schedule, and the statistics that it is read with."""

    name: str
    title: str
    parent: str | None
    group: str
    network: Network
    statistics: Reading
    schedule: Schedule
    changes: tuple[str, ...]  # from its parent, in words; without a parent, the description of the whole condition
    seeds: int | None = None  # how many of the study's seeds it is trained with; None: all
    sweep: str = ""  # the sweep that yielded it
    gradients: bool = False  # whether gradients are measured, though it has no training: where a claim asks for them

    @property
    def untrained(self) -> bool:
        """Whether it has no training, and is measured at step 0 alone."""
        return self.schedule.steps == 0

    def properties(self) -> dict[str, Any]:
        """The properties by which claims and sections select conditions."""
        shapes, output = self.network.shapes(1), self.network.output
        return {
            "name": self.name,
            "parent": self.parent,
            "group": self.group,
            "statistics": self.statistics,
            "norm": self.network.norm,
            "model": self.network.kind,
            "activation": self.network.activation,
            "depth": len(self.network.hidden),
            "hidden_std": _std(self.network.hidden[0].weight, *shapes[0]) if self.network.hidden else None,
            "output_std": _std(output.weight, shapes[-1][0]),
            "output_bias_std": 0.0 if output.bias is None else _std(output.bias, shapes[-1][0]),
            "output_norm": output.norm,
        }


def _std(init: Init, fan_in: int, fan_out: int | None = None) -> float | None:
    """The std of a parameter that is drawn around 0.

    It is None where the draw has another mean, and where the std depends on the fan_out of the output layer, the size
    of the vocabulary, which no study file says. It is NaN where the initialiser is of an extension that is not loaded.
    """
    if not init.entry.origin:
        return math.nan
    if not init.centred or (fan_out is None and init.scale(fan_in, 1) != init.scale(fan_in, 10**9)):
        return None
    return init.scale(fan_in, fan_out or 1)


@dataclass(frozen=True)
class Run:
    """A published run: its condition, the losses printed for it, and the tolerance for a reproduction."""

    condition: Condition
    origin: str
    train: float
    dev: float
    tolerance: float | None
    comparable: bool  # whether this profile trains exactly the published run, to its last step


@dataclass(frozen=True)
class Published:
    """The numbers that somebody else published."""

    source: str
    seed: int
    protocol: Protocol
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Sweep:
    """Conditions that are trained again at several learning rates, to compare each at its own best rate."""

    name: str
    title: str
    conditions: tuple[str, ...]  # the names of the swept conditions
    rates: tuple[float, ...]
    yielded: dict[tuple[str, float], str]  # (swept condition, rate) -> the condition that it yields


@dataclass(frozen=True)
class Twins:
    """The trainings that are repeated from a start that differs in the last bit of one weight."""

    conditions: tuple[str, ...]
    seeds: int  # the number of twins that are trained as long as the condition
    short_seeds: int  # the number of all twins; those after the first `seeds` are trained for `short_steps`
    short_steps: int


@dataclass(frozen=True)
class Spec:
    """The whole study under one profile."""

    title: str
    name: str  # of the file, as the user wrote it
    path: Path  # of the file; data.path is relative to its folder
    profile: str
    data: Source
    seeds: tuple[int, ...]
    measure: tuple[int, ...]  # steps besides the first and the last
    batch_sizes: tuple[int, ...]
    probe: ProbeSizes | None
    groups: dict[str, str]  # name -> title
    conditions: tuple[Condition, ...]
    published: Published | None
    twins: Twins | None
    sweeps: tuple[Sweep, ...]
    claims: tuple[ClaimEntry, ...]
    document_sha256: str  # of all that the file holds, without comments and layout
    initial_states: tuple[int, ...] = ()  # the seeds of the states that each condition has beside its trainings
    extensions: tuple[Extension, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder of the study file, to which data.path is relative."""
        return self.path.parent

    def condition(self, name: str) -> Condition:
        """The condition called `name`."""
        return next(c for c in self.conditions if c.name == name)

    @property
    def entries(self) -> dict[str, Origin]:
        """The entries of registries that the study uses, in words, and where each of them was made."""
        runs = [] if self.published is None else [run.condition for run in self.published.runs]
        kind = kind_of(self.data)
        found = {} if isinstance(self.data, WordSource) else {f"source {kind.name}": kind.origin}
        for condition in (*self.conditions, *runs):
            found |= condition.network.entries | metrics.entries(condition.network)
        return found

    def digest(self) -> str:
        """The sha256 of all that determines a number of the tables: without titles, claims and published losses."""
        conditions = [(c.name, *_numbers(c)) for c in self.conditions]
        runs = [] if self.published is None else [_numbers(run.condition) for run in self.published.runs]
        published = None if self.published is None else (self.published.seed, self.published.protocol, runs)
        probe = None if self.probe is None else _probe(self.probe)
        data, twins = _data(self.data), None if self.twins is None else _twins(self.twins)
        states = [self.initial_states] if self.initial_states else []  # a study without them keeps its identity
        return sha256([data, self.seeds, self.measure, self.batch_sizes, probe, conditions, published, twins, *states])


def _data(data: Source) -> dict[str, Any]:
    """What determines the examples. The place of a file and the text `about` change no number."""
    if not isinstance(data, WordSource):
        return {"kind": kind_of(data).name} | gained(data, "path", "about")
    own = {
        "sha256": data.sha256,
        "vocabulary": data.vocabulary,
        "boundary": data.boundary,
        "splits": data.splits,
        "shuffle_seed": data.shuffle_seed,
    }
    return own | gained(data, "path", "about", *own)


def _probe(probe: ProbeSizes) -> dict[str, Any]:
    own = {"examples": probe.examples, "units": probe.units, "fan_in": probe.fan_in}
    return own | gained(probe, *own)


def _twins(twins: Twins) -> dict[str, Any]:
    own = {
        "conditions": twins.conditions,
        "seeds": twins.seeds,
        "short_seeds": twins.short_seeds,
        "short_steps": twins.short_steps,
    }
    return own | gained(twins, *own)


def _numbers(condition: Condition) -> tuple[Any, ...]:
    """All fields of a condition that determine its numbers."""
    own = network_values(condition.network), condition.statistics, schedule_values(condition.schedule), condition.seeds
    return (*own, "gradients") if condition.gradients else own
