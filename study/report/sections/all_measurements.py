"""The section with all measurements: a folded table for every metric, with a line for every condition and part of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from study.analysis.estimate import Estimate
from study.analysis.measurements import Place, estimates
from study.analysis.results import Results
from study.measurement.labels import Label
from study.report.html.page import Table, TableCell, TableColumn, Value, number
from study.report.html.words import literal
from study.report.sections.common import made
from study.report.sections.registry import Content, section

DIGITS = 6  # of a mean for sorting and CSV; each digit of it is a hundredth of the section
PARTS = {"layer": "layer", "output": "reading", "parameter": "parameter", "training": "part"}


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
    swept = ", those of sweeps among them," if any(c.sweep for c in results.spec.conditions) else ""
    read = ", and for every kind of statistics under which BatchNorm was read" if results.with_batchnorm else ""
    return Content(
        answer=[
            f"{len(tables)} measurements of {len(columns)} conditions{swept} stand below, folded, in {lines:,} lines: one"
            f" for every layer, parameter and split{read}.",
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
    titles = {c.name: c.title for c in results.spec.conditions}
    for condition, detail in dict.fromkeys((place.condition, place.detail) for place in found):
        steps = columns[condition] if name != "probe" else {"start": 0}
        here = {column: found.get(Place(name, condition, detail, step)) for column, step in steps.items()}
        row: dict[str, Value] = {
            "condition": TableCell(titles.get(condition, condition), sort=condition),
            "part": _part(label, detail),
        }
        rows.append(row | {"n": _seeds(here.values())} | {column: _cell(e, label) for column, e in here.items()})
    at = {"start": "at the start", "common": f"at step {results.common or 0:,}", "end": "at the end"}
    ends = {steps["end"] for steps in columns.values()}
    shown = [
        c
        for c in at
        if any(row.get(c) is not None for row in rows) and not (c == "common" and ends == {results.common})
    ]
    head = [TableColumn("condition", "condition"), TableColumn("part", PARTS[label.of])]
    return Table(
        _caption(name, label),
        [
            *head,
            TableColumn("n", "seeds"),
            *(TableColumn(column, at[column], label.unit, label.format, numeric=True) for column in shown),
        ],
        [{column: row.get(column) for column in ("condition", "part", "n", *shown)} for row in rows],
        folded=True,
    )


def _caption(name: str, label: Label) -> str:
    """The text of the metric, its unit, its name, and the direction that is better."""
    unit = f", {literal(label.unit)}" if label.unit else ""
    better = f"; {label.better} is better" if label.better else ""
    return f"{literal(label.text)}{unit} (`{name}`{better})"


def _part(label: Label, detail: str) -> str:
    """The part of the network, without the word that the head of the column says already."""
    whole = "train" if label.of == "output" else "all"  # the output is read on the full training split
    return detail.removeprefix("layer ") if label.of == "layer" else detail or whole


def _seeds(found: Iterable[Estimate | None]) -> Value:
    """The number of seeds, lost ones among them: `10`, or `9, 10` where it differs from step to step."""
    counts = sorted({e.n for e in found if e is not None})
    return counts[0] if len(counts) == 1 else ", ".join(map(str, counts))


def _cell(e: Estimate | None, label: Label) -> Value:
    """An estimate in few characters: mean ± half the width of its interval, or the number of lost seeds."""
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
    return TableCell(text, sort=float(f"{e.mean:.{DIGITS}g}"))


def _width(half: float, format: str) -> str:
    """Half the width of an interval in the metric's format, or with one digit where that shows a zero."""
    text = number(half, format)
    return text if re.search(r"[1-9]", text) else number(half, ".0e")
