"""Prepare a run: read the words of a study, plan its cells, and open its place in the cache. Nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.data.words import Words, fillable, load
from study.errors import SpecError
from study.execution.cache import Cache, Store
from study.execution.keys import keys_of
from study.execution.plan import Plan, plan_study
from study.execution.states import InitialStates, states_of
from study.measurement.rows import Request
from study.spec.extensions import load_same
from study.spec.records import Spec
from study.spec.schema import BATCH_SIZES


@dataclass(frozen=True)
class Prepared:
    """All that a run needs before its first step."""

    words: Words
    plan: Plan
    states: InitialStates
    reading: Request  # the steps and batch sizes to be measured
    store: Store


def prepare(spec: Spec, engine: str, device: str, cache: Path) -> Prepared:
    """Prepare a study. Raises SpecError for a study that cannot be run."""
    load_same(spec.extensions, spec.name)  # another study may have been read since
    words = load(spec.data, spec.folder)
    check_batch_sizes(spec, words)
    reading = Request(spec.measure, spec.batch_sizes)
    store = Store(Cache(cache.absolute()), keys_of(words, spec.data.shuffle_seed, reading, device))
    return Prepared(words, plan_study(spec, engine, device), states_of(spec), reading, store)


def check_batch_sizes(spec: Spec, words: Words) -> None:
    """Raise SpecError where dev has too few examples for one of the batch sizes in which BatchNorm is to be read.

    Of the default sizes only those that fit are read, so that a short word list needs no entry.
    """
    sizes, examples = spec.batch_sizes, words.examples("dev")
    left = [str(size) for size in sizes if size not in fillable(sizes, examples)]
    runs = () if spec.published is None else spec.published.runs
    normed = any(
        condition.network.layers_with_statistics for condition in (*spec.conditions, *(run.condition for run in runs))
    )
    if left and normed and sizes != BATCH_SIZES:
        problem = f"all sizes are read on the same examples, a multiple of each, and dev has {examples:,}"
        raise SpecError(f"{spec.name}: evaluation.batch_sizes: {problem}; leave out {', '.join(left)}")
