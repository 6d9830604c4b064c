"""How the study begins and what comes of it: the ladder, the first loss, the variants."""

from __future__ import annotations

import pandas as pd

from study.analysis.results import Results
from study.report.html.page import Figure, Section, Table, TableCell, TableColumn, Value, number
from study.report.sections.common import (
    Panel,
    by_condition,
    interval,
    made,
    minus,
    name_cell,
    notebook_cell,
    scaled,
    seed_table,
    strips,
)
from study.report.sections.registry import section
from study.spec.records import Condition


def _final(results: Results, condition: Condition, split: str) -> pd.Series:
    return results.loss(condition, split, condition.schedule.steps)


@section("ladder", "The ladder", "at least one condition")
def ladder(results: Results) -> Section | None:
    """What each condition changes, and what it gains."""
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
        tanh = c.network.hidden[0].activation == "tanh"
        rows.append(
            {
                "condition": notebook_cell(results, c),
                "change": _change(results, c),
                "initial": interval(results.estimate(results.loss(c, "train", 0))),
                "saturation": interval(results.estimate(scaled(results.metric(c, "saturation_99", 0, 1))))
                if tanh
                else None,
                "logits": _range(results, c),
                **{split: interval(results.estimate(_final(results, c, split))) for split in ("train", "dev", "test")},
            }
        )
    table = Table("Every condition of the ladder: mean over seeds with its 95 % interval, and n", columns, rows)
    values = by_condition(results, conditions, lambda c: _final(results, c, "dev"))
    figure = Figure(
        strips(results, "ladder-dev", "Final dev loss of every condition, one dot per seed, with mean and 95 % interval.",
               [Panel("final dev loss, nats", values)]),
        "Final dev loss: a dot per seed, mean and 95 % interval above.",
        table,
    )  # fmt: skip
    return Section(
        anchor="ladder",
        short="The ladder",
        question="What does each repair change, and what does it gain?",
        answer=_ladder_answer(results, conditions),
        figures=(figure,),
        tables=(table,),
        made=made(
            "Losses are those of the full splits after the last step, read with the statistics that the condition names. "
            "The intervals are over seeds.",
            "study/measurement/evaluate.py",
            "losses, metrics, conditions",
        ),
    )


def _range(results: Results, condition: Condition) -> Value:
    """Smallest and largest logit over the training split before the first step, means over seeds."""
    low, high = (results.estimate(results.metric(condition, f"logit_{end}", 0)) for end in ("min", "max"))
    if low is None or high is None:
        return None
    return TableCell(
        f"{number(low.mean, '.1f')} to {number(high.mean, '.1f')}", sort=f"{low.mean:.6g} to {high.mean:.6g}"
    )


def _change(results: Results, condition: Condition) -> str:
    start = "" if condition.parent is None else f"from {results.titles.get(condition.parent, condition.parent)}: "
    return start + "; ".join(condition.changes)


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


@section("initial-loss", "The first loss", "at least one condition")
def initial_loss_section(results: Results) -> Section | None:
    """Whether each condition starts at ln V."""
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
        strips(results, "initial-loss-strip", f"Initial loss of every condition and seed against ln V = {uniform:.3f}.",
               [Panel("initial loss, nats" + (" (log axis)" if log else ""), values, reference, log)]),
        f"Loss before the first step. Dashed: ln {results.vocabulary}, what a uniform guess costs.",
        seed_table(results, "Initial loss of every seed", values, TableColumn("loss", "initial loss", "nats", ".6f")),
    )  # fmt: skip
    return Section(
        anchor="initial-loss",
        short="The first loss",
        question="Why is the first loss wrong, and what makes it right?",
        answer=[
            f"A model that knows nothing should spread its guess over {results.vocabulary} characters and pay ln {results.vocabulary} = "
            f"{uniform:.4f} nats. **{results.titles[worst]}** starts at {estimates[worst].text('.2f')}"  # type: ignore[union-attr]
            + (": its logits are large, so it is confident, and wrong." if worst in known and worst not in near else "."),
            *([f"{len(near)} of {len(values)} conditions start within 0.05 nats of ln {results.vocabulary} with every seed{_first(results, near)}."] if len(values) > 1 else []),
        ],
        figures=(figure,),
        tables=(table,),
        made=made("The untrained models, read on the full training split; with BatchNorm under calibrated statistics, "
                  "since running ones are not estimated before the first step.", "", "losses, metrics"),
    )  # fmt: skip


