"""The section on saturation: the share of tanh outputs that pass almost no gradient, and the lecture's picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableColumn, Value
from study.report.sections.common import (
    Panel,
    by_condition,
    distinct_trainings,
    first_of,
    interval,
    made,
    name_cell,
    scaled,
    strips,
    without_layers,
)
from study.report.sections.registry import Content, section
from study.spec.records import Condition


def _tanh(results: Results) -> list[Condition]:
    return [c for c in results.conditions if any(layer.activation == "tanh" for layer in c.network.hidden)]


def _layers(condition: Condition, activation: str | None = None) -> list[int]:
    return [i for i, layer in enumerate(condition.network.hidden, start=1) if activation in (None, layer.activation)]


def _saturated(results: Results, layer: int, condition: Condition) -> pd.Series:
    return scaled(results.metric(condition, "saturation_99", 0, layer))


@section(
    "Saturation",
    "How many tanh outputs sit where almost no gradient passes?",
    needs="a condition with tanh units",
)
def saturation_section(results: Results) -> Content | None:
    """Show the share of outputs for which tanh passes almost no gradient."""
    conditions = _tanh(results)
    if not conditions:
        return None
    deepest = max(len(c.network.hidden) for c in conditions)
    panels = []
    for layer in list(range(1, deepest + 1))[:4]:
        having = [c for c in conditions if layer in _layers(c, "tanh")]
        values = by_condition(results, having, partial(_saturated, results, layer))
        panels.append(Panel("|h| > 0.99 at the start, %" + (f", layer {layer}" if deepest > 1 else ""), values))
    columns = [
        TableColumn("condition", "condition"),
        *([TableColumn("layer", "layer")] if deepest > 1 else []),
        TableColumn("s97", "|h| > 0.97 at the start", "%", ".1f"),
        TableColumn("s99", "|h| > 0.99 at the start", "%", ".1f"),
        TableColumn("e99", "|h| > 0.99 at the end", "%", ".1f"),
        TableColumn("dead", "dead units at the start", "%", ".1f"),
        TableColumn("pass", "mean 1 − h² at the start", "", ".3f"),
        TableColumn("passend", "mean 1 − h² at the end", "", ".3f"),
        TableColumn("std", "std of the pre-activation", "", ".2f"),
    ]
    rows: list[dict[str, Value]] = []
    for c in conditions:
        for layer in _layers(c, "tanh"):
            end = c.schedule.steps

            def est(name: str, step: int, factor: float = 1.0, c: Condition = c, layer: int = layer) -> Value:
                return interval(results.estimate(scaled(results.metric(c, name, step, layer), factor)))

            row: dict[str, Value] = {
                "condition": name_cell(results, c),
                "s97": est("saturation_97", 0, 100),
                "s99": est("saturation_99", 0, 100),
                "e99": est("saturation_99", end, 100),
                "dead": est("dead", 0, 100),
                "pass": est("gradient_pass", 0),
                "passend": est("gradient_pass", end),
                "std": est("preact_std", 0),
            }
            rows.append({**row, **({"layer": layer} if deepest > 1 else {})})
    table = Table(
        "Saturation over the full training split: shares of outputs (a unit on an example); a unit is dead when |h| >"
        " 0.99 on every example",
        columns,
        rows,
    )
    first = {
        c.name: results.estimate(scaled(results.metric(c, "saturation_99", 0, _layers(c, "tanh")[0])))
        for c in conditions
    }
    known = {name: e for name, e in first.items() if e is not None and not math.isnan(e.mean)}
    answer = ["Every condition has lost seeds; the table says how many."]
    if known:
        worst, best = max(known, key=lambda n: known[n].mean), min(known, key=lambda n: known[n].mean)
        answer = [
            f"Before the first step {known[worst].mean:.1f}\u00a0% of the outputs of **{results.titles[worst]}** have"
            " |h| > 0.99, where the local gradient 1 − h² is below 0.02"
            + (f"; of **{results.titles[best]}** it is {known[best].mean:.1f}\u00a0%" if best != worst else "")
            + ". The threshold matters: the table has the shares at 0.97, too."
        ]
    figures = [
        Figure(
            strips(
                results,
                "saturation-strip",
                "Share of tanh outputs beyond 0.99 in absolute value at the start, every condition and seed.",
                panels,
            ),
            "Share of tanh outputs with |h| > 0.99 before the first step.",
            table,
        )
    ]
    picture = _pictures(results, conditions)
    if picture is not None:
        figures.append(picture)
    return Content(
        answer=[*answer, *without_layers(results, results.conditions)],
        figures=figures,
        tables=(table,),
        made=made(
            "The output of every unit on every example of the full training split, streamed.", "metrics, pictures"
        ),
    )


def _pictures(results: Results, conditions: Sequence[Condition]) -> Figure | None:
    """Draw the lecture's picture: examples × units, with a mark where |h| > 0.99."""
    t = results.tables["pictures"]
    shown = [c for c in results.main if c in conditions and ((t["condition"] == c.name) & (t["step"] == 0)).any()]
    chosen = distinct_trainings(shown)[:6]  # conditions that share a training share a picture
    if not chosen:
        return None
    bits = {}
    for c in chosen:
        rows = t[(t["condition"] == c.name) & (t["step"] == 0)]
        rows = rows[rows["layer"] == rows["layer"].min()].sort_values("example")
        bits[c.name] = np.array([[digit == "1" for digit in units] for units in rows["units"]])

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(chosen), 2, 120, width)
        for ax, c in zip(axes, chosen, strict=True):
            plots.mask(ax, bits[c.name], looks_of(results)[c.name].color)
            ax.set_title(plots.shorten(c.title, 34))
        return fig

    columns = [
        TableColumn("condition", "condition"),
        TableColumn("share", "marked", "%", ".1f"),
        TableColumn("dead", "units marked in every row"),
    ]
    rows_: list[dict[str, Value]] = [
        {
            "condition": name_cell(results, results.spec.condition(n)),
            "share": 100 * float(b.mean()),
            "dead": int(b.all(0).sum()),
        }
        for n, b in bits.items()
    ]
    examples = len(next(iter(bits.values())))
    more = first_of(chosen, distinct_trainings(shown))
    return Figure(
        plots.draw(
            "saturation-map",
            f"{examples} examples by the units of the first tanh layer, a mark where the output is beyond 0.99.{more}",
            drawing,
        ),
        f"The first minibatch of the first seed: {examples} examples (rows) × the units of the first tanh layer"
        f" (columns), a mark where |h| > 0.99.{more} A column marked from top to bottom is a unit that learns next to"
        " nothing from this minibatch.",
        Table("Marks in the pictures", columns, rows_),
    )
