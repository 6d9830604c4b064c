"""What training makes of the start: curves, the hockey stick, BatchNorm's statistics."""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Section, Table, TableColumn, Value, number
from study.report.sections.common import (
    Panel,
    by_condition,
    distinct_trainings,
    interval,
    made,
    mark_cuts,
    name_cell,
    span,
    strips,
    told_cuts,
)
from study.report.sections.registry import section
from study.spec.records import Condition

EARLY = 1000  # steps of the hockey stick
COARSE = 40  # points per condition in the table behind the curves


@section("curves", "Training curves", "training curves")
def curves(results: Results) -> Section | None:
    """How the loss falls, from the first thousand steps to the last."""
    t = results.tables["curves"]
    chosen = distinct_trainings(results.main)
    frame = t[t["condition"].isin([c.name for c in chosen]) & t["loss"].notna()]
    if not len(frame):
        return None
    frame = pd.DataFrame({"condition": frame["condition"].astype(str), "seed": frame["seed"].astype(int), "first": frame["first"].astype(int),
                          "step": frame["step"].astype(float), "loss": frame["loss"].astype(float)})  # fmt: skip
    seen = {c.name for c in chosen if (frame["condition"] == c.name).any()}
    chosen = [c for c in chosen if c.name in seen]
    early, longest = frame[frame["first"] < EARLY], max(c.schedule.steps for c in chosen)
    smooth = _smoothed(frame)
    band = _band(smooth)

    def hockey(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 300, width)
        plots.draw_lines(ax, looks_of(results), early, _band(early), logy=True)
        plots.reference(ax, results.uniform, f"ln {results.vocabulary}", end="left")
        ax.set(xlabel="step", ylabel="minibatch loss, nats (log axis)")
        plots.key(fig, looks_of(results), results.titles, [c.name for c in chosen])
        return fig

    def whole(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 320, width)
        late, seeds = (rows[rows["step"] >= longest * 0.01] for rows in (band, smooth))
        plots.draw_lines(ax, looks_of(results), seeds, late)
        mark_cuts(ax, chosen)
        ax.set(xlabel="step", ylabel="smoothed minibatch loss, nats")
        plots.key(fig, looks_of(results), results.titles, [c.name for c in chosen])
        return fig

    columns = [TableColumn("condition", "condition"), TableColumn("step", "middle of the bin", "steps", ",.0f"), TableColumn("mean", "mean loss", "nats", ".4f"),
               TableColumn("low", "smallest seed", "nats", ".4f"), TableColumn("high", "largest seed", "nats", ".4f")]  # fmt: skip

    def behind(caption: str, rows: pd.DataFrame) -> Table:
        thinned = plots.thin(rows, ["condition"], "step", COARSE)
        return Table(caption, columns, [
            {"condition": name_cell(results, results.spec.condition(r.condition)), "step": r.step, "mean": r.mean, "low": r.low, "high": r.high}
            for r in thinned.itertuples()
        ])  # fmt: skip

    figures = [Figure(plots.draw("hockey-stick", f"Minibatch loss over the first {EARLY:,} steps on a log axis, every seed thin, the mean thick.", hockey),
                      f"The loss of the minibatches over the first {min(EARLY, longest):,} steps: every seed, and their mean.",
                      behind("The first steps, mean over seeds in bins", _band(early)))]  # fmt: skip
    if longest > EARLY:
        figures.append(Figure(plots.draw("curves-whole", "Smoothed minibatch loss over the whole training: every seed thin, the mean of each condition thick.", whole),
                              "The whole training, smoothed over 2 % of its steps: every seed, their mean, and the band from the smallest to the largest."
                              + told_cuts(chosen) + _told_normed(chosen),
                              behind("The whole training, smoothed, mean over seeds", band)))  # fmt: skip
    start = {c.name: early[(early["condition"] == c.name) & (early["first"] == 0)]["loss"].mean() for c in chosen}
    worst = max(start, key=lambda name: start[name])
    fall = early[early["condition"] == worst].sort_values("first").groupby("seed")
    began, ended = fall.first(), fall.last()
    falls = f"goes from {start[worst]:.2f} ({_steps(began)}) to {ended['loss'].mean():.2f} ({_steps(ended)})"
    above = start[worst] > results.uniform + 0.05 and ended["loss"].mean() < start[worst]
    return Section(
        anchor="curves",
        short="Training curves",
        question="What are the first steps spent on, and does it show at the end?",
        answer=[
            f"**{results.titles[worst]}** {falls}{': the blade of the hockey stick, since it begins above ln V' if above else ''}. {'The others begin' if len(start) > 2 else 'The other begins'} at {span([v for n, v in start.items() if n != worst], '.2f')} ({_steps(began)}). "
            "These are losses of minibatches, averaged over seeds."
            if len(start) > 1 else f"The loss {falls}.",
            *_ends(results, band, worst),
        ],
        figures=figures,
        made=made("Means of the minibatch losses in bins: fine over the first thousand steps, coarser after. Conditions that share a training share a curve.",
                  "study/measurement/measure.py: curve", "curves"),
    )  # fmt: skip


def _ends(results: Results, band: pd.DataFrame, worst: str) -> list[str]:
    """Where the smoothed curves stand at the end, beside the one that began highest."""
    last = band.loc[band.groupby("condition")["step"].idxmax()].set_index("condition")["mean"]
    others = [float(v) for name, v in last.items() if name != worst]
    if not others:
        return []
    return [
        f"At the end it stands at {last[worst]:.3f}, the other{'s' if len(others) > 1 else ''} at {span(others)} (mean of the last fiftieth of the steps)."
    ]


