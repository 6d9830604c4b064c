"""Train cells of a report again, and compare the results with the report."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from study import parquet, provenance
from study.environment import cpu_level, installed
from study.errors import SpecError, unknown
from study.execution.executors import backend
from study.execution.keys import KEY_PACKAGES
from study.execution.plan import plan_study, twin
from study.execution.pool import Failure
from study.execution.pool import run as run_shards
from study.execution.prepare import load_examples
from study.execution.progress import show_progress
from study.execution.worker import Job
from study.measurement.rows import Request, Rows
from study.spec.records import Spec
from study.tables import Tables
from study.training.cells import Cell, Engine, Stack
from study.training.identity import cell_id

SAME = 1e-6  # nats: losses by another engine's bits, on the same kind of CPU and the same versions
OTHER = 5e-3  # nats: on another kind of CPU or with other versions; a start without repairs amplifies last digits


@dataclass(frozen=True)
class Check:
    """The result of the comparison of one cell."""

    cell: str
    condition: str
    seed: int
    engine: str
    steps: int
    same_bits: bool
    largest: float | None  # difference of a final loss, nats; None where the report holds no number, as of a twin
    passed: bool | None  # None: cannot be told
    why: str


def verify_cells(spec: Spec, folder: Path, count: int | None, seed: int, workers: int) -> tuple[str, bool]:
    """Train `count` cells of a report again, chosen by `seed`, or all. Returns a table, and whether the report holds.

    By the fused engine parameters must come out bit for bit on any CPU, unless versions differ. By autograd they do on
    the same kind of CPU, mostly; the final losses must agree within SAME there, within OTHER where CPU or versions differ.
    Other bits there of a cell of which the report holds no final loss say nothing, and fail nothing.
    """
    facts, found = provenance.read_manifest(folder), parquet.read(folder / "data")
    if facts["spec_sha256"] != spec.digest():
        raise SpecError(
            f"{folder}: made from another study than {spec.name}; verify it with the study file it came from"
        )
    examples = load_examples(spec)
    known = found["cells"].drop_duplicates("cell").set_index("cell")
    cells = {cell_id(cell): cell for cell in plan_study(spec).uses}
    names = [name for name in cells if name in known.index and known.loc[name, "status"] != "failed"]
    if not names:
        raise SpecError(
            f"{folder}: holds no training that succeeded, so none to verify; make it again with `study run`"
        )
    chosen = names if count is None else sorted(random.Random(seed).sample(names, min(count, len(names))))
    differing = differences(facts)
    shards = _shards([cells[name] for name in chosen], known)
    reading = Request(spec.measure, spec.batch_sizes)
    total = sum(cell.schedule.steps for shard in shards for cell in shard.cells)
    rows: dict[Cell, Rows] = {}
    with show_progress(sum(len(shard.cells) for shard in shards), total) as display:
        job = Job(examples, reading, facts["device"], extensions=spec.extensions)
        place = backend("local", min(workers, len(shards)))
        for result in run_shards(shards, job, place, display.update, display.say):
            if isinstance(result, Failure):
                raise SpecError(f"a cell could not be trained here: {result.reason}")
            rows |= {of: own for of, own in result.items() if isinstance(of, Cell)}  # no states were handed over
    checks = []
    for name in chosen:
        cell, row = cells[name], known.loc[name]
        there = _losses(found, str(row["condition"]), cell)
        checks.append(_check(cell, row, rows[cell], there, {name.split()[0] for name in differing}))
    how = f"all {len(names)} cells" if count is None else f"{len(chosen)} of {len(names)} cells, chosen by seed {seed}"
    lines = [f"{folder}: {how}, trained again"]
    if differing:
        lines.append(f"not as in the manifest: {'; '.join(differing)}. Losses may differ by {OTHER:g}")
    lines += [_line(check) for check in checks]
    lines.append(_summary([check.passed for check in checks]))
    if len(found["states"]) or any(condition.untrained for condition in spec.conditions):
        lines.append("initial states were left out: only trainings are verified")
    return "\n".join(lines), all(check.passed is not False for check in checks)


def differences(facts: dict[str, Any]) -> list[str]:
    """The differences between this machine and that of the report on which numbers may depend."""
    packages = {"cpu": (facts["cpu"].get("level"), cpu_level())}
    packages |= {
        name: (facts["versions"].get(name), installed(name)) for engine in KEY_PACKAGES.values() for name in engine
    }
    return [f"{name} {here}, there {there}" for name, (there, here) in packages.items() if there != here]


def _shards(chosen: Sequence[Cell], known: pd.DataFrame) -> list[Stack]:
    """The chosen cells one by one, by the engine that trained them; a twin with its original."""
    shards = []
    for cell in dict.fromkeys(cell.original for cell in chosen):
        pair = (cell, twin(cell)) if twin(cell) in chosen else (cell,)
        shards.append(Stack(pair, known.loc[cell_id(pair[-1]), "engine"]))
    return shards


def _losses(found: Tables, condition: str, cell: Cell) -> dict[tuple[str, str], float]:
    """The final losses that the report holds of a cell: (split, statistics) -> nats."""
    match cell.protocol:
        case "lecture":
            t = found["published"]
            t = t[t["condition"] == condition]
            return {(s, k): float(v) for s, k, v in zip(t["split"], t["statistics"], t["reproduced"], strict=True)}
        case "paired":
            if cell.twin:
                return {}
            t = found["losses"]
            t = t[(t["condition"] == condition) & (t["seed"] == cell.seed) & (t["step"] == cell.schedule.steps)]
            t = t[t["batch_size"].isna()]
            kinds = zip(t["split"], t["statistics"], t["loss"].astype(float), strict=True)
            return {(s, k): float(v) for s, k, v in kinds}
        case _:
            unknown(cell.protocol)


def _check(cell: Cell, row: pd.Series, rows: Rows, there: dict[tuple[str, str], float], differing: set[str]) -> Check:
    same_bits = rows.listed("cells")[0]["sha256"] == row["sha256"]
    here = {
        (r["split"], r["statistics"]): r["loss"]
        for r in rows.listed("losses")
        if r["step"] == cell.schedule.steps and r["batch_size"] is None
    }
    gaps = [_gap(here.get(key, math.nan), loss) for key, loss in there.items() if math.isfinite(loss)]
    largest, exact = max(gaps, default=None), _same_everywhere(row["engine"]) and differing <= {"cpu"}
    passed, why = _verdict(same_bits, largest, exact, bool(differing))
    keys = cell_id(cell), str(row["condition"]), cell.seed, str(row["engine"]), cell.schedule.steps
    return Check(*keys, same_bits, largest, passed, why)


def _same_everywhere(engine: Engine) -> bool:
    """Whether an engine gives the same bits on every CPU."""
    match engine:
        case "fused":
            return True
        case "autograd":
            return False
        case _:
            unknown(engine)


def _gap(here: float, there: float) -> float:
    """Difference of two losses; infinite where there is a number and here is none, which no comparison lets pass."""
    return abs(here - there) if math.isfinite(here) else math.inf


def _verdict(same_bits: bool, largest: float | None, exact: bool, elsewhere: bool) -> tuple[bool | None, str]:
    """Whether a cell comes out as the report says, and why not. `exact`: its bits must be the same; `elsewhere`: CPU or
    versions are not those of the report."""
    tolerance = OTHER if elsewhere else SAME
    if exact and not same_bits:
        return False, "the fused engine gives other bits"
    if largest is not None and largest > tolerance:
        return False, "no finite loss here" if math.isinf(largest) else f"losses differ by more than {tolerance:g}"
    if largest is not None or same_bits:
        return True, ""
    if elsewhere:
        return None, "other bits are to be expected here, and there is no loss to compare"
    return False, "other bits, and no loss to compare"


def _line(check: Check) -> str:
    bits = "same bits" if check.same_bits else "other bits"
    gap = "no loss in the report" if check.largest is None else f"losses within {check.largest:.1e}"
    verdict = {True: "ok", False: f"DIFFERS: {check.why}", None: f"cannot be told: {check.why}"}[check.passed]
    about = f"{check.condition}, seed {check.seed}, {check.steps:,} steps, {check.engine}"
    return f"  {check.cell}  {about}: {bits}, {gap}: {verdict}"


def _summary(passed: Sequence[bool | None]) -> str:
    """`all 3 come out as the report says`"""
    failed, untold = passed.count(False), passed.count(None)
    if not failed and not untold:
        return f"all {len(passed)} come out as the report says"
    found = f"{failed} of {len(passed)} differ"
    return f"{found}; of {untold} it cannot be told" if untold else found
