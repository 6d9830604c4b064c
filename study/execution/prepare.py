"""A Spec as what a run begins with: its words, its plan, and the store that its keys lead to. Trains nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.data.words import Words, fillable, load
from study.errors import SpecError
from study.execution.cache import Cache, Store
from study.execution.keys import keys_of
from study.execution.plan import Plan, plan_study
from study.measurement.rows import Request
from study.spec.records import Spec
from study.spec.schema import BATCH_SIZES


@dataclass(frozen=True)
class Prepared:
    """What a study needs before its first step."""

    words: Words
    plan: Plan
    reading: Request  # what is measured of every cell
    store: Store


def prepare(spec: Spec, engine: str, device: str, cache: Path) -> Prepared:
    """The words of a study, its plan, and its place in the cache; SpecError for what cannot be run."""
    words = load(spec.data, spec.folder)
    check_batch_sizes(spec, words)
    reading = Request(spec.measure, spec.batch_sizes)
    store = Store(Cache(cache.absolute()), keys_of(words, spec.data.shuffle_seed, reading, device))
    return Prepared(words, plan_study(spec, engine, device), reading, store)


def check_batch_sizes(spec: Spec, words: Words) -> None:
    """SpecError where BatchNorm would be read in batches of a size that dev has too few examples for.

    Of the default sizes those are read that can be: a short word list needs no entry.
    """
    sizes, examples = spec.batch_sizes, words.examples("dev")
    left = [str(size) for size in sizes if size not in fillable(sizes, examples)]
    runs = () if spec.published is None else spec.published.runs
    normed = any(
        condition.network.batchnorm_layers for condition in (*spec.conditions, *(run.condition for run in runs))
    )
    if left and normed and sizes != BATCH_SIZES:
        problem = f"all sizes are read on the same examples, a multiple of each, and dev has {examples:,}"
        raise SpecError(f"{spec.name}: evaluation.batch_sizes: {problem}; leave out {', '.join(left)}")
