"""The section with all measurements: a folded table for every metric, with a line for every condition and part of it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from study.analysis.estimate import Estimate
from study.analysis.measurements import Place, estimates
from study.analysis.results import Results
from study.measurement.labels import Label
from study.report.html.page import Table, TableCell, TableColumn, Value, number
from study.report.html.words import literal
from study.report.sections.common import made
from study.report.sections.registry import Content, section

DIGITS = 6  # of a mean for sorting and CSV; each digit of it is a hundredth of the section
PARTS = {"layer": "layer", "output": "part", "parameter": "parameter", "training": "part"}


@section(
    "All measurements",
    "What was measured, of every condition?",
    needs="at least one measurement",
)
def all_measurements_section(results: Results) -> Content | None:
    """Show every metric of every condition at the start, at the common step and at the end."""
    columns = {c.name: _steps(results, c.schedule.steps) for c in results.spec.conditions}
    found = estimates(results.tables, {name: set(steps.values()) for name, steps in columns.items()})
    by_metric: dict[str, dict[Place, Estimate]] = {}
    for place, estimate in found.items():
        by_metric.setdefault(place.measure, {})[place] = estimate
    tables = [
        _table(results, name, by_metric[name], columns)
        for name in results.tables["measures"]["metric"]
        if name in by_metric
    ]
    if not tables:
        return None
    lines = sum(len(table.rows) for table in tables)
    return Content(
        answer=[
            f"{len(tables)} measurements of {len(columns)} conditions stand below, folded, in {lines:,} lines: one for"
            " every layer, parameter or split, and for every kind of statistics under which BatchNorm was read.",
            "A number is the mean over seeds ± half the width of its 95 % interval, in the unit that the table names;"
            " where seeds are lost, their number and the median stand instead. `data/metrics.parquet` and"
            " `data/losses.parquet` have the value of every seed, and of the other steps.",
        ],
        tables=tables,
        made=made(
            "Intervals are t intervals over seeds, or BCa bootstrap intervals (low to high) where a metric asks for"
            " them. Names, units and formats are those of the table `measures`.",
            "metrics, losses, probe, measures",
            keys="sweeps",
        ),
        filtered=True,
    )


def _steps(results: Results, end: int) -> dict[str, int]:
    """The steps that are shown of a condition whose training has `end` steps, by the name of their column."""
    common = {} if results.common is None else {"common": results.common}
    return {"start": 0, **common, "end": end}


def _table(
    results: Results, name: str, found: Mapping[Place, Estimate], columns: Mapping[str, Mapping[str, int]]
) -> Table:
    """The table of one metric, with a row for every condition and part."""
    label, rows = results.label(name), list[dict[str, Value]]()
    usual, _ = Counter(e.n for e in found.values()).most_common(1)[0]
    titles = {c.name: c.title for c in results.spec.conditions}
    for condition, detail in dict.fromkeys((place.condition, place.detail) for place in found):
        steps = columns[condition] if name != "probe" else {"start": 0}
        here = {column: found.get(Place(name, condition, detail, step)) for column, step in steps.items()}
        row: dict[str, Value] = {
            "condition": TableCell(titles.get(condition, condition), sort=condition),
            "part": _part(label, detail),
        }
        rows.append(row | {column: _cell(e, label, usual) for column, e in here.items()})
    at = {"start": "at the start", "common": f"at step {results.common or 0:,}", "end": "at the end"}
    ends = {steps["end"] for steps in columns.values()}
    shown = [
        c
        for c in at
        if any(row.get(c) is not None for row in rows) and not (c == "common" and ends == {results.common})
    ]
    head = [TableColumn("condition", "condition"), TableColumn("part", PARTS[label.of])]
    return Table(
        _caption(name, label, usual),
        [*head, *(TableColumn(column, at[column], label.unit, label.format, numeric=True) for column in shown)],
        [{column: row.get(column) for column in ("condition", "part", *shown)} for row in rows],
        folded=True,
    )


def _caption(name: str, label: Label, n: int) -> str:
    """The text of the metric, its unit, its name, the direction that is better, and the number of seeds."""
    unit = f", {literal(label.unit)}" if label.unit else ""
    better = f"; {label.better} is better" if label.better else ""
    return f"{literal(label.text)}{unit} (`{name}`, n\u00a0=\u00a0{n}{better})"


def _part(label: Label, detail: str) -> str:
    """The part of the network, without the word that the head of the column says already."""
    return detail.removeprefix("layer ") if label.of == "layer" else detail or "all"


def _cell(e: Estimate | None, label: Label, usual: int) -> Value:
    """An estimate in few characters: mean ± half the width of its interval, and n where it is not the usual one."""
    if e is None:
        return None
    if e.diverged:
        median = f", median {number(e.median, label.format)}" if math.isfinite(e.median) else ""
        return TableCell(f"{e.diverged} of {e.n} {label.lost}{median}", sort=e.median)
    text = number(e.mean, label.format)
    if e.low < e.mean < e.high and math.isclose(e.high - e.mean, e.mean - e.low, rel_tol=1e-6):
        text += f" ± {_width(e.high - e.mean, label.format)}"
    elif e.low < e.high:
        text += f", {number(e.low, label.format)} to {number(e.high, label.format)}"
    return TableCell(text if e.n == usual else f"{text}, n\u00a0=\u00a0{e.n}", sort=float(f"{e.mean:.{DIGITS}g}"))


def _width(half: float, format: str) -> str:
    """Half the width of an interval in the metric's format, or with one digit where that shows a zero."""
    text = number(half, format)
    return text if re.search(r"[1-9]", text) else number(half, ".0e")
