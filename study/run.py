"""A Spec as tables on disk: the only module that knows the order of the stages."""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from study import manifest, pool, source, tables
from study.errors import SpecError
from study.plan import Plan, cell_id, plan, twins
from study.progress import progress
from study.setup import Cell
from study.shard import Reading, Row, Rows
from study.spec import Condition, Spec
from study.words import Words, load


def run(
    spec: Spec, out: Path, workers: int, engine: str = "auto", device: str = "cpu", chosen: dict[str, Any] | None = None
) -> Path:
    """Train and measure the study; tables and manifest in `out`, all of them or none. Returns `out`."""
    started = time.monotonic()
    writable(out)
    check_device(device)
    words = load(spec.data, spec.folder)
    work = plan(spec, engine, device)
    rows = _train(work, pool.Job(words, Reading(spec.measure, spec.batch_sizes), device), workers)
    frames = _tables(spec, work, rows)
    facts = _facts(spec, words, work, device, chosen or {})
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


def check_device(device: str) -> None:
    """SpecError unless torch sees the device."""
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError(f"--device {device}: torch has no such device here ({reason:.90}); use --device cpu") from None


def _train(work: Plan, job: pool.Job, workers: int) -> dict[str, Rows]:
    """Rows of every cell, by cell."""
    found: dict[str, Rows] = {}
    with progress(len(work.uses), work.model_steps()) as watch:
        for _, rows in pool.run(work.shards, job, min(workers, len(work.shards)), watch):
            for name in Rows.__dataclass_fields__:
                for row in getattr(rows, name):
                    getattr(found.setdefault(row["cell"], Rows()), name).append(row)
    return found


# -- rows of cells as tables of conditions ------------------------------------------------------------------------


def _tables(spec: Spec, work: Plan, rows: dict[str, Rows]) -> dict[str, pd.DataFrame]:
    """Every table, its rows in the order of the study: no trace of which shard came first."""
    from study.probe import probe

    by_condition: dict[str, list[tuple[Cell, Rows]]] = {condition.name: [] for condition in spec.conditions}
    published: dict[str, tuple[Cell, Rows]] = {}
    for cell, uses in work.uses.items():
        for use in uses:
            if use.kind == "published":
                published[use.condition.name] = cell, rows[cell_id(cell)]
            elif use.kind == "condition":
                by_condition[use.condition.name].append((cell, rows[cell_id(cell)]))
    engines = {cell: stack.engine for stack in work.stacks for cell in stack.cells}

    def outcome(cell: Cell, condition: str) -> list[Row]:
        keys = {
            "condition": condition,
            "protocol": cell.protocol,
            "engine": engines[cell],
            "twin": cell.twin,
            "steps": cell.training.steps,
        }
        return [{**row, **keys} for row in rows[cell_id(cell)].cells]

    result: dict[str, list[Row]] = {name: [] for name in tables.TABLES}
    for condition in spec.conditions:
        cells = by_condition[condition.name]
        result["conditions"].append(
            {
                "condition": condition.name,
                "title": condition.title,
                "parent": condition.parent,
                "group": condition.group,
                "statistics": condition.statistics,
                "changes": "\n".join(condition.changes),
                "steps": condition.training.steps,
                "cell": cell_id(Cell(condition.setup, 0, "paired", condition.training)),
            }
        )
        for name in ("losses", "curves", "metrics"):
            for _, found in cells:
                result[name] += _renamed(getattr(found, name), condition.name)
        for _, found in cells[:1]:  # a picture shows one model: that of the first seed
            result["pictures"] += _renamed(found.pictures, condition.name)
        result["histograms"] += _pooled([row for _, found in cells for row in found.histograms], condition.name)
        for cell, _ in cells:
            result["cells"] += outcome(cell, condition.name)
    if spec.published is not None:
        for run_ in spec.published.runs:
            cell, found = published[run_.condition.name]
            result["cells"] += outcome(cell, run_.condition.name)
            result["published"] += _published(spec, run_.condition.name, found)
    for condition, cell in twins(spec):
        if cell.twin:
            result["cells"] += outcome(cell, condition.name)
            result["twins"] += _twins(condition, cell, rows)
    if spec.probe is not None:
        result["probe"] += probe(spec.probe, spec.seeds)
    return {name: tables.frame(name, found) for name, found in result.items()}


