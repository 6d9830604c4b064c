"""The parts that sections share: estimates as table cells, strips of seeds, cells with the look of a condition."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn

from study.analysis.estimate import Estimate
from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Interval, Made, Table, TableCell, TableColumn, Value
from study.report.html.words import power
from study.report.notebook.names import page_link
from study.spec.records import Condition

Values = Mapping[str, pd.Series]  # condition -> value by seed


@dataclass(frozen=True)
class Panel:
    """One quantity over conditions, to be drawn side by side with others."""

    label: str
    values: Values
    reference: tuple[float, str] | None = None
    log: bool = False


def interval(e: Estimate | None) -> Value:
    """An estimate as a table cell: mean, interval and n, or the number of diverged seeds."""
    if e is None:
        return None
    if e.diverged:
        median = f", median {e.median:.4f}" if math.isfinite(e.median) else ""
        return TableCell(f"{e.diverged} of {e.n} diverged{median}", sort=e.median, tone="bad")
    return Interval(e.mean, None if math.isnan(e.low) else e.low, None if math.isnan(e.high) else e.high, e.n)


def name_cell(results: Results, condition: Condition) -> TableCell:
    """A condition's title with its look."""
    return TableCell(condition.title, sort=condition.name, look=looks_of(results)[condition.name])


def notebook_cell(results: Results, condition: Condition) -> TableCell:
    """A condition's title with its look, linked to its notebook."""
    return replace(name_cell(results, condition), href=page_link(condition.name))


def scaled(values: pd.Series, factor: float = 100.0) -> pd.Series:
    """The values times `factor`; by default, shares as percentages."""
    return values * factor


def strips(
    results: Results, name: str, alt: str, panels: Sequence[Panel], titles: Mapping[str, str] | None = None
) -> plots.Drawing:
    """Draw every seed of every condition, with mean and interval, and one panel per quantity.

    Rows have the `titles`, by default those of the conditions.
    """
    titles = results.titles if titles is None else titles
    # where every seed has diverged, the panels stay and have no dots
    panels = [p for p in panels if any(len(v.dropna()) for v in p.values.values())] or list(panels)
    names = [c.name for c in results.conditions if any(c.name in p.values for p in panels)]

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(panels), len(panels), plots.strip_height(len(names), width), width)
        beside = width > plots.NARROW
        for i, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
            frame, intervals = tidy(results, panel.values)
            plots.draw_strip(
                ax,
                frame,
                looks_of(results),
                titles,
                intervals=intervals,
                label=panel.label,
                log=panel.log,
                named=i == 0 or not beside,
                names=names,
            )
            if panel.reference:
                plots.reference(ax, *panel.reference, axis="x")
        return fig

    return plots.draw(name, alt, drawing)