def _steps(found: pd.DataFrame) -> str:
    """`mean of steps 1 to 10`: what the bins of all seeds (rows) are of; the last steps where seeds differ."""
    row = found.loc[found["step"].idxmax()]
    first, steps = int(row["first"]) + 1, int(2 * (row["step"] - row["first"]) + 1)
    return f"step {first:,}" if steps == 1 else f"mean of steps {first:,} to {first + steps - 1:,}"


def _told_normed(chosen: list[Condition]) -> str:
    """For the caption: what statistics a loss of training is under where there is BatchNorm."""
    normed = [c for c in chosen if c.network.batchnorm_layers]
    sizes = ", ".join(dict.fromkeys(f"{c.schedule.batch_size:,}" for c in normed))
    return (
        f" With BatchNorm a loss of training is under the statistics of its own minibatch of {sizes} examples, noisier than those "
        "that the final losses are read with: its curve lies higher than they lead to expect."
    ) * bool(normed)


def _smoothed(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over a fiftieth of the training's steps, by seed; what remains at the end belongs to the last of them."""
    groups = []
    for _, rows in frame.groupby(["condition", "seed"], sort=False):
        rows = rows.sort_values("first")
        steps = _widths(rows)
        end = int(rows["first"].iloc[-1] + steps.iloc[-1])
        width = max(1, end // 50)
        block = (rows["first"] // width).clip(upper=end // width - 1)
        sums = rows.assign(step=rows["step"] * steps, loss=rows["loss"] * steps, steps=steps).groupby(block, sort=True)
        merged = sums.agg(condition=("condition", "first"), seed=("seed", "first"), step=("step", "sum"), loss=("loss", "sum"), steps=("steps", "sum"))  # fmt: skip
        groups.append(merged.assign(step=merged["step"] / merged["steps"], loss=merged["loss"] / merged["steps"]))
    return pd.concat(groups).reset_index(drop=True)


def _widths(rows: pd.DataFrame) -> pd.Series:
    """Steps in each bin: its middle is (width - 1) / 2 after its first."""
    return 2 * (rows["step"] - rows["first"]) + 1


def _band(frame: pd.DataFrame) -> pd.DataFrame:
    band = frame.groupby(["condition", "step"], sort=False)["loss"].agg(["mean", "min", "max"]).reset_index()
    return band.rename(columns={"min": "low", "max": "high"})


@section("calibration", "BatchNorm and calibration", "a condition with BatchNorm")
def calibration(results: Results) -> Section | None:
    """Which statistics BatchNorm is read with, and what batch statistics do to one example."""
    chosen = distinct_trainings(results.with_batchnorm)
    if not chosen:
        return None
    columns = [TableColumn("condition", "condition"), TableColumn("split", "split"), TableColumn("statistics", "statistics"), TableColumn("loss", "final loss", "nats", ".6f"),
               TableColumn("gap", "minus calibrated", "nats", "+.2e")]  # fmt: skip
    rows: list[dict[str, Value]] = []
    gaps = {}
    for c in chosen:
        end = c.schedule.steps
        for split in ("train", "dev"):
            base = results.loss(c, split, end, "calibrated")
            for kind in ("calibrated", "running", "batch"):
                values = results.loss(c, split, end, kind)
                gap = values - base  # of a diverged seed NaN, and counted as such
                rows.append({"condition": name_cell(results, c), "split": split, "statistics": kind, "loss": interval(results.estimate(values)),
                             "gap": interval(results.estimate(gap)) if kind != "calibrated" and len(gap) else None})  # fmt: skip
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
            answer.append(f"Read with the statistics of its own batch, the same examples cost {here.iloc[0]:.3f} nats in batches of {here.index[0]:,} and "
                          f"{here.iloc[-1]:.3f} as one batch of {here.index[-1]:,}: a prediction then depends on its neighbours, and a batch of one has none.")  # fmt: skip
    return Section(
        anchor="calibration",
        short="BatchNorm and calibration",
        question="With which statistics should BatchNorm be read?",
        answer=answer or ["All seeds diverged, so there is nothing to compare."],
        figures=figures,
        tables=(table,),
        made=made("Calibrated: mean and unbiased std of every unit over the whole training split, measured once after training, no eps. Running: the lecture's "
                  "average of batch means and stds with momentum 0.001. Batches of a few examples divide by √(variance + 1e-5).",
                  "study/measurement/evaluate.py", "losses, metrics"),
    )  # fmt: skip


def _by_size(results: Results, chosen: list[Condition]) -> pd.DataFrame:
    t = results.tables["losses"]
    rows = t[t["batch_size"].notna() & t["condition"].isin([c.name for c in chosen]) & t["loss"].notna()]
    return pd.DataFrame({"condition": rows["condition"].astype(str), "seed": rows["seed"].astype(int), "batch_size": rows["batch_size"].astype(int),
                         "examples": rows["examples"].astype(int), "loss": rows["loss"].astype(float)})  # fmt: skip


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
        rows.append({"condition": name_cell(results, results.spec.condition(name)), "size": int(size), "examples": int(here["examples"].iloc[0]),
                     "loss": interval(results.estimate(here["loss"]))})  # fmt: skip
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
    level = condition.network.batchnorm_layers[0] + 1
    return results.metric(condition, metric, condition.schedule.steps, level, statistics="running")


def _unit_gaps(results: Results, chosen: list[Condition]) -> Figure | None:
    panels: list[Panel] = []
    rows: list[dict[str, Value]] = []
    for metric, what in (("gap_mean", "mean"), ("gap_std", "std")):
        values = by_condition(results, chosen, partial(_running_gap, results, metric))
        panels.append(Panel(f"largest gap of a unit's {what}", values))
        for c in chosen:
            for layer in c.network.batchnorm_layers:
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
        TableColumn("layer", "level"),
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
