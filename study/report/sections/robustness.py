"""What could be otherwise: the learning rate, the last bit, and everything else that threatens the conclusions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.estimate import paired
from study.analysis.quantities import twin_gap
from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Section, Table, TableColumn, Value, number
from study.report.sections.common import interval, made, name_cell, signed, span
from study.report.sections.registry import section
from study.spec.records import Condition, Sweep


@section("learning-rate", "Learning rate", "a sweep in the study file")
def learning_rate(results: Results) -> Section | None:
    """Whether a condition is worse, or the common rate is wrong for it."""
    known = set(results.titles)
    sweeps = [s for s in results.spec.sweeps if known & set(s.conditions)]
    if not sweeps:
        return None
    tables = [_rate_table(results, sweep) for sweep in sweeps]
    figures = [
        Figure(_rates(results, sweep, number_), f"{table.caption}: dev loss against the rate, every seed, and the mean of those that converge.", table)
        for number_, (sweep, table) in enumerate(zip(sweeps, tables, strict=True), start=1)
    ]  # fmt: skip
    return Section(
        anchor="learning-rate",
        short="Learning rate",
        question="Is a condition worse, or is the learning rate wrong for it?",
        answer=[line for sweep in sweeps for line in _rate_answer(results, sweep)],
        figures=tuple(figures),
        tables=tuple(tables),
        made=made("The best rate of a condition is the one with the lowest mean train loss; it is judged on dev. A rate at which a seed diverges is not a candidate.",
                  "study/spec/read.py, experiments.yaml: sweeps", "losses, cells"),
    )  # fmt: skip


def _swept(results: Results, sweep: Sweep) -> list[Condition]:
    """The conditions of a sweep of which a training of their own is there."""
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
    columns = [TableColumn("condition", "condition"), TableColumn("rate", "learning rate", "", "g"), TableColumn("train", "final train loss", "nats", ".4f"),
               TableColumn("dev", "final dev loss", "nats", ".4f"), TableColumn("best", "lowest mean train loss")]  # fmt: skip
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
            f"At its own best rate **{titles[first]}** is {worse}: {d.mean:+.4f} nats against {titles[top]}{between}, {_pairs(d.n)} of seeds."
        )
    order = _order(results, sweep, {name: values.mean() for name, (_, values) in told.items()})
    return [*text, order] if order else text


def _order(results: Results, sweep: Sweep, own: dict[str, float]) -> str:
    """Whether conditions rank otherwise at their own rates than at the one that all are trained with."""
    common = results.spec.condition(sweep.conditions[0]).schedule.rate(0)
    if common not in sweep.rates:
        return ""
    at = {name: results.spec.condition(sweep.yielded[name, common]) for name in own}
    together = {name: results.loss(c, "dev", c.schedule.steps) for name, c in at.items()}
    means = {name: float(v.mean()) for name, v in together.items() if v.notna().all()}  # of those that converge there
    if len(means) < 2:
        return ""
    ranks = [sorted(means, key=lambda n: by[n]) for by in (means, own)]
    if ranks[0] == ranks[1]:
        return f"The order by dev loss is the same as with the rate of {common:g} for all."
    listed = [", ".join(results.titles[name] for name in names) for names in ranks]
    return f"The order by dev loss depends on the rate: with {common:g} for all it is {listed[0]}; each at its own, {listed[1]}."


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
    # no mean where a seed is lost
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


@section("twins", "Reproducibility", "twins in the study file")
def twins(results: Results) -> Section | None:
    """Whether a training repeats, when its start differs in the last bit of one weight."""
    t = results.tables["twins"]
    t = t[t["distance"].notna()]
    if not len(t) or results.spec.twins is None:
        return None
    names = [c.name for c in results.conditions if (t["condition"] == c.name).any()]
    t = pd.DataFrame({"condition": t["condition"].astype(str), "seed": t["seed"].astype(int), "steps": t["steps"].astype(int), "step": t["step"].astype(int),
                      "distance": t["distance"].astype(float), "gap": t["loss_gap"].astype(float)})  # fmt: skip
    rows: list[dict[str, Value]] = []
    ends = {}
    for name in names:
        here, c = t[t["condition"] == name], results.spec.condition(name)
        early_step = results.spec.twins.short_steps
        early = here[here["step"] == early_step]
        end = here[here["step"] == c.schedule.steps]
        ends[name] = end
        rows.append(
            {
                "condition": name_cell(results, c),
                "start": _geometric(here[here["step"] == 0]["distance"]),
                "early": _geometric(early["distance"]),
                "nearly": len(early),
                "end": _geometric(end["distance"]),
                "gap": float(end["gap"].abs().max()) if end["gap"].notna().any() else None,
                "n": len(end),
            }
        )
    columns = [TableColumn("condition", "condition"), TableColumn("start", "distance at the start", "", ".1e"),
               TableColumn("early", f"after {results.spec.twins.short_steps:,} steps", "", ".1e"), TableColumn("nearly", "pairs"),
               TableColumn("end", "at the end", "", ".1e"), TableColumn("gap", "largest gap in dev loss", "nats", ".1e"), TableColumn("n", "pairs to the end")]  # fmt: skip
    table = Table("Distance of twins: relative to the parameters, geometric mean over seeds", columns, rows)
    ended = {name: end for name, end in ends.items() if len(end)}
    answer = ["No pair was trained to the end; the table shows how far the short ones came."]
    if ended:
        answer = _repeats(results, ended)

    def drawing(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 320, width)
        frame = t[t["distance"] > 0].assign(step=t["step"].astype(float).replace(0, 0.5))
        frame = frame.assign(line=frame["seed"].astype(str) + " " + frame["steps"].astype(str))
        long = frame[frame["steps"] == frame.groupby("condition")["steps"].transform("max")]
        band = (
            long.groupby(["condition", "step"], sort=False)["distance"]
            .agg(lambda v: float(np.exp(np.log(v).mean())))
            .reset_index(name="mean")
        )
        band = band.assign(low=band["mean"], high=band["mean"])
        plots.draw_lines(ax, looks_of(results), frame, band, y="distance", unit="line", logx=True, logy=True)
        ax.set(xlabel="step (step 0 drawn at 0.5)", ylabel="relative distance of the parameters")
        plots.key(fig, looks_of(results), results.titles, names)
        return fig

    steps = results.spec.twins.short_steps
    short = f"; lines that end after {steps:,} steps are the short pairs" if (t["steps"] == steps).any() else ""
    return Section(
        anchor="twins",
        short="Reproducibility",
        question="Does a training repeat when its start differs in the last bit?",
        answer=answer,
        figures=(Figure(plots.draw("twins-distance", "Relative distance of twins over the steps on log axes, every pair thin, the mean thick.", drawing),
                        f"Relative distance of a twin from its original on log axes: every pair, and the geometric mean of the long ones{short}.", table),),
        tables=(table,),
        made=made("Distance: |θ′ − θ| / |θ| over all parameters. Both of a pair see the same minibatches; nothing else differs than one unit in the last place of W1[0, 0].",
                  "study/execution/plan.py: twin, study/measurement/measure.py: distance", "twins"),
    )  # fmt: skip


def _repeats(results: Results, ends: dict[str, pd.DataFrame]) -> list[str]:
    """Where twins end furthest apart, and where the others do."""
    apart = {name: _geometric(end["distance"]) or 0.0 for name, end in ends.items()}
    moved = {name: float(end["gap"].abs().max()) for name, end in ends.items()}
    far = max(apart, key=lambda name: apart[name])
    pairs = int((ends[far]["distance"] > 0).sum())
    text = [
        f"One weight of W1 is moved by one unit in the last place, and the twin is trained on the same minibatches. In **{results.titles[far]}** the parameters are "
        f"{number(apart[far], '.1e')} of their size apart at the end (geometric mean of {_pairs(pairs)}), and the dev loss moves by up to {number(moved[far], '.1e')} nats."
    ]
    near = [name for name in ends if name != far]
    if near:
        text.append(
            f"In the others the distance stays at {signed(span([apart[n] for n in near], '.0e'))} and the loss moves by at most {number(max(moved[n] for n in near), '.1e')} nats."
        )
    return text


def _pairs(n: int) -> str:
    return f"{n} pair{'s' if n > 1 else ''}"


def _moved(results: Results) -> str:
    """By how much a last bit moves the final dev loss, condition by condition."""
    ends = {c: twin_gap(results, c, c.schedule.steps) for c in results.conditions}
    gaps = {c.title: float(found.max()) for c, found in ends.items() if found is not None and found.notna().any()}
    if not gaps:
        return "twins differ in the last bit of one weight and are compared above"
    listed = "; ".join(f"{title} {number(gap, '.0e')}" for title, gap in gaps.items())
    return f"moving one weight by its last bit moves the final dev loss by at most, in nats: {listed}"


def _geometric(values: pd.Series) -> float | None:
    found = values[values > 0]
    return float(np.exp(np.log(found).mean())) if len(found) else None


def _tried(results: Results, sweep: Sweep) -> str:
    """What a sweep says about the learning rate, and how far."""
    short = results.spec.condition(next(iter(sweep.yielded.values())))
    seeds = min(short.seeds or len(results.spec.seeds), len(results.spec.seeds))
    return (
        f"{len(sweep.rates)} rate{'s' if len(sweep.rates) > 1 else ''} for {len(sweep.conditions)} of {len(results.conditions)} conditions, {short.schedule.steps:,} steps, "
        f"{seeds} seed{'s' if seeds > 1 else ''}, each judged at its own best; the other trainings were run at the rates that the study file gives"
    )


@section("threats", "Threats to validity", "nothing")
def threats(results: Results) -> Section | None:
    """What could make the conclusions wrong, and what was done about it."""
    data, spec = results.facts["data"], results.spec
    swept = _tried(results, spec.sweeps[0]) if spec.sweeps else "nothing: a sweep would answer it"
    shared = "; ".join(f"{n:,} of {data['words'][s]:,} words of {s}" for s, n in data["shared_with_train"].items())
    widths = sorted({c.network.widths for c in results.conditions})
    rows = [
        ("One learning rate may suit one condition and not another", swept),
        (
            "A difference may be luck of the draw",
            f"{len(spec.seeds)} seeds; every seed is shown; differences are paired by seed, since all conditions share draws and minibatches"
            if len(spec.seeds) > 1
            else "nothing: with one seed no interval can be given",
        ),
        (
            "Many comparisons find something by chance",
            "sign-flip tests are Holm-adjusted over all that the ledger makes, and none is made that the number of seeds could not support; "
            "claims with a bound must hold for every seed",
        ),
        ("One data set", f"only {data['file']} was studied; another word list is one line in the study file"),
        *(
            [
                (
                    "Words that occur twice stand in two splits",
                    f"the splits are cut by row: {shared} are in train, too; the comparison between conditions shares the bias",
                )
            ]
            if data["words_twice"]
            else []
        ),
        (
            "One size of network",
            f"widths studied: {', '.join('-'.join(map(str, w)) for w in widths)}; model: in a condition takes any other",
        ),
        (
            "Choices made on dev",
            "claims rest on train and dev; the losses on test are printed in the ladder and used for nothing",
        ),
        (
            "Rounding",
            _moved(results) if spec.twins else "not examined; twins: in the study file would",
        ),
    ]
    return Section(
        anchor="threats",
        short="Threats to validity",
        question="What could make the conclusions wrong?",
        answer=[
            f"{len(rows)} objections of a careful reader stand below, each with what was done about it. All of it rests on {len(spec.seeds)} "
            f"seed{'s' if len(spec.seeds) > 1 else ''} of {len(results.conditions)} condition{'s' if len(results.conditions) > 1 else ''}, "
            f"one data set of {sum(data['words'].values()):,} words, and {len(widths)} size{'s' if len(widths) > 1 else ''} of network."
        ],
        tables=(
            Table("Threats and answers", [TableColumn("threat", "threat"), TableColumn("done", "what was done")], rows),
        ),
        made=made(
            "The answers are read from the study file and the manifest.",
            "experiments.yaml: sweeps, experiments.yaml: twins",
            "conditions",
        ),
    )
