"""Check the vocabulary of claims (conditions, measurements, steps, values, sections) when a study file is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from study.data.words import SPLITS
from study.errors import SpecError, suggest
from study.measurement.probe import PROBES
from study.network.norms import NORMS
from study.spec.anchors import anchors
from study.spec.comparisons import COMPARISONS
from study.spec.document import Path_
from study.spec.quantities import measures, of_twins
from study.spec.records import Condition
from study.spec.schema import ClaimEntry, shown_value
from study.spec.study_file import StudyFile


def select(conditions: Sequence[Condition], of: str | Sequence[str] | Mapping[str, Any]) -> list[Condition]:
    """The conditions with a name, one of several names, or properties.

    Properties are written as {output_std: {max: 0.01}}, {norm: batch} or {parent: null}.
    """
    if isinstance(of, Mapping):
        for key, wanted in of.items():
            _check_property(key, wanted, conditions[0].properties())
        return [c for c in conditions if all(_matches(c.properties()[key], wanted) for key, wanted in of.items())]
    names = [of] if isinstance(of, str) else list(of)
    known = [c.name for c in conditions]
    for name in names:
        if name not in known:
            raise SpecError(f"no condition {shown_value(name)}{suggest(name, known)}")
    return [c for c in conditions if c.name in names]


def _check_property(key: str, wanted: Any, properties: Mapping[str, Any]) -> None:
    if key not in properties:
        raise SpecError(f"unknown property {shown_value(key)}{suggest(key, properties)}")
    if isinstance(wanted, Mapping):
        good = bool(wanted) and set(wanted) <= {"min", "max"} and all(_number(v) for v in wanted.values())
    else:
        good = not any(isinstance(v, (dict, list)) for v in (wanted if isinstance(wanted, list) else [wanted]))
    if not good:
        expected = "expected a value, a list of values, or {min: …, max: …}"
        raise SpecError(f"property '{key}': {expected}, got {shown_value(wanted)}")


def probed(of: str | Sequence[str] | Mapping[str, Any]) -> list[Condition]:
    """Return no conditions: a claim about the probe names an initialiser that the probe draws, not a condition.

    Raises SpecError for an initialiser that the probe does not draw.
    """
    if not isinstance(of, str) or of not in PROBES:
        raise SpecError(f"the probe has no {shown_value(of)}{suggest(str(of), PROBES)}")
    return []


def _matches(got: Any, wanted: Any) -> bool:
    if isinstance(got, float) and math.isnan(got):
        raise SpecError("selects by a std that only an extension knows, which is not loaded; load it with --trust")
    if isinstance(wanted, Mapping):
        return _number(got) and bool(wanted.get("min", -math.inf) <= got <= wanted.get("max", math.inf))
    values = wanted if isinstance(wanted, list) else [wanted]
    return _null(got) in map(_null, values)


def _null(value: Any) -> Any:
    """The value without a distinction between null and the word `none`."""
    return None if value == "none" else value


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_measure(measure: str) -> tuple[str, str]:
    """The parts (name, split or parameters) of a measurement.

    Examples are `loss.train`, `saturation_99`, `grad_norm.W1` and `grad_norm.C+W1`. Raises SpecError for a measurement
    that is not known, and for parts that do not belong to it.
    """
    name, dot, rest = measure.partition(".")
    known = measures()
    if name not in known:
        raise SpecError(f"unknown measurement {shown_value(name)}{suggest(name, known)}")
    if name == "loss" and rest not in SPLITS:
        raise SpecError(f"measurement 'loss' needs a split: loss.{', loss.'.join(SPLITS)}; got {shown_value(measure)}")
    norms = (parameter.name for norm in NORMS.values() for parameter in norm.parameters)
    parameter = rf"(?:C|(?:{'|'.join(map(re.escape, ('W', 'b', *norms)))})[1-9][0-9]*)"
    several = rf"(?:\+{parameter})*" if name == "grad_norm" else ""
    of_parameter = known[name].of == "parameter"
    if of_parameter and not re.fullmatch(parameter + several, rest):
        raise SpecError(f"measurement '{name}' needs a parameter, as in {name}.W1; got {shown_value(measure)}")
    if name == "probe" and not re.fullmatch(r"slope|[1-9][0-9]{0,8}", rest):
        raise SpecError(
            f"measurement 'probe' needs a fan_in, as in probe.100, or probe.slope; got {shown_value(measure)}"
        )
    if not of_parameter and name not in ("loss", "probe") and dot:
        raise SpecError(f"measurement '{name}' takes no split and no parameter, got {shown_value(measure)}")
    return name, rest


def check_at(measure: str, at: str | int) -> None:
    """Raise SpecError for a measurement of whole trainings at another time than the end.

    A measurement of twins may also have a step.
    """
    name, _ = check_measure(measure)
    if measures()[name].of != "training" or at == "end" or (isinstance(at, int) and of_twins(measure)):
        return
    step = " or at: a step" if of_twins(measure) else ""
    raise SpecError(f"measurement '{measure}' is of a whole training; write at: end{step}, got {shown_value(at)}")


def check_section(name: str) -> None:
    """Raise SpecError for a section that the report does not have."""
    if name and name not in anchors():
        raise SpecError(f"no section {shown_value(name)}{suggest(name, anchors())}")


# -- the claims of a file ---------------------------------------------------------------------------------------------


def check_claims(file: StudyFile, conditions: Sequence[Condition]) -> tuple[ClaimEntry, ...]:
    """The claims of a study file. Raises SpecError for a claim that no tables could decide."""
    first: dict[str, int] = {}
    for i, claim in enumerate(file.content.claims):
        _check_claim(file, ("claims", i), claim, conditions)
        if first.setdefault(claim.id, i) != i:
            problem = f"the id '{claim.id:.60}' is taken by claim {first[claim.id] + 1}"
            raise file.error(("claims", i, "id"), problem)
    return tuple(file.content.claims)


def with_gradients(conditions: Sequence[Condition], claims: Sequence[ClaimEntry]) -> tuple[Condition, ...]:
    """The conditions, with those marked that have no training and whose gradients a claim asks for."""
    asked: set[str] = set()
    for claim in claims:
        if measures()[check_measure(claim.measure)[0]].of == "parameter":
            asked |= {
                c.name for named in (claim.of, claim.other) if named is not None for c in select(conditions, named)
            }
    return tuple(replace(c, gradients=True) if c.untrained and c.name in asked else c for c in conditions)


def _check_claim(file: StudyFile, place: Path_, claim: ClaimEntry, conditions: Sequence[Condition]) -> None:
    _check_keys(file, place, claim)
    comparison, key = COMPARISONS[claim.comparison], "measure"
    chosen: list[Condition] = []
    try:
        check_measure(claim.measure)
        key = "at"
        check_at(claim.measure, claim.at)
        key = "section"
        check_section(claim.section)
        key = comparison.key
        comparison.check(claim.value)
        compared = [(comparison.key, claim.value)] if comparison.names_a_condition else []
        for name, named in (("minus", claim.minus), *compared, ("of", claim.of)):
            key = name
            if named is not None:
                chosen = probed(named) if claim.measure.startswith("probe.") else select(conditions, named)
    except SpecError as error:
        raise file.error((*place, key), str(error)) from None
    if not chosen and isinstance(claim.of, list):
        raise file.error((*place, "of"), "selects no condition, got an empty list")
    if claim.minus is not None and comparison.names_a_condition:
        raise file.error((*place, "minus"), f"{comparison.key} is a difference already; leave minus out")
    if claim.other in [c.name for c in chosen]:
        raise file.error((*place, "of"), f"selects '{claim.other}', which cannot be compared with itself")


def _check_keys(file: StudyFile, place: Path_, claim: ClaimEntry) -> None:
    """Raise SpecError unless a claim has exactly one comparison, with its partner if it needs one."""
    given = claim.comparisons
    if len(given) != 1:
        problem = f"expected one of {', '.join(COMPARISONS)}, got {', '.join(given) or 'none'}"
        raise file.error(place, problem)
    for key, comparison in COMPARISONS.items():
        beside = comparison.partner
        if beside is not None and (claim.compared(key) is None) != (claim.compared(beside.key) is None):
            raise file.error(place, f"{key} and {beside.key} belong together")
