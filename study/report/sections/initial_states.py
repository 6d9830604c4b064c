"""The section on initial states: thousands of starts that are drawn and never trained, beside their prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableColumn, Value
from study.report.sections.common import first_of, interval, made, name_cell, predictions, span
from study.report.sections.registry import Content, section
from study.spec.records import Condition

SHOWN = 8  # conditions whose distribution is drawn
BINS = 40
SATURATION = "saturation_99"


@section(
    "Initial states",
    "How much does the first loss depend on the draw?",
    needs="the key initial_states in the study file",
)
def initial_states_section(results: Results) -> Content | None:
    """Show the spread of the first loss, and of saturation, over many states that are drawn and not trained."""
    losses = {c.name: v for c in results.conditions if len(v := results.state(c, "loss"))}
    if not losses:
        return None
    predictions = {name: _predicted(results, results.spec.condition(name)) for name in losses}
    table = Table("The first loss over initial states, full training split", _columns("loss", "nats", ".4f"), [])
    table = _table(results, table, {name: (v, predictions[name]["initial_loss", None]) for name, v in losses.items()})
    saturated = {
        name: (100 * values, 100 * predictions[name][SATURATION, 1])
        for name in losses
        if len(values := results.state(results.spec.condition(name), SATURATION, 1))
    }
    tables = [table]
    if saturated:
        caption = "tanh outputs of the first layer with |h| > 0.99 over initial states, full training split"
        tables.append(_table(results, Table(caption, _columns("saturation", "%", ".2f"), []), saturated))
    tables.append(_others(results, losses))
    drawn = {name: v.dropna() for name, v in losses.items() if np.ptp(v.dropna()) > 1e-6 * abs(v.mean())}
    chosen = list(_distinct(results, drawn))[:SHOWN]
    return Content(
        answer=_answer(results, losses, predictions),
        figures=(_figure(results, {name: drawn[name] for name in chosen}, predictions, drawn, table),)
        if chosen
        else (),
        tables=tables,
        made=made(
            "Each state is a network that is drawn as the start of a training is, and measured before any step. The"
            " interval is a 95 % interval of the mean over states; the unit of replication is the state, and states of"
            " two conditions with one seed share their draws.",
            "states",
        ),
    )


def _predicted(results: Results, condition: Condition) -> dict[tuple[str, int | None], float]:
    """The predictions of theory by metric and layer, NaN where there is none; `initial_loss` has no layer."""
    found = predictions(results, condition)
    known: dict[tuple[str, int | None], float] = {("initial_loss", None): math.nan, (SATURATION, 1): math.nan}
    for row in found.itertuples():
        if row.metric != "initial_loss":
            known[row.metric, row.layer] = row.predicted
        elif condition.network.output.activation == "linear":  # theory does not go beyond an activation of the output
            known["initial_loss", None] = row.predicted
    return known


def _columns(what: str, unit: str, form: str) -> list[TableColumn]:
    return [
        TableColumn("condition", "condition"),
        TableColumn(what, "mean over states", unit, form),
        TableColumn("predicted", "predicted mean", unit, form),
        TableColumn("std", "std over states", unit, form),
        TableColumn("min", "smallest", unit, form),
        TableColumn("max", "largest", unit, form),
    ]


def _table(results: Results, empty: Table, values: Mapping[str, tuple[pd.Series, float]]) -> Table:
    """The table with a row per condition: the mean with its interval, the prediction, and the spread over states."""
    rows: list[dict[str, Value]] = []
    for name, (found, predicted) in values.items():
        rows.append(
            {
                "condition": name_cell(results, results.spec.condition(name)),
                empty.columns[1].name: interval(results.estimate(found)),
                "predicted": predicted if math.isfinite(predicted) else "no prediction",
                "std": float(found.std(ddof=1)) if len(found) > 1 else None,
                "min": float(found.min()),
                "max": float(found.max()),
            }
        )
    return Table(empty.caption, empty.columns, rows)


def _others(results: Results, losses: Mapping[str, pd.Series]) -> Table:
    """The folded table of all other measurements: a row per condition, metric and layer."""
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("what", "measurement"),
        TableColumn("layer", "layer"),
        *(TableColumn(key, label, "", ".4g") for key, label in (("mean", "mean"), ("std", "std over states"))),
        *(TableColumn(key, label, "", ".4g") for key, label in (("min", "smallest"), ("max", "largest"))),
    ]
    t, rows = results.tables["states"], list[dict[str, Value]]()
    places = t.loc[t["metric"] != "loss", ["condition", "metric", "layer"]].drop_duplicates()
    for place in places.itertuples():
        if place.condition not in losses:
            continue
        condition = results.spec.condition(place.condition)
        layer = None if pd.isna(place.layer) else int(place.layer)
        found = results.state(condition, place.metric, layer)
        row: dict[str, Value] = {"condition": name_cell(results, condition), "layer": layer}
        row["what"] = results.label(place.metric).text
        spread = {"mean": found.mean(), "std": found.std(ddof=1), "min": found.min(), "max": found.max()}
        rows.append({**row, **{key: float(v) if math.isfinite(v) else None for key, v in spread.items()}})
    return Table("All other measurements over initial states; shares from 0 to 1", columns, rows, folded=True)


def _distinct(results: Results, names: Mapping[str, pd.Series]) -> dict[str, None]:
    """The first condition of each network and reading: the others have the same states."""
    found: dict[object, str] = {}
    for name in names:
        c = results.spec.condition(name)
        found.setdefault((c.network, results.reading(c, 0)), name)
    return dict.fromkeys(found.values())


def _figure(
    results: Results,
    shown: Mapping[str, pd.Series],
    predictions: Mapping[str, dict[tuple[str, int | None], float]],
    all_: Mapping[str, pd.Series],
    table: Table,
) -> Figure:
    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(shown), 2, 150, width)
        for ax, (name, values) in zip(axes, shown.items(), strict=True):
            density, edges = np.histogram(values, BINS, density=True)
            frame = pd.DataFrame({"left": edges[:-1], "right": edges[1:], "density": density})
            plots.histogram(ax, frame, looks_of(results)[name])
            predicted = predictions[name]["initial_loss", None]
            if math.isfinite(predicted):
                plots.reference(ax, predicted, "predicted mean", axis="x")
            ax.set_title(plots.shorten(results.titles[name], 34))
            ax.set(xlabel="first loss, nats", ylabel="density")
        return fig

    more = first_of(list(shown), list(_distinct(results, all_)))
    return Figure(
        plots.draw(
            "initial-states",
            f"Histogram of the first loss over the initial states of each condition, with the predicted mean.{more}",
            drawing,
        ),
        f"The first loss over initial states; each panel has its own scale. Dashed: the predicted mean.{more} A condition"
        " whose states all have the same loss is not drawn.",
        table,
    )


def _answer(
    results: Results,
    losses: Mapping[str, pd.Series],
    predictions: Mapping[str, dict[tuple[str, int | None], float]],
) -> list[str]:
    counts = span([float(len(v)) for v in losses.values()], ",.0f")
    widest = max(losses, key=lambda name: float(losses[name].std(ddof=0)))
    v = losses[widest]
    text = (
        f"{counts} states of each condition were drawn and measured before any step. The first loss varies most with"
        f" **{results.titles[widest]}**: from {v.min():.3f} to {v.max():.3f} nats, with a std of"
        f" {v.std(ddof=0):.3f} around a mean of {v.mean():.3f}"
    )
    predicted = predictions[widest]["initial_loss", None]
    return [text + (f" (predicted: {predicted:.3f})." if math.isfinite(predicted) else ".")]
