"""A Spec as tables on disk: the only module that knows the order of the stages."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from study import manifest, pool, source, tables
from study.collect import collect
from study.errors import SpecError
from study.plan import Plan, plan
from study.progress import progress
from study.rows import LONG, Reading, Rows
from study.spec import Spec
from study.words import Words, load

if TYPE_CHECKING:
    from study.apart import Facts


def run(
    spec: Spec, out: Path, workers: int, engine: str = "auto", device: str = "cpu", chosen: dict[str, Any] | None = None
) -> Path:
    """Train and measure the study; tables and manifest in `out`, all of them or none. Returns `out`."""
    started = time.monotonic()
    writable(out)
    words = load(spec.data, spec.folder)
    work = plan(spec, engine, device)
    known = pool.apart("facts", spec, words, device)
    rows = _train(work, pool.Job(words, Reading(spec.measure, spec.batch_sizes), device), workers)
    frames = collect(spec, work, rows, known.probe)
    facts = _facts(spec, words, work, known, device, chosen or {})
    _publish(frames, facts, out)
    _log(out, work, workers, time.monotonic() - started)
    return out


def writable(out: Path) -> None:
    """SpecError unless files can be made in `out`, before hours are spent."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out):
            pass
    except OSError as error:
        raise SpecError(f"{out}: cannot be written ({error.strerror}); choose another folder with --out") from None


def _train(work: Plan, job: pool.Job, workers: int) -> dict[str, Rows]:
    """Rows of every cell, by cell."""
    found: dict[str, Rows] = {}
    with progress(len(work.uses), work.model_steps()) as watch:
        for _, rows in pool.run(work.shards, job, min(workers, len(work.shards)), watch):
            found |= _by_cell(rows)
    return found


def _by_cell(rows: Rows) -> dict[str, Rows]:
    """The rows of a shard, cell by cell, the long tables in Arrow."""
    found: dict[str, Rows] = {}
    for name in ("losses", "curves", "metrics", "histograms", "pictures", "twins", "cells"):
        for row in getattr(rows, name):
            getattr(found.setdefault(row["cell"], Rows()), name).append(row)
    for cell in found.values():
        for name in LONG:
            cell.arrow[name] = tables.arrow(name, getattr(cell, name))
            getattr(cell, name).clear()
    return found


# -- provenance ---------------------------------------------------------------------------------------------------


def _facts(spec: Spec, words: Words, work: Plan, known: Facts, device: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """The manifest, the hashes of the tables aside."""
    return {
        "format": manifest.FORMAT,
        "title": spec.title,
        "study_file": Path(spec.name).name,
        "profile": spec.profile,
        "chosen": chosen,
        "seeds": list(spec.seeds),
        "spec_sha256": spec.digest(),
        "document_sha256": spec.document_sha256,
        "source_sha256": source.digest(),
        "data": {
            "file": Path(spec.data.path).name,
            "sha256": words.sha256,
            "vocabulary": list(words.vocabulary.characters),
            "words": {name: len(part) for name, part in words.splits.items()},
            "examples": {name: words.examples(name) for name in words.splits},
            "shared_with_train": {name: words.shared(name) for name in words.splits if name != "train"},
            "words_twice": words.repeated,
            "character_entropy": words.entropy("train"),
            "repeats": {
                str(context): {" ".join(map(str, k)): v for k, v in words.repeats("train", context).items()}
                for context in sorted({c.setup.context for c in spec.conditions})
            },
        },
        "cells": len(work.uses),
        "model_steps": work.model_steps(),
        "engines": engines(work),
        "device": device,
        "cpu": known.cpu,
        "versions": manifest.versions(),
        "draws": known.draws,
    }


def engines(work: Plan) -> dict[str, Any]:
    """How many cells each engine trains, and why some are not trained by the fused one."""
    found: dict[str, Any] = {}
    for stack in work.stacks:
        entry = found.setdefault(stack.engine, {"cells": 0, "reasons": []})
        entry["cells"] += len(stack.cells)
        reasons = {work.reasons[cell] for cell in stack.cells if cell in work.reasons}
        entry["reasons"] = sorted({*entry["reasons"], *reasons})
    return found


def _publish(frames: dict[str, pd.DataFrame], facts: dict[str, Any], out: Path) -> None:
    """Everything written beside its place first, then moved there: a reader sees the old tables or the new ones."""
    with tempfile.TemporaryDirectory(dir=out, prefix=".new-") as name:
        new = Path(name)
        facts["tables"] = {table: tables.write(table, frame, new) for table, frame in frames.items()}
        manifest.write(facts, new)
        (out / "data").mkdir(exist_ok=True)
        for table in frames:
            os.replace(new / f"{table}.parquet", out / "data" / f"{table}.parquet")
        os.replace(new / "manifest.json", out / "manifest.json")


def _log(out: Path, work: Plan, workers: int, seconds: float) -> None:
    """Durations and memory, which differ from run to run, in run.json (not committed) and on standard error."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    workers = min(workers, len(work.shards))
    log = {
        "seconds": round(seconds, 1),
        "workers": workers,
        "cells": len(work.uses),
        "model_steps": work.model_steps(),
        "core_microseconds_per_model_step": round(seconds * workers / work.model_steps() * 1e6, 1),
        "peak_bytes_at_most": (own + workers * children) * unit,
    }
    (out / "run.json").write_text(json.dumps(log, indent=1) + "\n")
    print(
        f"trained {log['cells']} cells, {log['model_steps']:,} model-steps, in {seconds:,.0f} s on {workers} workers; "
        f"at most {log['peak_bytes_at_most'] / 1e6:,.0f} MB",
        file=sys.stderr,
    )


def clean(out: Path) -> None:
    """Remove what an interrupted run left in `out`."""
    for left in out.glob(".new-*"):
        shutil.rmtree(left, ignore_errors=True)
