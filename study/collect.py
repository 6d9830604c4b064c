"""Rows of cells as tables of conditions, in the order of the study: no trace of which shard came first. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd
import pyarrow as pa

from study import tables
from study.errors import unknown
from study.plan import Plan, cell_id, twins
from study.rows import LONG, Row, Rows
from study.setup import Cell
from study.spec import Condition, Spec

FAILED: Row = {"status": "failed", "step": None, "sha256": None}


def collect(spec: Spec, work: Plan, rows: Mapping[Cell, Rows], probe: list[Row]) -> dict[str, pd.DataFrame]:
    """Every table, its rows in the order of the study: no trace of which shard came first. A cell without rows failed."""

    def of(cell: Cell) -> Rows:
        lost = Rows(cells=[{"seed": cell.seed, **FAILED}], arrow={name: tables.arrow(name, []) for name in LONG})
        return rows.get(cell, lost)

    by_condition: dict[str, list[tuple[Cell, Rows]]] = {condition.name: [] for condition in spec.conditions}
    published: dict[str, tuple[Cell, Rows]] = {}
    for cell, uses in work.uses.items():
        for use in uses:
            match use.kind:
                case "published":
                    published[use.condition.name] = cell, of(cell)
                case "condition":
                    by_condition[use.condition.name].append((cell, of(cell)))
                case "twin":
                    pass  # found by `twins` below, with its original
                case _:
                    unknown(use.kind)

    def outcome(cell: Cell, condition: str) -> list[Row]:
        keys = {
            "cell": cell_id(cell),
            "condition": condition,
            "protocol": cell.protocol,
            "engine": work.engines[cell],
            "twin": cell.twin,
            "steps": cell.training.steps,
        }
        return [{**row, **keys} for row in of(cell).cells]

    result: dict[str, list[Row]] = {name: [] for name in tables.TABLES if name not in LONG}
    long: dict[str, list[pa.Table]] = {name: [tables.arrow(name, [])] for name in LONG}
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
        for _, found in cells:
            result["losses"] += _renamed(found.losses, condition.name)
            for name in LONG:
                long[name].append(tables.named(found.arrow[name], condition.name))
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
            result["twins"] += _twins(condition, cell, of(cell), of(cell.original))
    result["probe"] += probe
    frames = {name: tables.frame(name, found) for name, found in result.items()}
    frames |= {name: tables.pandas(pa.concat_tables(parts)) for name, parts in long.items()}
    return {name: frames[name] for name in tables.TABLES}


def _renamed(rows: Iterable[Row], condition: str) -> list[Row]:
    return [{"condition": condition, **row} for row in rows]


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
                "reproduced": reproduced[0] if reproduced else None,
                "tolerance": run_.tolerance,
                "steps": condition.training.steps,
                "comparable": run_.comparable,
            }
        )
    return rows


def _twins(condition: Condition, cell: Cell, twin: Rows, original: Rows) -> list[Row]:
    """A pair's distance at every step that was looked at, and the gap of their dev losses where both were read."""

    def dev(rows: Rows, step: int) -> float | None:
        match condition.statistics:
            case "running":
                kind = "calibrated" if step == 0 else "running"
            case "none" | "calibrated" | "batch":
                kind = condition.statistics
            case _:
                unknown(condition.statistics)
        return next(
            (
                row["loss"] for row in rows.losses
                if row["step"] == step and row["split"] == "dev" and row["statistics"] == kind and row.get("batch_size") is None
            ),
            None,
        )  # fmt: skip

    found = []
    for row in twin.twins:
        theirs, ours = dev(twin, row["step"]), dev(original, row["step"])
        gap = None if theirs is None or ours is None else theirs - ours
        keys = {"condition": condition.name, "seed": cell.seed, "steps": cell.training.steps, "step": row["step"]}
        found.append({**keys, "distance": row["distance"], "loss_gap": gap})
    return found
