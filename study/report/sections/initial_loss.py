"""The section that compares the first loss of every condition with that of a uniform guess."""

from __future__ import annotations

from study.analysis.results import Results
from study.report.html.page import Figure, Table, TableColumn, Value
from study.report.sections.common import (
    Panel,
    by_condition,
    interval,
    made,
    name_cell,
    seed_table,
    strips,
)
from study.report.sections.registry import Content, section


@section(
    "The first loss",
    "Why is the first loss wrong, and what makes it right?",
    needs="at least one condition",
)
def initial_loss_section(results: Results) -> Content | None:
    """Show whether each condition starts at ln V."""
    values = by_condition(results, results.conditions, lambda c: results.loss(c, "train", 0))
    uniform = results.uniform
    estimates = {name: results.estimate(v) for name, v in values.items()}
    near = [name for name, v in values.items() if ((v - uniform).abs() <= 0.05).all()]
    known = {name: v for name, v in values.items() if v.notna().all()}
    worst = max(known or values, key=lambda name: values[name].mean())
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("loss", "initial loss", "nats", ".4f"),
        TableColumn("above", "above ln V", "nats", ".4f"),
        TableColumn("logits", "std of the logits", "", ".3f"),
        TableColumn("entropy", "entropy of the prediction", "nats", ".3f"),
    ]
    rows: list[dict[str, Value]] = [
        {
            "condition": name_cell(results, results.spec.condition(name)),
            "loss": interval(estimates[name]),
            "above": interval(results.estimate(v - uniform)),
            "logits": interval(results.estimate(results.metric(results.spec.condition(name), "logit_std", 0))),
            "entropy": interval(results.estimate(results.metric(results.spec.condition(name), "entropy", 0))),
        }
        for name, v in values.items()
    ]
    table = Table("Loss before the first step, full training split", columns, rows)
    log = max(float(v.max()) for v in values.values()) > 3 * uniform
    reference = (uniform, f"ln {results.vocabulary} = {uniform:.4f}")
    figure = Figure(
        strips(
            results,
            "initial-loss-strip",
            f"Initial loss of every condition and seed against ln V = {uniform:.3f}.",
            [Panel("initial loss, nats" + (" (log axis)" if log else ""), values, reference, log)],
        ),
        f"Loss before the first step. Dashed: ln {results.vocabulary}, what a uniform guess costs.",
        seed_table(results, "Initial loss of every seed", values, TableColumn("loss", "initial loss", "nats", ".6f")),
    )
    return Content(
        answer=[
            f"A model that knows nothing should spread its guess over {results.vocabulary} {results.noun}s and pay ln"
            f" {results.vocabulary} = "
            f"{uniform:.4f} nats. **{results.titles[worst]}** starts at {estimates[worst].text('.2f')}"  # type: ignore[union-attr]
            + (
                ": its logits are large, so it is confident, and wrong."
                if worst in known and worst not in near
                else "."
            ),
            *(
                [
                    f"{len(near)} of {len(values)} conditions start within 0.05 nats of ln {results.vocabulary} with"
                    f" every seed{_first(results, near)}."
                ]
                if len(values) > 1
                else []
            ),
        ],
        figures=(figure,),
        tables=(table,),
        made=made(
            "The untrained models, read on the full training split; with BatchNorm under calibrated statistics, "
            "since running ones are not estimated before the first step.",
            "losses, metrics",
        ),
    )


def _first(results: Results, near: list[str]) -> str:
    """The first condition of the study file that starts at ln V while its parent does not, with its changes."""
    c = next((c for c in results.conditions if c.name in near and c.parent is not None and c.parent not in near), None)
    return "" if c is None else f"; the first repair that does is **{c.title}** ({'; '.join(c.changes)})"