def _renamed(rows: Iterable[Row], condition: str) -> list[Row]:
    return [{"condition": condition, **{k: v for k, v in row.items() if k != "cell"}} for row in rows]


def _pooled(rows: list[Row], condition: str) -> list[Row]:
    """Histograms of all seeds as one, bin by bin."""
    pooled: dict[tuple[int, int, str], tuple[list[float], list[float]]] = {}
    for row in rows:
        key = (row["step"], row["layer"], row["quantity"])
        edges, counts = pooled.get(key, (row["edges"], [0.0] * len(row["counts"])))
        pooled[key] = edges, [a + b for a, b in zip(counts, row["counts"], strict=True)]
    result: list[Row] = []
    for (step, layer, quantity), (edges, counts) in sorted(pooled.items()):
        total = sum(counts)
        for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
            share = count / total if total else math.nan
            density = share / (right - left) if math.isfinite(right - left) else None
            keys = {"condition": condition, "step": step, "layer": layer, "quantity": quantity}
            result.append({**keys, "left": left, "right": right, "share": share, "density": density})
    return result


def _published(spec: Spec, name: str, found: Rows) -> list[Row]:
    assert spec.published is not None
    run_ = next(r for r in spec.published.runs if r.condition.name == name)
    condition, rows = run_.condition, []
    for split, loss in (("train", run_.train), ("dev", run_.dev)):
        reproduced = [
            row["loss"]
            for row in found.losses
            if row["step"] == condition.training.steps
            and (row["split"], row["statistics"], row.get("batch_size")) == (split, condition.statistics, None)
        ]
        rows.append(
            {
                "condition": name,
                "title": condition.title,
                "parent": condition.parent,
                "origin": run_.origin,
                "source": spec.published.source,
                "split": split,
                "statistics": condition.statistics,
                "published": loss,
                "reproduced": reproduced[0],
                "tolerance": run_.tolerance,
                "steps": condition.training.steps,
                "comparable": run_.comparable,
            }
        )
    return rows


def _twins(condition: Condition, twin: Cell, rows: dict[str, Rows]) -> list[Row]:
    """A pair's distance at every step that was looked at, and the gap of their dev losses where both were read."""

    def dev(cell: Cell, step: int) -> float | None:
        kinds = ("calibrated",) if condition.statistics == "running" and step == 0 else (condition.statistics,)
        return next(
            (
                row["loss"] for row in rows[cell_id(cell)].losses
                if row["step"] == step and row["split"] == "dev" and row["statistics"] in kinds and row.get("batch_size") is None
            ),
            None,
        )  # fmt: skip

    found = []
    for row in rows[cell_id(twin)].twins:
        theirs, ours = dev(twin, row["step"]), dev(twin.original, row["step"])
        gap = None if theirs is None or ours is None else theirs - ours
        keys = {"condition": condition.name, "seed": twin.seed, "steps": twin.training.steps, "step": row["step"]}
        found.append({**keys, "distance": row["distance"], "loss_gap": gap})
    return found


# -- provenance ---------------------------------------------------------------------------------------------------


def _facts(spec: Spec, words: Words, work: Plan, device: str, chosen: dict[str, Any]) -> dict[str, Any]:
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
        "cpu": manifest.cpu(),
        "versions": manifest.versions(),
        "draws": draws(spec, words),
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


def draws(spec: Spec, words: Words) -> dict[str, str]:
    """sha256 of every seed's unscaled draws and of its first 1,000 minibatches, by seed: equal numbers, equal draws."""
    from study.rng import streams

    V = len(words.vocabulary)
    wanted: dict[tuple[str, tuple[int, ...]], None] = {}
    sizes: dict[int, None] = {}
    for condition in spec.conditions:
        setup = condition.setup
        wanted[("C", (V, setup.embedding_size))] = None
        for i, (fan_in, fan_out) in enumerate(setup.shapes(V), start=1):
            wanted[(f"W{i}", (fan_in, fan_out))] = None
            wanted[(f"b{i}", (fan_out,))] = None
        sizes[condition.training.batch_size] = None
    result = {}
    for seed in spec.seeds:
        digest = hashlib.sha256()
        for name, shape in wanted:
            digest.update(streams(seed, "paired").normal(name, shape).numpy().tobytes())
        for size in sizes:
            digest.update(streams(seed, "paired").indices(words.examples("train"), 1000, size).numpy().tobytes())
        result[str(seed)] = digest.hexdigest()
    return result


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
