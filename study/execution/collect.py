"""Turn the rows of cells into the tables of a study.

The order is that of the study file, not of the shards. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from study import tables
from study.errors import unknown
from study.execution.plan import Plan, twin_cells
from study.measurement.initial import Block
from study.measurement.metrics import METRICS
from study.measurement.rows import Row, Rows, as_rows
from study.network.norms import reading_at
from study.training.cells import Cell
from study.training.identity import cell_id

if TYPE_CHECKING:
    from study.execution.states import InitialStates
    from study.spec.records import Condition, Spec

FAILED: Row = {"status": "failed", "step": None, "sha256": None}
PLAIN = (
    "losses",
    "curves",
    "metrics",
)  # tables in which a condition has the rows of its cells, one cell after the other


def collect_states(initial: InitialStates, found: Mapping[Block, pa.Table]) -> pa.Table:
    """The table `states`: the initial states of every condition, in the order of the study file. It stays in Arrow."""
    schema = tables.arrow_schema("states")
    named = [tables.named(found[block], name) for name, block in initial.drawn.items()]
    return pa.concat_tables([schema.empty_table(), *named])


def collect_tables(
    spec: Spec,
    work: Plan,
    rows: Mapping[Cell, Rows],
    probe: list[Row],
    untrained: Mapping[str, Mapping[str, pa.Table]] | None = None,
) -> dict[str, pd.DataFrame]:
    """Every table but `states`, with its rows in the order of the study file. A cell without rows counts as failed.

    `untrained` holds the rows of each condition without a training, by condition and by table.
    """

    def of(cell: Cell) -> Rows:
        return rows.get(cell) or as_rows({"cells": [{"seed": cell.seed, **FAILED}]})

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
            "steps": cell.schedule.steps,
        }
        return [{**row, **keys} for row in of(cell).listed("cells")]

    short: dict[str, list[Row]] = {name: [] for name in tables.TABLES}
    parts: dict[str, list[pa.Table]] = {name: [] for name in tables.TABLES}
    for condition in spec.conditions:
        cells = by_condition[condition.name]
        for name, table in (untrained or {}).get(condition.name, {}).items():
            parts[name].append(table)
        short["conditions"].append(
            {
                "condition": condition.name,
                "title": condition.title,
                "parent": condition.parent,
                "group": condition.group,
                "statistics": condition.statistics,
                "changes": "\n".join(condition.changes),
                "steps": condition.schedule.steps,
                "cell": cell_id(Cell(condition.network, 0, "paired", condition.schedule)),
            }
        )
        for _, found in cells:
            for name in PLAIN:
                parts[name].append(tables.named(found[name], condition.name))
        for _, found in cells[:1]:  # a picture shows the model of the first seed
            parts["pictures"].append(tables.named(found["pictures"], condition.name))
        parts["histograms"].append(_pooled([found["histograms"] for _, found in cells], condition.name))
        for cell, _ in cells:
            short["cells"] += outcome(cell, condition.name)
    if spec.published is not None:
        for run_ in spec.published.runs:
            cell, found = published[run_.condition.name]
            short["cells"] += outcome(cell, run_.condition.name)
            short["published"] += _published(spec, run_.condition.name, found)
    for condition, cell in twin_cells(spec):
        if cell.twin:
            short["cells"] += outcome(cell, condition.name)
            short["twins"] += _twins(condition, cell, of(cell), of(cell.original))
    short["probe"] += probe
    whole = {
        name: pa.concat_tables([tables.arrow(name, short[name]), *parts[name]])
        for name in tables.TABLES
        if name != "states"
    }
    whole["measures"] = measures(whole)
    return {name: tables.pandas(table) for name, table in whole.items()}


def measures(found: Mapping[str, pa.Table]) -> pa.Table:
    """The table `measures`: the facts about every metric that the other tables hold, in the registry's order."""
    named = set(found["metrics"]["metric"].unique().to_pylist())
    assert named <= set(METRICS), f"metrics without an entry in the registry: {named - set(METRICS)}"
    shown = [m for m in METRICS.values() if (m.name in named if m.table == "metrics" else len(found[m.table]))]
    result: list[Row] = []
    for m in shown:
        told = m.label
        facts = {"unit": told.unit, "format": told.format, "better": told.better, "of": told.of}
        how = {"interval": told.interval, "lost": told.lost}
        result.append({"metric": m.name, "label": told.text, **facts, **how})
    return tables.arrow("measures", result)


