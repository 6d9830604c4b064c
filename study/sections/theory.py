"""Prediction beside measurement: what theory says of every start, in units of the measurement's own error."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure as Drawn

from study import plots
from study.labels import LABELS
from study.page import Column, Figure, Section, Table, Value
from study.results import Results
from study.sections.common import distinct, interval, made, name_cell, tidy
from study.sections.registry import section
from study.spec import Condition
from study.theory import predict

TOLD = 4.0  # standard errors beyond which a difference is called one


def _measured(results: Results, condition: Condition, metric: str, layer: int) -> pd.Series:
    if metric == "initial_loss":
        return results.loss(condition, "train", 0)
    return results.metric(condition, metric, 0, None if metric == "logit_std" else layer)


def _patterns(results: Results, condition: Condition) -> dict[tuple[int, ...], float]:
    stored = results.facts["data"]["repeats"][str(condition.setup.context)]
    return {tuple(int(n) for n in key.split(" ")): share for key, share in stored.items()}


@section("theory", "Theory", "at least one condition")
def theory(results: Results) -> Section | None:
    """Predicted and measured, side by side."""
    rows: list[dict[str, Value]] = []
    gaps = []
    predicted: dict[str, dict[str, float]] = {"saturation_99": {}, "initial_loss": {}}
    for c in distinct(results.conditions):
        table = predict(c.setup, results.vocabulary, _patterns(results, c))
        for r in table.itertuples():
            values = _measured(results, c, r.metric, r.layer)
            estimate = results.estimate(values)
            if estimate is None:
                continue
            percent = 100.0 if r.metric.startswith("saturation") else 1.0
            error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
            # what is fixed by construction differs between seeds by rounding alone: no error to measure by
            gap = (estimate.mean - r.predicted) / error if error > 1e-6 * abs(estimate.mean) else math.nan
            if r.metric in predicted and r.layer in (1, len(c.setup.layers)) and math.isfinite(r.predicted):
                predicted[r.metric].setdefault(c.name, percent * r.predicted)
            if math.isfinite(gap):
                gaps.append((abs(gap), gap, c, r.metric, r.layer))
            label = LABELS.get("loss" if r.metric == "initial_loss" else r.metric)
            rows.append(
                {
                    "condition": name_cell(results, c),
                    "what": "initial loss" if r.metric == "initial_loss" else label.text if label else r.metric,
                    "layer": r.layer,
                    "predicted": percent * r.predicted,
                    "measured": interval(results.estimate(values * percent)),
                    "gap": gap,
                    "method": r.method,
                }
            )
    if not rows:
        return None
    columns = [
        Column("condition", "condition"), Column("what", "quantity"), Column("layer", "level"), Column("predicted", "predicted", "", ".4f"),
        Column("measured", "measured", "", ".4f"), Column("gap", "difference", "standard errors", "+.1f"), Column("method", "method"),
    ]  # fmt: skip
    table_ = Table("Prediction and measurement before the first step; shares in %", columns, rows)
    return Section(
        anchor="theory",
        short="Theory",
        question="Does theory predict the start?",
        answer=_answer(results, gaps),
        figures=(Figure(_drawing(results, predicted), "Measured seeds, mean and interval; the upright bars are the predictions.", table_),),
        made=made(results, "The pre-activation is a mixture of Gaussians: given the embedding its variance is |embedding|² σ² + σ_b², and |embedding|² varies "
                  "from context to context (χ², heavier where a character repeats). Behind the first level: mean field. The units of the difference are "
                  "standard errors of the mean over seeds.", "study/theory.py, study/sections/theory.py", "metrics, losses"),
    )  # fmt: skip


def _answer(results: Results, gaps: list[tuple[float, float, Condition, str, int]]) -> list[str]:
    if not gaps:
        return [
            "With one seed a measurement has no standard error, so the table shows both figures without a judgement."
        ]
    near = sum(size <= 2 for size, *_ in gaps)
    text = [
        f"{near} of {len(gaps)} predictions lie within two standard errors of the measured mean over {len(results.spec.seeds)} seeds."
    ]
    far = sorted((g for g in gaps if g[0] > TOLD), key=lambda g: -g[0])
    if far:
        shown = "; ".join(f"{metric} of {c.title}, level {layer}: {gap:+.1f}" for _, gap, c, metric, layer in far[:4])
        more = f", and {len(far) - 4} more" if len(far) > 4 else ""
        text.append(
            f"{len(far)} differ by more than {TOLD:g} standard errors ({shown}{more}). Where BatchNorm is involved theory takes every unit as exactly "
            "Gaussian over the examples, while a unit sees no more than the few embeddings there are: its values are lumpier, and its tails heavier. "
            "A share or a std over examples of one draw of C also varies less than the seeds' mean is near its expectation: few characters carry most examples."
        )
    return text


def _drawing(results: Results, predicted: dict[str, dict[str, float]]) -> plots.Drawing:
    shown = {metric: values for metric, values in predicted.items() if values}
    names = [c.name for c in results.conditions if any(c.name in values for values in shown.values())]

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(shown), len(shown), plots.strip_height(len(names), width), width)
        for i, (ax, (metric, values)) in enumerate(zip(axes, shown.items(), strict=True)):
            measured = {}
            for name in values:
                found = _measured(results, results.spec.condition(name), metric, 1)
                measured[name] = found * (100.0 if metric == "saturation_99" else 1.0)
            frame, intervals = tidy(results, measured)
            log = metric == "initial_loss" and max(values.values()) > 3 * results.uniform
            label = (
                "|h| > 0.99 at the start, %"
                if metric == "saturation_99"
                else "initial loss, nats" + (" (log axis)" if log else "")
            )
            plots.strip(ax, frame, results.looks, results.titles, intervals=intervals, label=label, log=log,
                        named=i == 0 or width <= plots.NARROW, names=names)  # fmt: skip
            for name, value in values.items():
                ax.plot([value], [names.index(name)], "|", color=plots.INK, markersize=17, markeredgewidth=1.4)
        return fig

    return plots.draw("theory-strip", "Predicted and measured saturation and initial loss of every condition.", drawing)
