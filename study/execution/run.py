"""Turn a Spec into tables on disk. Only this module knows the order of the stages."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from filelock import FileLock, Timeout

from study import codehash, parquet, provenance
from study.data.source import Examples, entropy, kind_of
from study.data.word_source import WordSource
from study.data.words import SPLITS
from study.errors import SpecError
from study.execution import preflight, status
from study.execution.collect import collect_states, collect_tables, collect_untrained
from study.execution.executors import backend
from study.execution.plan import Plan
from study.execution.pool import Failure
from study.execution.pool import run as run_work
from study.execution.prepare import Prepared, prepare
from study.execution.progress import show_progress
from study.execution.states import in_order, keep, kept, work_left
from study.execution.worker import Job
from study.files import sync, writable, writing
from study.measurement.initial import Block, Wanted
from study.measurement.rows import Rows
from study.network.layers import Network
from study.processes import call_apart
from study.spec.records import Spec
from study.spec.stand_ins import described
from study.training.cells import Cell
from study.training.identity import sha256

Drawn = tuple[Network, Wanted]  # of the rows of states: what was drawn, and what was measured of it


@dataclass(frozen=True)
class RunOptions:
    """Options of a run. None changes a number, except that engine and device change last digits."""

    workers: int  # processes; 0: all work is done in this process
    engine: str = "auto"
    device: str = "cpu"
    executor: str = "local"
    cache: Path = Path("build/cache")
    fail_fast: bool = False
    chosen: dict[str, Any] = field(default_factory=dict)  # what the command cut the study down to


@dataclass(frozen=True)
class Done:
    """The outcome of a run."""

    cells: int
    trained: int  # of these; the trajectories of the others were in the cache
    model_steps: int  # model-steps that were trained now
    conditions: int  # those of the study file that have a training to show
    failures: tuple[Failure, ...]
    states: int  # initial states
    drawn: int  # of these; the others were in the cache

    def log(self) -> dict[str, Any]:
        """The entries of run.json about the run."""
        counts = {"cells": self.cells, "trained": self.trained, "model_steps": self.model_steps}
        counts |= {"states": self.states, "drawn": self.drawn}
        return {**counts, "failures": [failure.traceback for failure in self.failures]}


def run_study(spec: Spec, out: Path, how: RunOptions) -> Done:
    """Train and measure the study. Its tables and then its manifest are published in `out`, all at the end."""
    writable(out, "--out")
    made = prepare(spec, how.engine, how.device, how.cache)
    found, work = made.examples, made.plan
    if how.workers:
        known = call_apart(preflight.facts, preflight.asked(spec, found, how.device))
    else:
        known = preflight.facts(preflight.asked(spec, found, how.device))
    with _locked(out):
        rows, states, done = _work(spec, made, how)
        examples: dict[str, int] = {name: found.examples(name) for name in SPLITS}
        untrained = {
            name: collect_untrained(spec.condition(name), spec.seeds, states[block], examples)
            for name, block in made.states.untrained.items()
        }
        frames = collect_tables(spec, work, rows, known.probe, untrained)
        of_states = collect_states(made.states, states)
        facts = _facts(spec, found, work, known, how)
        facts["parameters"] = dict(zip(frames["cells"]["cell"], frames["cells"]["sha256"].fillna(""), strict=True))
        _publish({**frames, "states": of_states}, facts, out)
    return done


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep other runs from writing to `out`. The lock ends with the process, however that ends."""
    lock = FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        problem = "another run is writing here; wait until it has ended, or choose another folder with --out"
        raise SpecError(f"{out}: {problem}") from None
    try:
        yield
    finally:
        lock.release()