def tidy(results: Results, values: Values) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frames that `plots.draw_strip` takes: (condition, seed, value) and (condition, mean, low, high)."""
    rows = [(name, seed, value) for name, found in values.items() for seed, value in found.items()]
    estimates = [(name, results.estimate(found)) for name, found in values.items() if len(found)]
    return (
        pd.DataFrame(rows, columns=["condition", "seed", "value"]),
        pd.DataFrame(
            [(n, e.mean, e.low, e.high) for n, e in estimates if e], columns=["condition", "mean", "low", "high"]
        ),
    )


def minus(results: Results, split: str, condition: Condition, parent: Condition, step: int) -> pd.Series:
    """The loss at a step minus that of the parent, for every seed that both have. It is NaN where one has diverged."""
    a, b = (results.loss(c, split, step) for c in (condition, parent))
    both = a.index.intersection(b.index).sort_values()
    return a.loc[both] - b.loc[both]


def distinct_trainings(conditions: Sequence[Condition]) -> list[Condition]:
    """One condition per training. Conditions that differ only in the statistics they are read with share a training."""
    found: dict[object, Condition] = {}
    for c in conditions:
        found.setdefault((c.network, c.schedule), c)
    return list(found.values())


def without_layers(results: Results, conditions: Sequence[Condition]) -> list[str]:
    """A sentence that names the conditions without hidden layers, which a section about layers leaves out, if any."""
    bare = [f"**{results.titles[c.name]}**" for c in conditions if not c.network.hidden]
    if not bare:
        return []
    return [f"Left out here, since there are no hidden layers: {', '.join(bare)}."]


def data_words(results: Results) -> str:
    """The number of items in the data set, such as `32,033 words`."""
    data = results.facts["data"]
    if "words" in data:
        return f"{sum(data['words'].values()):,} words"
    found: str = data["size"]
    return found


def bins(t: pd.DataFrame, condition: Condition, step: int, quantity: str) -> pd.DataFrame:
    """The rows of the table of histograms for h or preact of the first layer, or for the logits."""
    layer = len(condition.network.layers) if quantity == "logits" else 1
    return t[
        (t["condition"] == condition.name) & (t["step"] == step) & (t["quantity"] == quantity) & (t["layer"] == layer)
    ]


def within(rows: pd.DataFrame, reach: float) -> float:
    """The share of a histogram between -reach and reach. A bin that is cut counts in proportion to its width."""
    left, right, share = (rows[name].to_numpy(float) for name in ("left", "right", "share"))
    inside = np.clip(np.minimum(right, reach) - np.maximum(left, -reach), 0, None)
    return float((share * inside / (right - left)).sum())


def central(rows: pd.DataFrame, share: float = 0.99) -> float:
    """The smallest reach with at least `share` of a histogram in ±reach.

    It is 1, 2, 3, 5 or 7 times a power of ten, but no larger than the reach of all bins.
    """
    edges = rows.loc[rows["density"].notna(), ["left", "right"]].to_numpy(float)
    end = float(np.abs(edges).max()) if len(edges) else 1.0
    steps = (digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 3, 5, 7))
    return next((min(step, end) for step in steps if step >= end or within(rows, step) >= share), end)


def beyond(rows: pd.DataFrame, reach: float) -> str:
    """The share of a histogram beyond ±reach, such as `8 %`, or an empty text up to one percent."""
    share = 100 * (float(rows["share"].sum()) - within(rows, reach))
    return f"{share:.0f}\u00a0%" if share > 1 else ""


def cuts(conditions: Sequence[Condition]) -> dict[int, str]:
    """The step -> its label, such as `learning rate 0.1 → 0.01`, where the rate of one of the conditions changes."""
    found: dict[int, list[str]] = {}
    for schedule in dict.fromkeys(c.schedule for c in conditions):
        for (_, before), (step, after) in pairwise(schedule.lr):
            if before != after and step < schedule.steps:
                found.setdefault(step, []).append(f"{before:g} → {after:g}")
    return {step: f"learning rate {', '.join(dict.fromkeys(changes))}" for step, changes in sorted(found.items())}


def mark_cuts(ax: Axes, conditions: Sequence[Condition], end: str = "right") -> None:
    """Draw a vertical line at each cut of the learning rate. A single line has its label to its left or right."""
    found = cuts(conditions)
    for step, label in found.items():
        plots.reference(ax, step, label if len(found) == 1 else "", axis="x", end=end)


def told_cuts(conditions: Sequence[Condition]) -> str:
    """A sentence for the caption of a figure with such lines. It is empty where the rate never changes."""
    found = [f"step {step:,} ({label.removeprefix('learning rate ')})" for step, label in cuts(conditions).items()]
    return (
        f" Upright: the learning rate changes at {', '.join(found[:4])}{' and later' * (len(found) > 4)}."
        if found
        else ""
    )


def first_of(shown: Sequence[object], all_: Sequence[object]) -> str:
    """The words of a caption where not every condition is drawn."""
    return f" The first {len(shown)} of {len(all_)} are drawn." if len(shown) < len(all_) else ""


def by_condition(
    results: Results, conditions: Sequence[Condition], get: Callable[[Condition], pd.Series | None]
) -> dict[str, pd.Series]:
    """The name -> the result of `get`, for every condition that has one."""
    found = {c.name: get(c) for c in conditions}
    return {name: values for name, values in found.items() if values is not None and len(values)}


def seed_table(results: Results, caption: str, values: Values, column: TableColumn) -> Table:
    """A table with every value behind a figure: a row per condition and seed."""
    rows: list[dict[str, Value]] = [
        {"condition": name_cell(results, results.spec.condition(name)), "seed": int(seed), column.name: float(value)}
        for name, found in values.items()
        for seed, value in found.items()
    ]
    return Table(caption, (TableColumn("condition", "condition"), TableColumn("seed", "seed"), column), rows)


def made(text: str, tables: str, keys: str = "") -> Made:
    """The origin of a section: a sentence, its tables, and keys of the study file that its tables do not depend on.

    Names are separated by commas. `origin.complete` adds the code, the cells and the command."""
    return Made(text, tables=_listed(tables), keys=_listed(keys))


def _listed(text: str) -> list[str]:
    return [part for part in text.split(", ") if part]


def span(values: Sequence[float], spec: str = ".3f") -> str:
    """The range of the values in words, such as `0.087 to 0.112`, or `0.112` where both ends are printed alike."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return "–"
    low, high = format(min(finite), spec), format(max(finite), spec)
    return low if low == high else f"{low} to {high}"


def signed(text: str) -> str:
    """The text with typeset numbers: true minus signs and powers of ten."""
    text = re.sub(r"(?<![\w.])\d+(?:\.\d+)?e[+-]\d+", lambda found: power(found[0]), text)
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def change_words(results: Results, condition: Condition) -> str:
    """The changes of a condition from its parent, in one line that names the parent."""
    start = "" if condition.parent is None else f"from {results.titles.get(condition.parent, condition.parent)}: "
    return start + "; ".join(condition.changes)


def pair_count(n: int) -> str:
    """The number of pairs in words: `1 pair`, `10 pairs`."""
    return f"{n} pair{'s' if n > 1 else ''}"
