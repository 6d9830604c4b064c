"""The section on gradients: the share that passes tanh, the norm by parameter, and the size of the updates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.estimate import Estimate
from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableColumn, Value
from study.report.sections.common import (
    beyond,
    bins,
    central,
    distinct_trainings,
    first_of,
    interval,
    made,
    mark_cuts,
    name_cell,
    scaled,
    told_cuts,
    within,
    without_layers,
)
from study.report.sections.registry import Content, section
from study.spec.records import Condition


@section(
    "The gradient",
    lambda results: _question(distinct_trainings(results.main)),
    needs="gradients of the parameters",
)
def gradients_section(results: Results) -> Content | None:
    """Show the share of the gradient that passes the activation, and the size of the updates."""
    chosen = distinct_trainings(results.main)
    t = results.tables["metrics"]
    frames = []
    for c in chosen:
        found = t[(t["condition"] == c.name) & (t["metric"] == "update_ratio") & (t["parameter"] == "W1")]
        frames.append(found[["condition", "seed", "step", "value"]])
    frame = pd.concat(frames) if frames else pd.DataFrame()
    frame = frame[frame["value"].notna()] if len(frame) else frame
    if not len(frame):
        return None
    band = frame.groupby(["condition", "step"], sort=False)["value"].agg(["mean", "min", "max"]).reset_index()
    band = band.rename(columns={"min": "low", "max": "high"})
    frame, band = (f.assign(step=f["step"].astype(float).replace(0, 0.5)) for f in (frame, band))

    def drawing(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 300, width)
        plots.draw_lines(ax, looks_of(results), frame, band, y="value", logx=True)
        plots.reference(ax, -3.0, "−3: rule of thumb", end="left")
        mark_cuts(ax, chosen, end="left")
        ax.set(xlabel="step (step 0 drawn at 0.5)", ylabel="log₁₀ of update : data, W1")
        plots.key(fig, looks_of(results), results.titles, [c.name for c in chosen])
        return fig

    columns = [
        TableColumn("condition", "condition"),
        TableColumn("parameter", "parameter"),
        TableColumn("norm", "gradient norm at the start", "", ".4g"),
        TableColumn("end", "gradient norm at the end", "", ".4g"),
        TableColumn("ratio", "log₁₀ update : data at the start", "", ".2f"),
    ]
    rows: list[dict[str, Value]] = []
    for c in chosen:
        here = t[(t["condition"] == c.name) & (t["step"] == 0) & (t["metric"] == "grad_norm")]
        for parameter in dict.fromkeys(here["parameter"]):
            ratio = results.metric(c, "update_ratio", 0, parameter=parameter)
            rows.append(
                {
                    "condition": name_cell(results, c),
                    "parameter": parameter,
                    "norm": interval(results.estimate(results.metric(c, "grad_norm", 0, parameter=parameter))),
                    "end": interval(
                        results.estimate(results.metric(c, "grad_norm", c.schedule.steps, parameter=parameter))
                    ),
                    "ratio": interval(results.estimate(ratio)) if ratio.notna().all() else None,
                }
            )
    table = Table(
        "Gradients of one minibatch, by parameter; no ratio where a parameter or its gradient is zero", columns, rows
    )
    layered = [c for c in chosen if c.network.hidden]
    passed = {c.name: results.estimate(results.metric(c, "gradient_pass", 0, 1)) for c in layered}
    known = {name: e.mean for name, e in passed.items() if e is not None and not e.diverged}
    answer = ["Every condition has lost seeds; the table says how many."]
    if not layered:
        answer = ["There is no activation that a gradient would have to pass; the table has the gradient's size."]
    if known:
        low, high = min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])
        answer = [
            f"At the start {_passing(layered)} lets {100 * known[low]:.0f}\u00a0% of the gradient through in"
            f" **{results.titles[low]}**"
            + (f" and {100 * known[high]:.0f}\u00a0% in **{results.titles[high]}**" if high != low else "")
            + ": the mean over the first layer's outputs of the local"
            f" gradient{', 1 − h²' if _only_tanh(layered) else ''}."
        ]
    return Content(
        answer=[*answer, *(without_layers(results, chosen) if layered else [])],
        figures=[
            *([local] if (local := _local_gradient(results, chosen)) else []),
            Figure(
                plots.draw(
                    "update-ratio",
                    "log10 of the ratio of update to data of W1 over the steps: every seed thin, the mean of each"
                    " condition thick.",
                    drawing,
                ),
                "How large an update of W1 is beside W1: every seed, their mean, and the band from smallest to largest;"
                " lines join the steps that were measured. Dashed: 10⁻³, the lecture's rule of thumb."
                + told_cuts(chosen),
                table,
            ),
        ],
        made=made(
            "Gradients are those of the next minibatch of the cell's own stream, recomputed at the step.",
            "metrics, histograms",
        ),
    )


def _question(chosen: Sequence[Condition]) -> str:
    layered = [c for c in chosen if c.network.hidden]
    return f"How much gradient passes {_passing(layered)}?" if layered else "How large is the gradient?"


def _only_tanh(chosen: Sequence[Condition]) -> bool:
    return all(c.network.activation == "tanh" for c in chosen)


def _passing(chosen: Sequence[Condition]) -> str:
    """The share of the gradient that passes the first layer's activation, in words."""
    return "tanh" if _only_tanh(chosen) else "the activation"


