"""The section on the statistics that BatchNorm is read with, and on the effect of a small batch."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableColumn, Value, number
from study.report.sections.common import (
    Panel,
    by_condition,
    distinct_trainings,
    interval,
    made,
    name_cell,
    strips,
)
from study.report.sections.registry import Content, section
from study.spec.records import Condition


@section(
    "BatchNorm and calibration",
    "With which statistics should BatchNorm be read?",
    needs="a training with BatchNorm",
)
def calibration_section(results: Results) -> Content | None:
    """Compare the statistics that BatchNorm is read with, and show the effect of batch statistics on one example."""
    chosen = distinct_trainings([c for c in results.with_batchnorm if not c.untrained])
    if not chosen:
        return None
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("split", "split"),
        TableColumn("statistics", "statistics"),
        TableColumn("loss", "final loss", "nats", ".6f"),
        TableColumn("gap", "minus calibrated", "nats", "+.2e"),
    ]
    rows: list[dict[str, Value]] = []
    gaps = {}
    for c in chosen:
        end = c.schedule.steps
        for split in ("train", "dev"):
            base = results.loss(c, split, end, "calibrated")
            for kind in ("calibrated", "running", "batch"):
                values = results.loss(c, split, end, kind)
                gap = values - base  # the value of a diverged seed is NaN, and it is counted as diverged
                rows.append(
                    {
                        "condition": name_cell(results, c),
                        "split": split,
                        "statistics": kind,
                        "loss": interval(results.estimate(values)),
                        "gap": interval(results.estimate(gap)) if kind != "calibrated" and len(gap) else None,
                    }
                )
                if (split, kind) == ("dev", "running"):
                    gaps[c.name] = gap.abs()
    table = Table(
        "One training, read with three sets of statistics; batch: the whole split as one batch", columns, rows
    )
    figures = [f for f in (_batch_sizes(results, chosen), _unit_gaps(results, chosen)) if f is not None]
    told = [
        f"{number(float(gaps[c.name].max()), '.1e')} nats for **{c.title}** (n = {len(gaps[c.name])})"
        for c in chosen
        if len(gaps[c.name]) and gaps[c.name].notna().all()
    ]
    answer = [f"Running and calibrated statistics differ in dev loss by at most {', '.join(told)}."] if told else []
    by_size = _by_size(results, chosen)
    if len(by_size):
        first = chosen[0].name
        here = by_size[by_size["condition"] == first].groupby("batch_size")["loss"].mean()
        if len(here) > 1:
            answer.append(
                f"Read with the statistics of its own batch, the same examples cost {here.iloc[0]:.3f} nats in batches"
                f" of {here.index[0]:,} and {here.iloc[-1]:.3f} as one batch of {here.index[-1]:,}: a prediction then"
                " depends on its neighbours, and a batch of one has none."
            )
    return Content(
        answer=answer or ["All seeds diverged, so there is nothing to compare."],
        figures=figures,
        tables=(table,),
        made=made(
            "Calibrated: mean and unbiased std of every unit over the whole training split, measured once after"
            " training, no eps. Running: the lecture's average of batch means and stds with momentum 0.001. Batches of"
            " a few examples divide by √(variance + 1e-5).",
            "losses, metrics",
        ),
    )


def _by_size(results: Results, chosen: list[Condition]) -> pd.DataFrame:
    t = results.tables["losses"]
    rows = t[t["batch_size"].notna() & t["condition"].isin([c.name for c in chosen]) & t["loss"].notna()]
    return pd.DataFrame(
        {
            "condition": rows["condition"].astype(str),
            "seed": rows["seed"].astype(int),
            "batch_size": rows["batch_size"].astype(int),
            "examples": rows["examples"].astype(int),
            "loss": rows["loss"].astype(float),
        }
    )


def _batch_sizes(results: Results, chosen: list[Condition]) -> Figure | None:
    frame = _by_size(results, chosen)
    if not len(frame):
        return None
    calibrated = {c.name: results.estimate(results.loss(c, "dev", c.schedule.steps, "calibrated")) for c in chosen}

    def drawing(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 280, width)
        band = frame.groupby(["condition", "batch_size"], sort=False)["loss"].agg(["mean", "min", "max"]).reset_index()
        band = band.rename(columns={"min": "low", "max": "high"})
        plots.draw_lines(ax, looks_of(results), frame, band, x="batch_size", y="loss", logx=True, marks=10)
        if len(chosen) == 1:
            e = calibrated[chosen[0].name]
            if e is not None and e.mean == e.mean:
                plots.reference(ax, e.mean, "calibrated, all of dev")
        ax.set(xlabel="examples normalised together", ylabel="dev loss, nats")
        if len(chosen) > 1:
            plots.key(fig, looks_of(results), results.titles, [c.name for c in chosen])
        return fig

    columns = [
        TableColumn("condition", "condition"),
        TableColumn("size", "examples per batch"),
        TableColumn("examples", "examples read"),
        TableColumn("loss", "dev loss", "nats", ".4f"),
    ]
    rows: list[dict[str, Value]] = []
    for (name, size), here in frame.groupby(["condition", "batch_size"], sort=False):
        rows.append(
            {
                "condition": name_cell(results, results.spec.condition(name)),
                "size": int(size),
                "examples": int(here["examples"].iloc[0]),
                "loss": interval(results.estimate(here["loss"])),
            }
        )
    return Figure(
        plots.draw(
            "batch-size",
            "Dev loss of the same examples against the number of examples that are normalised together.",
            drawing,
        ),
        "The same examples of dev after training, normalised by the statistics of their own batch.",
        Table("Loss by evaluation batch size", columns, rows),
    )


def _running_gap(results: Results, metric: str, condition: Condition) -> pd.Series:
    layer = condition.network.layers_with_statistics[0] + 1
    return results.metric(condition, metric, condition.schedule.steps, layer, statistics="running")


def _unit_gaps(results: Results, chosen: list[Condition]) -> Figure | None:
    panels: list[Panel] = []
    rows: list[dict[str, Value]] = []
    for metric, what in (("gap_mean", "mean"), ("gap_std", "std")):
        values = by_condition(results, chosen, partial(_running_gap, results, metric))
        panels.append(Panel(f"largest gap of a unit's {what}", values))
        for c in chosen:
            for layer in c.network.layers_with_statistics:
                for kind in ("running", "batch"):
                    found = results.metric(c, metric, c.schedule.steps, layer + 1, statistics=kind)
                    rows.append(
                        {
                            "condition": name_cell(results, c),
                            "layer": layer + 1,
                            "of": what,
                            "kind": kind,
                            "gap": interval(results.estimate(found)),
                        }
                    )
    if not any(p.values for p in panels) or not any(len(v.dropna()) for p in panels for v in p.values.values()):
        return None
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("layer", "layer"),
        TableColumn("of", "of"),
        TableColumn("kind", "statistics"),
        TableColumn("gap", "largest gap over units", "", ".4f"),
    ]
    return Figure(
        strips(
            results,
            "unit-gaps",
            "Largest gap of a unit's running mean and std from the calibrated ones, every seed.",
            panels,
        ),
        "How far the running statistics of the worst unit are from the calibrated ones.",
        Table(
            "Largest gap of a unit's statistics from the calibrated ones at the end; batch: one minibatch",
            columns,
            rows,
        ),
    )
