"""Name the entries of extensions without running their code: from what a run wrote of them into its manifest.

`described` turns extensions that are loaded into plain values, and `stand_in` turns these values into entries that a
study file can name and that no training can use. Their `origin` is empty, by which they are told from others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, make_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import numpy as np

from study.codehash import Origin
from study.data.source import SourceKind
from study.errors import SpecError
from study.measurement.labels import Label
from study.measurement.metrics import Metric
from study.network.activations import Activation
from study.network.expectations import GAIN_KINDS, gain
from study.network.inits import Init, Initialiser
from study.network.norms import Norm, Parameter
from study.spec.extensions import REGISTRIES, Extension, withdraw

Facts = dict[str, Any]
KINDS_OF_VALUE: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool, "none": NoneType}
NAMES = {kind: name for name, kind in KINDS_OF_VALUE.items()}


@dataclass(frozen=True)
class AbsentSection:
    """A section of an extension that is not loaded: it has a name, and shows nothing."""

    short: str
    needs: str
    origin: Origin = ()

    def make(self, results: object, ledger: object) -> None:
        """Show nothing, as a section does for which the study has no data."""


# -- from extensions to the manifest ----------------------------------------------------------------------------------


def described(extensions: Sequence[Extension]) -> list[Facts]:
    """The loaded extensions as plain values: name, sha256 of every file, and what readers need of the entries."""
    return [
        {
            "name": one.name,
            "files": dict(one.files),
            "entries": [
                {"kind": kind, "name": name, **_facts(kind, REGISTRIES[kind][name])} for kind, name in one.entries
            ],
        }
        for one in extensions
    ]


def _facts(kind: str, entry: Any) -> Facts:
    match entry:
        case Activation():
            return {"gains": {one: _gain(entry.name, one) for one in GAIN_KINDS}, "bounded": entry.bounded}
        case Norm():
            parameters = [{"key": p.key, "name": p.name, "init": asdict(p.init)} for p in entry.parameters]
            batch = {"needs_statistics": entry.needs_statistics, "least_batch": entry.least_batch}
            return {"label": entry.label, **batch, "parameters": parameters, "options": _options(entry.options)}
        case Initialiser():
            return {"options": _options(entry.options), "places": list(entry.places)}
        case Metric():
            activations = None if entry.activations is None else list(entry.activations)
            return {"label": asdict(entry.label), "activations": activations}
        case SourceKind():
            return {"noun": entry.noun, "options": _options(entry.source), "attributes": _constant(entry.source)}
        case _:  # a section of report/, which stands above this module
            return {"short": entry.short}


def _gain(name: str, kind: Any) -> float | None:
    try:
        return gain(name, kind)
    except (ZeroDivisionError, ValueError):  # such as the gain for a variance of 0
        return None


def _options(options: type[Any]) -> list[Facts]:
    hints = get_type_hints(options)
    return [
        {"name": one.name, "type": _type(hints[one.name])}
        | ({} if one.default is MISSING else {"default": one.default})
        for one in fields(options)
    ]


def _type(hint: Any) -> list[Any]:
    """The types of an option: `["float"]`, `[{"one of": ["a", "b"]}, "none"]`."""
    kinds = get_args(hint) if get_origin(hint) not in (None, Literal) else (hint,)
    return [{"one of": list(get_args(kind))} if get_origin(kind) is Literal else NAMES[kind] for kind in kinds]


# -- from the manifest to entries that have a name --------------------------------------------------------------------


def stand_in(files: dict[str, Path], told: Any) -> tuple[Extension, ...]:
    """Put entries that have only a name into the registries, for the extensions `files` (name -> path) of a study.

    `told` is what the manifest of a run says of them. Raises SpecError where it says nothing of one of them.
    """
    withdraw()
    try:
        by_name = {one["name"]: one for one in told or []}
        missing = [name for name in files if name not in by_name]
        if missing:
            problem = "the tables were made without it; make them again with `study run`, or load it with --trust"
            raise SpecError(f"{files[missing[0]]}: is not loaded, and {problem}")
        found = []
        for name, path in files.items():
            entries = by_name[name]["entries"]
            for facts in entries:
                _put(facts, name)
            made = tuple((facts["kind"], facts["name"]) for facts in entries)
            found.append(Extension(name, path, tuple(by_name[name]["files"].items()), made, loaded=False))
        return tuple(found)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        withdraw()
        problem = f"its entry about extensions is not readable ({type(error).__name__}: {error!s:.60})"
        raise SpecError(f"manifest.json: {problem}; remake it with `study run`") from None


def left_out(extensions: Sequence[Extension]) -> str:
    """What a page or a judgement leaves out, since extensions are not loaded. Empty if all are loaded."""
    absent = [one for one in extensions if not one.loaded]
    if not absent:
        return ""
    what = [f"{kind} {name}" for one in absent for kind, name in one.entries]
    files = ", ".join(one.name for one in absent)
    return (
        f"the extensions {files} are not loaded, since the study file does not lie below the working folder: sections of"
        f" theirs are left out, and there are no predictions with their entries ({', '.join(what)}); --trust loads them"
    )


def _put(facts: Facts, extension: str) -> None:
    kind, name = facts["kind"], facts["name"]
    registry = REGISTRIES[kind]
    if name in registry:
        raise ValueError(f"{kind} {name!r:.40} is known already")
    registry[name] = _entry(kind, name, facts, _NotLoaded(f"the {kind} {name!r:.60}", extension))


def _entry(kind: str, name: str, facts: Facts, absent: _NotLoaded) -> Any:
    match kind:
        case "activation":
            return _activation(name, facts["gains"], facts["bounded"], absent)
        case "norm":
            return Norm(
                name,
                label=facts["label"],
                normalise=absent,
                parameters=tuple(Parameter(p["key"], p["name"], _init(p["init"])) for p in facts["parameters"]),
                needs_statistics=facts["needs_statistics"],
                least_batch=facts["least_batch"],
                options=_class(facts["options"]),
                origin=(),
            )
        case "initialiser":
            return Initialiser(
                name,
                draw=absent,
                scale=lambda options, fan_in, fan_out: float("nan"),
                words=lambda options: f"{name}, which is not loaded",
                options=_class(facts["options"]),
                places=tuple(facts["places"]),
                origin=(),
            )
        case "metric":
            chosen = None if facts["activations"] is None else tuple(facts["activations"])
            return Metric(name, Label(**facts["label"]), absent, None, chosen, "metrics", False, origin=())
        case "source":
            return SourceKind(name, _class(facts["options"], facts["attributes"]), noun=facts["noun"], origin=())
        case "section":
            return AbsentSection(facts["short"], f"the extension {absent.extension}, which is not loaded (see --trust)")
        case _:
            raise ValueError(f"no kind of entry is {kind!r:.40}")


def _activation(name: str, gains: Mapping[str, float | None], bounded: bool, absent: _NotLoaded) -> Activation:
    """An activation that has these gains and nothing else: its moments are those at q = 1 that lead to the gains."""
    known = {kind: math.nan if value is None else float(value) for kind, value in gains.items()}
    square, slope = 1 / known["second moment"] ** 2, 1 / known["criticality"]
    mean = math.sqrt(max(0.0, square - 1 / known["variance"] ** 2))  # of either sign, which no gain depends on
    at_one = tuple(np.array([value]) for value in (mean, square, slope))
    return Activation(
        name,
        torch=absent,
        phi=absent,
        slope=lambda z: np.full_like(z, slope),
        gain=known["torch"],
        bounded=bounded,
        moments=lambda q: (at_one[0], at_one[1], at_one[2]),
        origin=(),
    )


@dataclass(frozen=True)
class _NotLoaded:
    """A function of an entry whose extension is not loaded."""

    what: str
    extension: str

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise SpecError(f"{self.what}: the extension {self.extension} is not loaded; load it with --trust")


def _init(facts: Facts) -> Init:
    return Init(**{**facts, "options": tuple((name, value) for name, value in facts["options"])})


def _constant(source: type[Any]) -> Facts:
    """The attributes of a source that no key of the study file sets."""
    keys = {one.name for one in fields(source)}
    return {name: getattr(source, name) for name in ("path", "about") if name not in keys}


def _class(options: Sequence[Facts], attributes: Mapping[str, Any] | None = None) -> type[Any]:
    """A dataclass of the options, which holds their types and defaults and checks nothing else."""
    found: list[Any] = []
    for one in options:
        kinds = [Literal[tuple(k["one of"])] if isinstance(k, dict) else KINDS_OF_VALUE[k] for k in one["type"]]
        found.append((one["name"], reduce(or_, kinds), field(default=one.get("default", MISSING))))
    return make_dataclass("Options", found, frozen=True, namespace=dict(attributes or {}))
