"""The gradient: what tanh lets through of it, its norm by parameter, and the size of the updates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

from study import plots
from study.page import Column, Figure, Section, Table, Value
from study.results import Results
from study.sections.common import bins, distinct, interval, made, name_cell
from study.sections.registry import section
from study.spec import Condition


@section("gradients", "The gradient", "gradients of the parameters")
def gradients(results: Results) -> Section | None:
    """What the gradient sees of each parameter, and how large the updates are."""
    chosen = distinct(results.main)
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
        plots.lines(ax, results.looks, frame, band, y="value", logx=True)
        plots.reference(ax, -3.0, "−3: rule of thumb", end="left")
        ax.set(xlabel="step (the first at 0.5)", ylabel="log₁₀ of update : data, W1")
        plots.key(fig, results.looks, results.titles, [c.name for c in chosen])
        return fig

    columns = [Column("condition", "condition"), Column("parameter", "parameter"), Column("norm", "gradient norm at the start", "", ".4g"),
               Column("end", "gradient norm at the end", "", ".4g"), Column("ratio", "log₁₀ update : data at the start", "", ".2f")]  # fmt: skip
    rows: list[dict[str, Value]] = []
    for c in chosen:
        here = t[(t["condition"] == c.name) & (t["step"] == 0) & (t["metric"] == "grad_norm")]
        for parameter in dict.fromkeys(here["parameter"]):
            ratio = results.metric(c, "update_ratio", 0, parameter=parameter)
            rows.append({
                "condition": name_cell(results, c), "parameter": parameter,
                "norm": interval(results.estimate(results.metric(c, "grad_norm", 0, parameter=parameter))),
                "end": interval(results.estimate(results.metric(c, "grad_norm", c.training.steps, parameter=parameter))),
                "ratio": interval(results.estimate(ratio)) if ratio.notna().all() else None,
            })  # fmt: skip
    table = Table(
        "Gradients of one minibatch, by parameter; no ratio where a parameter or its gradient is zero", columns, rows
    )
    passed = {c.name: results.estimate(results.metric(c, "gradient_pass", 0, 1)) for c in chosen}
    known = {name: e.mean for name, e in passed.items() if e is not None and not e.diverged}
    answer = ["Every condition has lost seeds; the table says how many."]
    if known:
        low, high = min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])
        answer = [
            f"At the start the first level's activation lets {known[low]:.2f} of the gradient through in **{results.titles[low]}**"
            + (f" and {known[high]:.2f} in **{results.titles[high]}**" if high != low else "")
            + " (mean local gradient; for tanh 1 − h²)."
        ]
    return Section(
        anchor="gradients",
        short="The gradient",
        question="What does the gradient see?",
        answer=answer,
        figures=[
            *([local] if (local := _local_gradient(results, chosen)) else []),
            Figure(
                plots.draw("update-ratio", "log10 of the ratio of update to data of W1 over the steps: every seed thin, the mean of each condition thick.", drawing),
                "How large an update of W1 is beside W1: every seed, their mean, and the band from smallest to largest. Dashed: 10⁻³, the lecture's rule of thumb.",
                table,
            ),
        ],
        made=made(results, "Gradients are those of the next minibatch of the cell's own stream, recomputed at the step.", "study/shard.py, study/metrics.py", "metrics, histograms"),
    )  # fmt: skip


REACH = 6.0  # pre-activations shown beside tanh; beyond, its gradient is below 0.00003


def _local_gradient(results: Results, chosen: Sequence[Condition]) -> Figure | None:
    """tanh, its local gradient 1 - h², and where the first level's pre-activations lie at the start."""
    t = results.tables["histograms"]
    having = [c for c in chosen if c.setup.hidden[0].activation == "tanh"]
    rows = {c.name: found.sort_values("left") for c in having if len(found := bins(t, c, 0, "preact"))}
    shown = [c for c in having if c.name in rows and rows[c.name]["share"].notna().all()][:6]
    if not shown:
        return None
    behind = [_passed(results, c, rows[c.name]) for c in shown]
    xs = np.linspace(-REACH, REACH, 121)

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(shown), 3, 170, width, sharey=True)
        for i, (ax, c) in enumerate(zip(axes, shown, strict=True)):
            inner = rows[c.name][rows[c.name]["density"].notna()]
            inner = inner[(inner["right"] > -REACH) & (inner["left"] < REACH)]
            if len(inner):
                scaled_ = inner.assign(density=inner["density"] / inner["density"].max())
                plots.histogram(ax, scaled_, results.looks[c.name])
            plots.curve(ax, list(xs), list(np.tanh(xs)), "tanh" if i == 0 else "")
            ax.plot(xs, 1 - np.tanh(xs) ** 2, color=plots.INK, linewidth=1.4)
            ax.set(xlim=(-REACH, REACH), ylim=(-1.1, 1.2), xlabel=f"{behind[i]['lost']:.0f} % where 1 − h² < 0.02")
            ax.set_title(plots.shorten(c.title, 24))
        return fig

    columns = [
        Column("condition", "condition"),
        Column("lost", "1 − h² below 0.02", "%", ".1f"),
        Column("between", "0.02 to 0.5", "%", ".1f"),
        Column("passed", "above 0.5", "%", ".1f"),
        Column("mean", "mean 1 − h²", "", ".3f"),
    ]
    return Figure(
        plots.draw(
            "local-gradient",
            "For each condition the curve of tanh, its local gradient 1 − h², and a histogram of the pre-activations at the start: "
            + "; ".join(
                f"{c.title}: {row['lost']:.0f} % where less than 0.02 passes"
                for c, row in zip(shown, behind, strict=True)
            )
            + ".",
            drawing,
        ),
        "Solid: 1 − h², what tanh lets through; dashed: tanh itself; filled: where the pre-activations lie at the start, scaled to their peak. "
        "What lies beside the hill of 1 − h² learns next to nothing; below each panel, how much that is.",
        Table(
            "Share of the pre-activations by what tanh lets through at the start, first level, from the bins of the histogram",
            columns,
            behind,
        ),
    )


def _passed(results: Results, condition: Condition, rows: pd.DataFrame) -> dict[str, Value]:
    """Share of the pre-activations by what tanh lets through, %, each bin counted at its middle."""
    middle = (rows["left"] + rows["right"]).to_numpy(float) / 2
    passed, share = 1 - np.tanh(middle) ** 2, 100 * rows["share"].to_numpy(float)
    return {
        "condition": name_cell(results, condition),
        "lost": float(share[passed < 0.02].sum()),
        "between": float(share[(passed >= 0.02) & (passed <= 0.5)].sum()),
        "passed": float(share[passed > 0.5].sum()),
        "mean": interval(results.estimate(results.metric(condition, "gradient_pass", 0, 1))),
    }