REACH = 10.0  # the largest reach beside tanh, so that the peak of 1 - h² (±2.6) is wide enough to be seen
HALF = math.atanh(math.sqrt(0.5))  # where one half of a gradient passes tanh


def _local_gradient(results: Results, chosen: Sequence[Condition]) -> Figure | None:
    """Draw tanh, its local gradient 1 - h², and the first layer's pre-activations at the start."""
    t = results.tables["histograms"]
    having = [c for c in chosen if c.network.activation == "tanh"]
    rows = {c.name: found.sort_values("left") for c in having if len(found := bins(t, c, 0, "preact"))}
    able = [c for c in having if c.name in rows and rows[c.name]["share"].notna().all()]
    shown = able[:6]
    if not shown:
        return None
    behind = [_passed(results, c, rows[c.name]) for c in shown]
    reach = min(REACH, max(central(rows[c.name]) for c in shown))
    xs = np.linspace(-reach, reach, 121)
    lost = {c.name: "–" if (e := _lost(results, c)) is None else f"{e.mean:.0f} %" for c in shown}

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(shown), 3, 190, width, sharey=True)
        for i, (ax, c) in enumerate(zip(axes, shown, strict=True)):
            inner = rows[c.name][rows[c.name]["density"].notna()]
            inner = inner[(inner["right"] > -reach) & (inner["left"] < reach)]
            if len(inner):
                scaled_ = inner.assign(density=inner["density"] / inner["density"].max())
                plots.histogram(ax, scaled_, looks_of(results)[c.name])
            plots.draw_curve(ax, list(xs), list(np.tanh(xs)), "tanh" if i == 0 else "")
            ax.plot(xs, 1 - np.tanh(xs) ** 2, color=plots.INK, linewidth=1.4)
            ax.set(xlim=(-reach, reach), ylim=(-1.1, 1.2), xlabel="what tanh sees")
            off = beyond(rows[c.name], reach)
            plots.note_below(ax, f"{lost[c.name]} with |h| > 0.99", *([f"{off} beyond ±{reach:g}"] if off else []))
            ax.set_title(plots.shorten(c.title, 24))
        fig.supylabel("tanh, 1 − h²", fontsize=12)
        return fig

    columns = [
        TableColumn("condition", "condition"),
        TableColumn("lost", "|h| > 0.99, so 1 − h² below 0.0199", "%", ".1f"),
        TableColumn("between", "1 − h² from there to 0.5", "%", ".1f"),
        TableColumn("passed", "1 − h² above 0.5", "%", ".1f"),
        TableColumn("mean", "mean 1 − h²", "", ".3f"),
    ]
    return Figure(
        plots.draw(
            "local-gradient",
            "For each condition the curve of tanh, its local gradient 1 − h², and a histogram of the pre-activations at"
            " the start: "
            + "; ".join(f"{c.title}: {lost[c.name]} with |h| above 0.99, where less than 0.02 passes" for c in shown)
            + f".{first_of(shown, able)}",
            drawing,
        ),
        "Solid: 1 − h², what tanh lets through; dashed: tanh itself; filled: where the pre-activations lie at the"
        " start, scaled to their peak. What lies beside the hill of 1 − h² learns next to nothing; below each panel,"
        " the share of outputs with |h| > 0.99, where 1 − h² is below 0.02"
        + (
            ", and what lies beyond the axis where that is more than 1 %."
            if any(beyond(rows[c.name], reach) for c in shown)
            else "."
        )
        + first_of(shown, able),
        Table(
            "Share of the first layer's outputs by what tanh lets through at the start; above 0.5: from the bins of the"
            " histogram, within a bin by its width",
            columns,
            behind,
        ),
    )


def _lost(results: Results, condition: Condition) -> Estimate | None:
    """The share of the first layer's outputs with |h| > 0.99 at the start, in percent."""
    return results.estimate(scaled(results.metric(condition, "saturation_99", 0, 1)))


def _passed(results: Results, condition: Condition, rows: pd.DataFrame) -> dict[str, Value]:
    """The shares of the outputs by the gradient that passes tanh, in percent.

    The share with |h| > 0.99 is the measured one, the share that passes more than one half comes from the bins.
    """
    lost, passed = _lost(results, condition), 100 * within(rows, HALF)
    return {
        "condition": name_cell(results, condition),
        "lost": interval(lost),
        "between": None if lost is None or math.isnan(lost.mean) else 100 - lost.mean - passed,
        "passed": passed,
        "mean": interval(results.estimate(results.metric(condition, "gradient_pass", 0, 1))),
    }
