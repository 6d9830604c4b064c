"""The section that asks whether a condition is worse, or the common learning rate is wrong for it."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.estimate import paired
from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableColumn, Value
from study.report.sections.common import interval, made, name_cell, pair_count
from study.report.sections.registry import Content, section
from study.spec.records import Condition, Sweep


@section(
    "Learning rate",
    "Is a condition worse, or is the learning rate wrong for it?",
    needs="a sweep in the study file",
)
def learning_rate_section(results: Results) -> Content | None:
    """Compare the conditions at their own best rates with the common rate."""
    known = set(results.titles)
    sweeps = [s for s in results.spec.sweeps if known & set(s.conditions)]
    if not sweeps:
        return None
    tables = [_rate_table(results, sweep) for sweep in sweeps]
    figures = [
        Figure(
            _rates(results, sweep, number_),
            f"{table.caption}: dev loss against the rate, every seed, and the mean of those that converge.",
            table,
        )
        for number_, (sweep, table) in enumerate(zip(sweeps, tables, strict=True), start=1)
    ]
    return Content(
        answer=[line for sweep in sweeps for line in _rate_answer(results, sweep)],
        figures=tuple(figures),
        tables=tuple(tables),
        made=made(
            "The best rate of a condition is the one with the lowest mean train loss; it is judged on dev. A rate at"
            " which a seed diverges is not a candidate.",
            "losses, cells",
            keys="sweeps",
        ),
    )


def _swept(results: Results, sweep: Sweep) -> list[Condition]:
    """The conditions of a sweep that have a training of their own in the tables."""
    return [results.spec.condition(name) for name in sweep.conditions if name in results.titles]


def _rate_table(results: Results, sweep: Sweep) -> Table:
    rows: list[dict[str, Value]] = []
    for c in _swept(results, sweep):
        own = results.best(sweep, c)
        for rate in sweep.rates:
            at = results.spec.condition(sweep.yielded[c.name, rate])
            end = at.schedule.steps
            rows.append(
                {
                    "condition": name_cell(results, c),
                    "rate": rate,
                    "train": interval(results.estimate(results.loss(at, "train", end))),
                    "dev": interval(results.estimate(results.loss(at, "dev", end))),
                    "best": "best" if own is not None and own[0] == rate else "",
                }
            )
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("rate", "learning rate", "", "g"),
        TableColumn("train", "final train loss", "nats", ".4f"),
        TableColumn("dev", "final dev loss", "nats", ".4f"),
        TableColumn("best", "lowest mean train loss"),
    ]
    steps = results.spec.condition(next(iter(sweep.yielded.values()))).schedule.steps
    return Table(f"{sweep.title}, {steps:,} steps", columns, rows)


def _rate_answer(results: Results, sweep: Sweep) -> list[str]:
    told = {}
    for c in _swept(results, sweep):
        found = results.best(sweep, c)
        if found is not None:
            told[c.name] = (found[0], results.loss(found[1], "dev", found[1].schedule.steps))
    if not told:
        return ["No rate lets every seed of any condition converge."]
    titles = results.titles
    text = [
        "Each at its own best rate: "
        + "; ".join(f"**{titles[n]}** {rate:g} ({v.mean():.4f} nats)" for n, (rate, v) in told.items())
        + "."
    ]
    first = next(iter(told))
    others = {n: v for n, (_, v) in told.items() if n != first}
    if others:
        top = min(others, key=lambda n: others[n].mean())
        both = told[first][1].index.intersection(others[top].index)
        d = paired(told[first][1].loc[both], others[top].loc[both])
        worse = "still behind" if d.mean > 0 else "no longer behind"
        between = "" if math.isnan(d.low) else f" [{d.low:+.4f}, {d.high:+.4f}]"
        text.append(
            f"At its own best rate **{titles[first]}** is {worse}: {d.mean:+.4f} nats against {titles[top]}{between},"
            f" {pair_count(d.n)} of seeds."
        )
    order = _order(results, sweep, {name: values.mean() for name, (_, values) in told.items()})
    return [*text, order] if order else text


def _order(results: Results, sweep: Sweep, own: dict[str, float]) -> str:
    """Compare the order of the conditions at their own rates with the order at the common rate."""
    common = results.spec.condition(sweep.conditions[0]).schedule.rate(0)
    if common not in sweep.rates:
        return ""
    at = {name: results.spec.condition(sweep.yielded[name, common]) for name in own}
    together = {name: results.loss(c, "dev", c.schedule.steps) for name, c in at.items()}
    # only of conditions without a diverged seed at that rate
    means = {name: float(v.mean()) for name, v in together.items() if v.notna().all()}
    if len(means) < 2:
        return ""
    ranks = [sorted(means, key=lambda n: by[n]) for by in (means, own)]
    if ranks[0] == ranks[1]:
        return f"The order by dev loss is the same as with the rate of {common:g} for all."
    listed = [", ".join(results.titles[name] for name in names) for names in ranks]
    return (
        f"The order by dev loss depends on the rate: with {common:g} for all it is {listed[0]}; each at its own,"
        f" {listed[1]}."
    )


def _rates(results: Results, sweep: Sweep, count: int) -> plots.Drawing:
    rows: list[tuple[str, int, float, float]] = []
    lost = set()
    for (name, rate), swept in sweep.yielded.items():
        at = results.spec.condition(swept)
        values = results.loss(at, "dev", at.schedule.steps)
        if name in results.titles:
            rows += [(name, int(seed), rate, float(v)) for seed, v in values.items() if math.isfinite(v)]
            lost |= {(name, rate)} if values.isna().any() else set()
    frame = pd.DataFrame(rows, columns=["condition", "seed", "rate", "loss"])
    # no mean where a seed has diverged
    whole = frame[[pair not in lost for pair in zip(frame["condition"], frame["rate"], strict=True)]]
    band = whole.groupby(["condition", "rate"], sort=False)["loss"].agg(["mean", "min", "max"]).reset_index()
    band = band.rename(columns={"min": "low", "max": "high"})

    def drawing(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 320, width)
        plots.draw_lines(ax, looks_of(results), frame, band, x="rate", y="loss", logx=True, logy=True, marks=10)
        ax.set(xlabel="learning rate (log axis)", ylabel="dev loss, nats (log axis)")
        plots.key(fig, looks_of(results), results.titles, [c.name for c in _swept(results, sweep)])
        return fig

    return plots.draw(
        f"learning-rate-lines{'' if count == 1 else f'-{count}'}",
        "Dev loss against learning rate for every condition, every seed thin, the mean thick.",
        drawing,
    )
