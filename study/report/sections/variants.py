"""The section on the groups beside the ladder, compared at the step that all conditions have in common."""

from __future__ import annotations

from study.analysis.results import Results
from study.report.html.page import Figure, Table, TableColumn, Value, number
from study.report.sections.common import (
    Panel,
    by_condition,
    change_words,
    interval,
    made,
    minus,
    notebook_cell,
    strips,
)
from study.report.sections.registry import Content, section
from study.spec.records import Condition


@section(
    "Variants",
    "Why not zero? And does the exact scale matter?",
    needs="a second group of conditions, and a step at which all conditions were measured",
)
def variants_section(results: Results) -> Content | None:
    """Compare the groups beside the ladder at the step that all conditions have in common."""
    step = results.common
    if not step or len(results.spec.groups) < 2:
        return None
    values = by_condition(results, results.trained, lambda c: results.loss(c, "dev", step))
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
            "change": change_words(results, c),
            "initial": interval(results.estimate(results.loss(c, "train", 0))),
            **{split: interval(results.estimate(results.loss(c, split, step))) for split in ("train", "dev")},
            "learns": ", ".join(_moved(results, c)),
        }
        for c in results.trained
    ]
    table = Table(f"All conditions after {step:,} steps", columns, rows)
    others = [c for c in results.trained if c.group != results.main[0].group]
    still = [c for c in others if len(_moved(results, c)) < len(_parameters(results, c))]
    found = {c.name: results.estimate(results.loss(c, "dev", step)) for c in others}
    sound = {name: e for name, e in found.items() if e is not None and not e.diverged}
    answer = [f"All {len(results.trained)} conditions are compared after {step:,} steps, where every one was measured."]
    if sound:
        low, high = (pick(sound, key=lambda name: sound[name].mean) for pick in (min, max))
        titles = results.titles
        answer = [
            f"After {step:,} steps, where all {len(results.trained)} conditions were measured, **{titles[low]}** has"
            f" the lowest dev loss beside the ladder, {sound[low].text()}"
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
        strips(
            results,
            "variants-strip",
            f"Dev loss of every condition and seed after {step:,} steps.",
            [Panel(f"dev loss after {step:,} steps, nats", values, (entropy, f"{results.noun}s alone: {entropy:.3f}"))],
        ),
        f"Dev loss after {step:,} steps. Dashed: the entropy of the {results.noun}s of dev, below which a model that ignores"
        " its input cannot come.",
        table,
    )
    return Content(
        answer=answer,
        figures=(figure,),
        tables=(table,),
        made=made(
            f"The ladder is read at step {step:,} of its training, the variants at theirs; same seeds, same draws, same"
            " minibatches.",
            "losses, metrics",
        ),
    )


def _beside(results: Results, others: list[Condition], step: int) -> str:
    """Compare each condition beside the ladder with its parent at the same step, paired by seed.

    The text is empty without such pairs.
    """
    found = []
    for c in others:
        parent = next((p for p in results.trained if p.name == c.parent), None)
        if parent is None or c.schedule.first(step) != parent.schedule.first(step):
            continue
        both = minus(results, "dev", c, parent, step)
        if len(both) and both.notna().all():  # a mean without the diverged seeds would be too good
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
    """The parameters whose gradient is not zero before the first step, for at least one seed. NaN is not zero."""
    return [
        p
        for p in _parameters(results, condition)
        if not (results.metric(condition, "grad_norm", 0, parameter=p) == 0).all()
    ]
