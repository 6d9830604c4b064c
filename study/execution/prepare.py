"""Prepare a run: read the examples of a study, plan its cells, and open its place in the cache. Nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.data.source import Examples, kind_of
from study.data.words import fillable
from study.errors import SpecError
from study.execution.cache import Cache, Store
from study.execution.keys import data_facts, keys_of
from study.execution.plan import Plan, plan_study
from study.execution.states import InitialStates, states_of
from study.measurement.rows import Request
from study.spec.extensions import blamed, load_same
from study.spec.records import Spec
from study.spec.schema import BATCH_SIZES


@dataclass(frozen=True)
class Prepared:
    """All that a run needs before its first step."""

    examples: Examples
    plan: Plan
    states: InitialStates
    reading: Request  # the steps and batch sizes to be measured
    store: Store


def prepare(spec: Spec, engine: str, device: str, cache: Path) -> Prepared:
    """Prepare a study. Raises SpecError for a study that cannot be run."""
    load_same(spec.extensions, spec.name)  # another study may have been read since
    found = load_examples(spec)
    check_contexts(spec, found)
    check_batch_sizes(spec, found)
    reading = Request(spec.measure, spec.batch_sizes)
    store = Store(Cache(cache.absolute()), keys_of(data_facts(spec.data, found), reading, device))
    return Prepared(found, plan_study(spec, engine, device), states_of(spec), reading, store)


def load_examples(spec: Spec) -> Examples:
    """The examples of a study. Raises SpecError where the source cannot give them."""
    with blamed(Path(kind_of(spec.data).origin[0][0]), "when it loads the data; mend it"):
        return spec.data.load(spec.folder)


def check_contexts(spec: Spec, found: Examples) -> None:
    """Raise SpecError where a network sees another number of inputs than an example of the source has."""
    for condition in spec.conditions:
        if found.length not in (None, condition.network.context):
            problem = f"an example has {found.length} inputs, and condition '{condition.name}' has a context of"
            raise SpecError(f"{spec.name}: data: {problem} {condition.network.context}; set model.context")


def check_batch_sizes(spec: Spec, found: Examples) -> None:
    """Raise SpecError where dev has too few examples for one of the batch sizes in which BatchNorm is to be read.

    Of the default sizes only those that fit are read, so that a small data set needs no entry.
    """
    sizes, examples = spec.batch_sizes, found.examples("dev")
    left = [str(size) for size in sizes if size not in fillable(sizes, examples)]
    runs = () if spec.published is None else spec.published.runs
    normed = any(
        condition.network.layers_with_statistics for condition in (*spec.conditions, *(run.condition for run in runs))
    )
    if left and normed and sizes != BATCH_SIZES:
        problem = f"all sizes are read on the same examples, a multiple of each, and dev has {examples:,}"
        raise SpecError(f"{spec.name}: evaluation.batch_sizes: {problem}; leave out {', '.join(left)}")
