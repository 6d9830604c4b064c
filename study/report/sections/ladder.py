"""The section on the ladder: the changes of each condition, and its gain."""

from __future__ import annotations

import pandas as pd

from study.analysis.results import Results
from study.report.html.page import Figure, Table, TableCell, TableColumn, Value, number
from study.report.sections.common import (
    Panel,
    by_condition,
    change_words,
    interval,
    made,
    notebook_cell,
    scaled,
    strips,
)
from study.report.sections.registry import Content, section
from study.spec.records import Condition


@section(
    "The ladder",
    "What does each repair change, and what does it gain?",
    needs="at least one condition",
)
def ladder_section(results: Results) -> Content | None:
    """Show the changes of each condition, and its gain."""
    conditions = results.main
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("change", "change"),
        TableColumn("initial", "initial loss", "nats", ".3f"),
        TableColumn("saturation", "|h| > 0.99 at the start", "%", ".1f"),
        TableColumn("logits", "logits at the start, smallest to largest", numeric=True),
        TableColumn("train", "final train loss", "nats", ".4f"),
        TableColumn("dev", "final dev loss", "nats", ".4f"),
        TableColumn("test", "final test loss", "nats", ".4f"),
    ]
    rows: list[dict[str, Value]] = []
    for c in conditions:
        tanh = c.network.activation == "tanh"
        rows.append(
            {
                "condition": notebook_cell(results, c),
                "change": change_words(results, c),
                "initial": interval(results.estimate(results.loss(c, "train", 0))),
                "saturation": (
                    interval(results.estimate(scaled(results.metric(c, "saturation_99", 0, 1)))) if tanh else None
                ),
                "logits": _range(results, c),
                **{split: interval(results.estimate(_final(results, c, split))) for split in ("train", "dev", "test")},
            }
        )
    table = Table("Every condition of the ladder: mean over seeds with its 95 % interval, and n", columns, rows)
    values = by_condition(results, conditions, lambda c: _final(results, c, "dev"))
    figure = Figure(
        strips(
            results,
            "ladder-dev",
            "Final dev loss of every condition, one dot per seed, with mean and 95 % interval.",
            [Panel("final dev loss, nats", values)],
        ),
        "Final dev loss: a dot per seed, mean and 95 % interval above.",
        table,
    )
    return Content(
        answer=_ladder_answer(results, conditions),
        figures=(figure,),
        tables=(table,),
        made=made(
            "Losses are those of the full splits after the last step, read with the statistics that the condition"
            " names. The intervals are over seeds.",
            "losses, metrics, conditions",
        ),
    )


def _range(results: Results, condition: Condition) -> Value:
    """The smallest and the largest logit over the training split before the first step, as means over seeds."""
    low, high = (results.estimate(results.metric(condition, f"logit_{end}", 0)) for end in ("min", "max"))
    if low is None or high is None:
        return None
    return TableCell(
        f"{number(low.mean, '.1f')} to {number(high.mean, '.1f')}", sort=f"{low.mean:.6g} to {high.mean:.6g}"
    )


def _ladder_answer(results: Results, conditions: list[Condition]) -> list[str]:
    finals = {c.name: results.estimate(_final(results, c, "dev")) for c in conditions}
    known = {name: e for name, e in finals.items() if e is not None and not e.diverged}
    if not known:
        return ["Every condition has diverged seeds; the table says how many."]
    titles = results.titles
    best = min(known, key=lambda name: known[name].mean)
    lost = [name for name, e in finals.items() if e is not None and e.diverged]
    text = [f"The lowest mean dev loss is that of **{titles[best]}**: {known[best].text()}."]
    first = conditions[0]
    if first.name in known and best != first.name:
        text.append(
            f"{first.title}, where the ladder begins, ends at {known[first.name].text()}; "
            f"the best condition is {known[first.name].mean - known[best].mean:.4f} nats lower."
        )
    if lost:
        text.append(f"Diverged seeds: {', '.join(f'{titles[n]} {finals[n].diverged} of {finals[n].n}' for n in lost)}.")  # type: ignore[union-attr]
    return text


def _final(results: Results, condition: Condition, split: str) -> pd.Series:
    return results.loss(condition, split, condition.schedule.steps)