def _first(results: Results, near: list[str]) -> str:
    """The first condition of the study file that starts right although its parent does not, and what it changes."""
    c = next((c for c in results.conditions if c.name in near and c.parent is not None and c.parent not in near), None)
    return "" if c is None else f"; the first repair that does is **{c.title}** ({'; '.join(c.changes)})"


@section("variants", "Variants", "a second group of conditions, and a step at which all conditions were measured")
def variants(results: Results) -> Section | None:
    """The other groups beside the ladder, at the step that all have in common."""
    step = results.common
    if step is None or len(results.spec.groups) < 2:
        return None
    values = by_condition(results, results.conditions, lambda c: results.loss(c, "dev", step))
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("change", "change"),
        TableColumn("initial", "initial loss", "nats", ".4f"),
        *(TableColumn(split, f"{split} loss at {step:,}", "nats", ".4f") for split in ("train", "dev")),
        TableColumn("learns", "parameters with a gradient at step 0"),
    ]
    rows: list[dict[str, Value]] = [
        {
            "condition": notebook_cell(results, c),
            "change": _change(results, c),
            "initial": interval(results.estimate(results.loss(c, "train", 0))),
            **{split: interval(results.estimate(results.loss(c, split, step))) for split in ("train", "dev")},
            "learns": ", ".join(_moved(results, c)),
        }
        for c in results.conditions
    ]
    table = Table(f"All conditions after {step:,} steps", columns, rows)
    others = [c for c in results.conditions if c.group != results.main[0].group]
    still = [c for c in others if len(_moved(results, c)) < len(_parameters(results, c))]
    found = {c.name: results.estimate(results.loss(c, "dev", step)) for c in others}
    sound = {name: e for name, e in found.items() if e is not None and not e.diverged}
    answer = [
        f"All {len(results.conditions)} conditions are compared after {step:,} steps, where every one was measured."
    ]
    if sound:
        low, high = (pick(sound, key=lambda name: sound[name].mean) for pick in (min, max))
        titles = results.titles
        answer = [
            f"After {step:,} steps, where all {len(results.conditions)} conditions were measured, **{titles[low]}** has the lowest dev loss beside the ladder, "
            f"{sound[low].text()}"
            + (f", and **{titles[high]}** the highest, {sound[high].text()}." if high != low else ".")
        ]
    if still:
        answer.append(
            "Zeros close the way for gradients, at first or for good: "
            + "; ".join(f"{c.title} moves only {', '.join(_moved(results, c)) or 'nothing'} at step 0" for c in still)
            + "."
        )
    text = _beside(results, others, step)
    if text:
        answer.append(text)
    entropy = results.facts["data"]["character_entropy"]["dev"]
    figure = Figure(
        strips(results, "variants-strip", f"Dev loss of every condition and seed after {step:,} steps.",
               [Panel(f"dev loss after {step:,} steps, nats", values, (entropy, f"characters alone: {entropy:.3f}"))]),
        f"Dev loss after {step:,} steps. Dashed: the entropy of the characters of dev, below which a model that ignores its input cannot come.",
        table,
    )  # fmt: skip
    return Section(
        anchor="variants",
        short="Variants",
        question="Why not zero? And does the exact scale matter?",
        answer=answer,
        figures=(figure,),
        tables=(table,),
        made=made(f"The ladder is read at step {step:,} of its training, the variants at theirs; same seeds, same draws, same minibatches.",
                  "", "losses, metrics"),
    )  # fmt: skip


def _beside(results: Results, others: list[Condition], step: int) -> str:
    """Each condition beside the ladder against its parent at the same step, paired by seed; nothing without such pairs."""
    found = []
    for c in others:
        parent = next((p for p in results.conditions if p.name == c.parent), None)
        if parent is None or c.schedule.first(step) != parent.schedule.first(step):
            continue
        both = minus(results, "dev", c, parent, step)
        if len(both) and both.notna().all():  # a mean over survivors would flatter
            found.append(f"{c.title} {number(float(both.mean()), '+.3f')} ({parent.title})")
    return (
        f"On dev each against the condition that it changes, mean over paired seeds, nats: {'; '.join(found)}."
        if found
        else ""
    )


def _parameters(results: Results, condition: Condition) -> list[str]:
    t = results.tables["metrics"]
    rows = t[(t["condition"] == condition.name) & (t["step"] == 0) & (t["metric"] == "grad_norm")]
    return list(dict.fromkeys(rows["parameter"]))


def _moved(results: Results, condition: Condition) -> list[str]:
    """Parameters whose gradient is not zero before the first step, for any seed; a NaN is no zero."""
    return [
        p
        for p in _parameters(results, condition)
        if not (results.metric(condition, "grad_norm", 0, parameter=p) == 0).all()
    ]
