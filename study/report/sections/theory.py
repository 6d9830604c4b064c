"""The section that compares theory with measurement at every start, in standard errors of the measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn
from scipy import stats

from study.analysis.estimate import holm
from study.analysis.predictions import predictions
from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableCell, TableColumn, Value
from study.report.sections.common import distinct_trainings, interval, made, name_cell, tidy
from study.report.sections.registry import Content, section
from study.spec.records import Condition

RESOLUTION = 2.0**-24  # the relative resolution of float32; seeds show no smaller difference


@dataclass(frozen=True)
class Compared:
    """One prediction beside its measurement."""

    condition: Condition
    metric: str
    layer: int
    predicted: float
    measured: float
    errors: float  # standard errors by which the mean over seeds exceeds the prediction; NaN where there are none
    n: int
    exact: bool  # seeds differ by no more than rounding

    @property
    def p(self) -> float:
        """The two-sided p value of a t test over seeds, or NaN where there is none."""
        return math.nan if self.exact else float(2 * stats.t.sf(abs(self.errors), self.n - 1))


def beside_theory(condition: Condition, metric: str, layer: int, predicted: float, values: pd.Series) -> Compared:
    """Compare a prediction with one value per seed: the difference in standard errors of the mean.

    Theory averages squares, so the square of a std is compared with the predicted one. A value that no seed changes by
    more than the rounding of float32 has no standard error; its rounding is used instead.
    """
    x, expected = values.to_numpy(float), predicted
    if metric.endswith("_std"):
        x, expected = x**2, predicted**2
    n, gap, rounding = len(x), float(x.mean()) - expected, RESOLUTION * abs(expected)
    exact = n > 1 and bool(np.ptp(x) <= 4 * rounding)
    if n < 2:
        errors = math.nan
    elif error := rounding if exact else float(x.std(ddof=1)) / math.sqrt(n):
        errors = gap / error
    else:
        errors = math.copysign(math.inf, gap) if gap else 0.0
    return Compared(condition, metric, layer, predicted, float(values.mean()), errors, n, exact)


def _measured(results: Results, condition: Condition, metric: str, layer: int) -> pd.Series:
    if metric == "initial_loss":
        return results.loss(condition, "train", 0)
    return results.metric(condition, metric, 0, None if metric == "logit_std" else layer)


def _quantity(results: Results, gap: Compared) -> str:
    """The quantity in the words of the page."""
    return "initial loss" if gap.metric == "initial_loss" else results.label(gap.metric).text


@section(
    "Theory",
    "Does theory predict the start?",
    needs="at least one condition",
)
def theory_section(results: Results) -> Content | None:
    """Show predictions and measurements side by side."""
    rows: list[dict[str, Value]] = []
    gaps: list[Compared] = []
    predicted: dict[str, dict[str, float]] = {"saturation_99": {}, "initial_loss": {}}
    for c in distinct_trainings(results.conditions):
        for r in predictions(results, c).itertuples():
            values = _measured(results, c, r.metric, r.layer)
            beyond = r.metric in ("logit_std", "initial_loss") and c.network.output.activation != "linear"
            if not len(values) or beyond:  # theory does not go beyond an activation of the output layer
                continue
            percent = 100.0 if r.metric.startswith("saturation") else 1.0
            if r.metric in predicted and r.layer in (1, len(c.network.layers)) and math.isfinite(r.predicted):
                predicted[r.metric].setdefault(c.name, percent * r.predicted)
            gap = beside_theory(c, r.metric, r.layer, r.predicted, values)
            known = math.isfinite(r.predicted)
            if known:
                gaps.append(gap)
            rows.append(
                {
                    "condition": name_cell(results, c),
                    "what": _quantity(results, gap),
                    "layer": r.layer,
                    "predicted": percent * r.predicted if known else "no prediction",
                    "error": percent * r.error if known else None,
                    "measured": interval(results.estimate(values * percent)),
                    "gap": (
                        None
                        if not known
                        else TableCell("equal" if equal(gap) else "no seed differs", sort=gap.errors)
                        if gap.exact
                        else gap.errors
                    ),
                    "method": r.method,
                }
            )
    if not rows:
        return None
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("what", "quantity"),
        TableColumn("layer", "layer"),
        TableColumn("predicted", "predicted", "", ".4f"),
        TableColumn("error", "error of the prediction", "", ".0e"),
        TableColumn("measured", "measured", "", ".4f"),
        TableColumn("gap", "difference", "standard errors", "+.1f"),
        TableColumn("method", "method"),
    ]
    table_ = Table("Prediction and measurement before the first step; shares in %", columns, rows)
    drawn = any(predicted.values())
    return Content(
        answer=_answer(results, gaps),
        figures=(
            (
                Figure(
                    _drawing(results, predicted),
                    "Measured seeds, mean and interval; the upright bars are the predictions.",
                    table_,
                ),
            )
            if drawn
            else ()
        ),
        tables=() if drawn else (table_,),
        made=made(
            "The pre-activation is a mixture of Gaussians: given the embedding its variance is |embedding|² σ² + σ_b²,"
            f" and |embedding|² varies from context to context (χ², heavier where a {results.noun} repeats). Behind the first"
            " layer: mean field. The error of a prediction is that of its integral, or the next term of its series. A"
            " difference is in standard errors of the mean over seeds, of squares where a std is predicted, and judged"
            " by t tests, Holm-adjusted over the table; equal: no seed differs, and prediction and measurement agree to"
            " the rounding of float32.",
            "metrics, losses",
        ),
    )


def equal(gap: Compared) -> bool:
    """Whether a value that is the same for all seeds equals the prediction, up to a few roundings."""
    return abs(gap.errors) <= 8


def _answer(results: Results, gaps: list[Compared]) -> list[str]:
    # conditions with the same first layer have the same numbers there, and these count once
    once = {(g.metric, g.layer, f"{g.predicted:.6g}", f"{g.measured:.6g}"): g for g in reversed(gaps)}
    gaps = list(reversed(once.values()))
    varying = [g for g in gaps if not g.exact and math.isfinite(g.errors)]
    if not varying:
        short = all(g.n < 2 for g in gaps)
        why = "With one seed" if short else "Where a seed is lost or none differs"
        return [f"{why} a measurement has no standard error, so the table shows both figures without a judgement."]
    n, m = varying[0].n, len(varying)
    inside = sum(g.p > 0.05 for g in varying)
    adjusted = holm([g.p for g in varying])
    far = [g for g, p in zip(varying, adjusted, strict=True) if p <= 0.05]
    text = [
        f"{inside} of {m} different predictions lie in the 95 % interval of the measured mean over {n} seeds, and "
        + (f"{len(far)} differ from it" if far else "none differs from it")
        + f" after Holm over {m}. What several conditions have in common counts once, and still these are not {m}"
        " independent tests: all conditions share their seeds' draws."
    ]
    exact = [g for g in gaps if g.exact]
    if exact:
        text.append(
            f"{sum(map(equal, exact))} of {len(exact)} that do not depend on the seed come out to the rounding of"
            " float32."
        )
    largest = max(varying, key=lambda g: abs(g.errors))
    shown = sorted(far, key=lambda g: g.p)[:4] or [largest]
    listed = "; ".join(
        f"{_quantity(results, g)} of **{g.condition.title}**, layer {g.layer}: {g.errors:+.1f}" for g in shown
    )
    text.append(
        f"{'The largest differences' if len(shown) > 1 else 'The largest difference'} in standard errors: {listed}."
    )
    tails = [
        g
        for g in varying
        if g.metric == "saturation_99"
        and g.layer == 1
        and g.condition.network.hidden[0].norm == "batch"
        and g.errors > 2
    ]
    if tails:
        g = tails[0]
        text.append(
            "One prediction leaves something out: under BatchNorm theory takes a unit as Gaussian over the examples,"
            f" but a unit sees only {results.vocabulary} {results.noun}s in {g.condition.network.context} places:"
            f" standardised, its values have heavier tails ({100 * g.measured:.2f} % of **{g.condition.title}** beyond"
            f" 0.99, {100 * g.predicted:.2f} % predicted). Networks with an embedding of its own for every example,"
            " which `tests/analysis/test_theory.py` draws, have the predicted share to within the error of the draw."
        )
    text.append(
        f"The spread over seeds is not predicted: it depends on which examples share {results.noun}s and next {results.noun}s,"
        f" since all are read by the same weights. It is measured; from {n} seeds a spread is known to about ±"
        f" {100 / math.sqrt(2 * (n - 1)):.0f} %, and the t tests allow for that."
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
            plots.draw_strip(
                ax,
                frame,
                looks_of(results),
                results.titles,
                intervals=intervals,
                label=label,
                log=log,
                named=i == 0 or width <= plots.NARROW,
                names=names,
            )
            for name, value in values.items():
                ax.plot([value], [names.index(name)], "|", color=plots.INK, markersize=17, markeredgewidth=1.4)
        return fig

    return plots.draw("theory-strip", "Predicted and measured saturation and initial loss of every condition.", drawing)