def collect_untrained(
    condition: Condition, seeds: Sequence[int], found: pa.Table, examples: Mapping[str, int]
) -> dict[str, pa.Table]:
    """The rows of a condition without a training, from those of its states: its losses, metrics and cells at step 0.

    `examples` holds the number of examples of each split. A seed without rows counts as failed.
    """
    losses, metrics, cells = list[Row](), list[Row](), list[Row]()
    status = dict.fromkeys(seeds, FAILED["status"])
    for row in found.to_pylist():
        keys = {"condition": condition.name, "step": 0}
        if row["metric"] != "loss":
            metrics.append({**keys, **{name: value for name, value in row.items() if name != "split"}})
            continue
        own = {name: row[name] for name in ("seed", "split", "statistics")}
        losses.append({**keys, **own, "examples": examples[row["split"]], "loss": row["value"]})
        if row["split"] == "train":
            status[row["seed"]] = "done" if row["value"] is not None else "diverged"
    for seed in seeds:
        cell = Cell(condition.network, seed, "paired", condition.schedule)
        step = 0 if status[seed] == "diverged" else None
        keys = {"cell": cell_id(cell), "condition": condition.name, "seed": seed, "protocol": cell.protocol}
        cells.append({**keys, "twin": False, "steps": 0, "status": status[seed], "step": step})
    made = {"losses": losses, "metrics": metrics, "cells": cells}
    return {name: tables.arrow(name, rows) for name, rows in made.items()}


def _pooled(found: list[pa.Table], condition: str) -> pa.Table:
    """The sum of the histograms of all seeds, bin by bin, as rows of the table `histograms`."""
    pooled: dict[tuple[int, int, str], tuple[list[float], list[float]]] = {}
    for row in (row for table in found for row in table.to_pylist()):
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
    return tables.arrow("histograms", result)


def _published(spec: Spec, name: str, found: Rows) -> list[Row]:
    assert spec.published is not None
    run_ = next(r for r in spec.published.runs if r.condition.name == name)
    condition, rows = run_.condition, []
    for split, loss in (("train", run_.train), ("dev", run_.dev)):
        reproduced = _read(found, condition.schedule.steps, split, condition.statistics)
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
                "reproduced": reproduced,
                "tolerance": run_.tolerance,
                "steps": condition.schedule.steps,
                "comparable": run_.comparable,
            }
        )
    return rows


def _read(found: Rows, step: int, split: str, statistics: str) -> float | None:
    """The loss of a cell on a full split at a step, or None where it was not read."""
    wanted = (step, split, statistics, None)
    for row in found.listed("losses"):
        if (row["step"], row["split"], row["statistics"], row["batch_size"]) == wanted:
            loss: float = row["loss"]
            return loss
    return None


def _twins(condition: Condition, cell: Cell, twin: Rows, original: Rows) -> list[Row]:
    """The distance of a pair at every step that was compared, and the gap of their dev losses where both were read."""
    found = []
    for row in twin.listed("twins"):
        statistics = reading_at(condition.statistics, row["step"])
        theirs, ours = (_read(one, row["step"], "dev", statistics) for one in (twin, original))
        gap = None if theirs is None or ours is None else theirs - ours
        keys = {"condition": condition.name, "seed": cell.seed, "steps": cell.schedule.steps, "step": row["step"]}
        found.append({**keys, "distance": row["distance"], "loss_gap": gap})
    return found