def _work(spec: Spec, made: Prepared, how: RunOptions) -> tuple[dict[Cell, Rows], dict[Block, pa.Table], Done]:
    """The rows of every cell and of every initial state that did not fail, from the cache or made now."""
    store, work, blocks = made.store, made.plan, made.states.blocks
    store.cache.tidy()
    found: dict[Cell, Rows] = {}
    for cell, engine in work.engines.items():
        rows = store.rows(cell, engine)
        if rows is not None:
            found[cell] = rows
    cached = {block: kept(store, block) for block in blocks}
    states: dict[Drawn, list[pa.Table]] = {(b.network, b.wanted): list(known.tables) for b, known in cached.items()}
    shards, draws = work.shards(found), work_left(cached.values())
    left = [cell for shard in shards for cell in shard.cells]
    steps = [n for cell in left if (n := store.left(cell, work.engines[cell]))]
    failures = []
    try:
        if shards or draws:
            writable(store.cache.folder, "--cache")  # a read-only cache is enough where it holds everything
            total = sum(cell.schedule.steps for cell in left)
            with show_progress(len(left), total, sum(map(len, draws))) as display:
                site = backend(how.executor, min(how.workers, len(shards) + len(draws)))
                job = Job(made.examples, made.reading, how.device, store, extensions=spec.extensions)
                for result in run_work((*shards, *draws), job, site, display.update, display.say, how.fail_fast):
                    if isinstance(result, Failure):
                        failures.append(result)
                        continue
                    for of, rows in result.items():
                        if isinstance(of, Block):
                            keep(store, of, rows)
                            states[of.network, of.wanted].append(rows)
                            continue
                        # a worker of another machine may have its own cache
                        if not store.measured(of, work.engines[of]):
                            store.keep_rows(of, work.engines[of], rows)
                        found[of] = rows
    finally:
        status.remember_keys(spec, work, store, found)
    whole = {block: in_order(states[block.network, block.wanted]) for block in blocks}
    uses = [use for cell in found for use in work.uses[cell]]
    shown = {use.condition.name for use in uses if use.kind == "condition" and not use.condition.sweep}
    shown |= {name for name, block in made.states.untrained.items() if len(whole[block])}
    drawn = sum(map(len, draws)) - sum(failure.states for failure in failures)
    count = sum(len(block.seeds) for block in blocks)
    done = Done(len(work.uses), len(steps), sum(steps), len(shown), tuple(failures), count, drawn)
    return found, whole, done


# -- provenance ---------------------------------------------------------------------------------------------------


def _facts(spec: Spec, found: Examples, work: Plan, known: preflight.Preflight, how: RunOptions) -> dict[str, Any]:
    """The manifest without the hashes of the tables."""
    return {
        "format": provenance.MANIFEST_FORMAT,
        "title": spec.title,
        "study_file": Path(spec.name).name,
        "profile": spec.profile,
        "chosen": how.chosen,
        "seeds": list(spec.seeds),
        "spec_sha256": spec.digest(),
        "document_sha256": spec.document_sha256,
        "source_sha256": codehash.source_digest(spec.entries.values()),
        "data": _data(spec, found),
        "cells": len(work.uses),
        "model_steps": work.model_steps(),
        "engines": engines(work),
        "device": how.device,
        "cpu": known.cpu,
        "versions": provenance.versions(),
        "draws": known.draws,
        **({"extensions": described(spec.extensions)} if spec.extensions else {}),
    }


def _data(spec: Spec, found: Examples) -> dict[str, Any]:
    """The facts about the examples: those of any source, and its own."""
    path, key = spec.data.path, found.key()
    facts: dict[str, Any] = {
        "file": "" if path is None else Path(path).name,
        "sha256": key["sha256"] if "sha256" in key else sha256(key),
        "vocabulary": list(found.classes),
        "examples": {name: found.examples(name) for name in SPLITS},
        "targets": list(found.targets("train")),
    }
    if not isinstance(spec.data, WordSource):
        kind = kind_of(spec.data)
        facts |= {"kind": kind.name, "noun": kind.noun, "size": found.size}
        facts["character_entropy"] = {name: entropy(found.targets(name)) for name in SPLITS}
    return facts | dict(found.facts(sorted({c.network.context for c in spec.conditions})))


def engines(work: Plan) -> dict[str, Any]:
    """The number of cells of each engine, and the reasons for which some are not trained by the fused engine."""
    found: dict[str, Any] = {}
    for stack in work.stacks:
        entry = found.setdefault(stack.engine, {"cells": 0, "reasons": []})
        entry["cells"] += len(stack.cells)
        reasons = {work.reasons[cell] for cell in stack.cells if cell in work.reasons}
        entry["reasons"] = sorted({*entry["reasons"], *reasons})
    return found


def _publish(frames: dict[str, pd.DataFrame | pa.Table], facts: dict[str, Any], out: Path) -> None:
    """Write all files beside their places, then move them there, the manifest last: readers use only what it names."""
    with writing(out, "--out"), tempfile.TemporaryDirectory(dir=out, prefix=".new-") as name:
        new = Path(name)
        facts["tables"] = {table: parquet.write(table, frame, new) for table, frame in frames.items()}
        provenance.write_manifest(facts, new)
        (out / "data").mkdir(exist_ok=True)
        # after a crash between two of these, the manifest does not name the new tables: readers refuse them, a run mends it
        for table in frames:
            os.replace(new / f"{table}.parquet", out / "data" / f"{table}.parquet")
        os.replace(new / "manifest.json", out / "manifest.json")
        for folder in (out / "data", out):
            sync(folder)
