"""The section on final losses: the gain of each repair over the condition that it repairs, seed by seed."""

from __future__ import annotations

import math

import pandas as pd

from study.analysis.estimate import Estimate, over_seeds
from study.analysis.results import Results
from study.report.html.page import Figure, Table, TableColumn, Value, number
from study.report.sections.common import Panel, interval, made, minus, name_cell, strips
from study.report.sections.registry import Content, section
from study.spec.records import Condition


@section(
    "Final losses",
    "What is each repair worth at the end, seed by seed?",
    needs="a condition of the first group that comes from another of it and is trained as long",
)
def final_losses_section(results: Results) -> Content | None:
    """Compare the final loss of each condition with that of its parent, paired by seed."""
    known = {c.name: c for c in results.main if not c.untrained}
    pairs = [
        (c, known[c.parent]) for c in known.values() if c.parent in known and c.schedule == known[c.parent].schedule
    ]
    told = {
        split: {c.name: v for c, p in pairs if len(v := minus(results, split, c, p, c.schedule.steps))}
        for split in ("dev", "train")
    }
    pairs = [(c, p) for c, p in pairs if c.name in told["dev"]]
    if not pairs:
        return None
    differences = {c.name: over_seeds(told["dev"][c.name].to_numpy(float)) for c, _ in pairs}
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("parent", "minus"),
        *(TableColumn(split, f"difference in final {split} loss", "nats", "+.4f") for split in told),
        TableColumn("lower", "lower dev loss with"),
    ]
    rows: list[dict[str, Value]] = [
        {
            "condition": name_cell(results, c),
            "parent": p.title,
            **{split: interval(results.estimate(values.get(c.name))) for split, values in told.items()},
            "lower": f"{int((told['dev'][c.name] < 0).sum())} of {len(told['dev'][c.name])}",
        }
        for c, p in pairs
    ]
    table = Table("Final loss minus that of the parent, paired by seed: mean with its 95 % interval", columns, rows)
    panels = [Panel(f"difference in {split} loss, nats", values, (0.0, "")) for split, values in told.items()]
    figure = Figure(
        strips(
            results,
            "paired-differences",
            "Difference of the final loss of each condition from that of its parent, one dot per seed, with mean and 95"
            " % interval; a line marks 0.",
            panels,
            {c.name: f"{c.title} − {p.title}" for c, p in pairs},
        ),
        "Each repair against the condition that it repairs: a dot is one seed, trained both ways from the same draws on"
        " the same minibatches. Left of the dashed line the repair is better.",
        table,
    )
    return Content(
        answer=_answer(results, pairs, told, differences),
        figures=(figure,),
        tables=(table,),
        made=made(
            "A difference is taken within a seed, so that what a seed's draws are worth drops out; the interval is over"
            " seeds.",
            "losses",
        ),
    )


def _answer(
    results: Results,
    pairs: list[tuple[Condition, Condition]],
    told: dict[str, dict[str, pd.Series]],
    differences: dict[str, Estimate],
) -> list[str]:
    sound = [(c, p) for c, p in pairs if not differences[c.name].diverged]
    if not sound:
        return ["Every repair has a pair of seeds that diverged; the table says how many."]
    best, parent = min(sound, key=lambda pair: differences[pair[0].name].mean)
    d = differences[best.name]
    lower = int((told["dev"][best.name] < 0).sum())
    between = "" if math.isnan(d.low) else f" [{number(d.low, '+.4f')}, {number(d.high, '+.4f')}]"
    word = "gains most" if d.mean < 0 else "loses least"
    text = [
        f"**{best.title}** {word} against the condition that it repairs: {number(d.mean, '+.4f')} nats of dev"
        f" loss{between} against {parent.title}, lower with {lower} of {d.n} seed{'s' if d.n > 1 else ''}."
    ]
    rest = [(c, differences[c.name]) for c, _ in sound if c is not best]
    if rest:
        text.append("The others: " + "; ".join(f"{c.title} {number(e.mean, '+.4f')}" for c, e in rest) + " nats.")
    train = [(c, float(told["train"][c.name].mean())) for c, _ in sound if c.name in told["train"]]
    if train:
        listed = "; ".join(f"{c.title} {number(mean, '+.4f')}" for c, mean in train)
        text.append(f"On train the differences are: {listed} nats.")
    return text
