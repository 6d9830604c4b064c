"""The section on the distributions of h, the pre-activations and the logits, at the start and at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

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
    made,
    name_cell,
    without_layers,
)
from study.report.sections.registry import Content, section
from study.spec.records import Condition


@section(
    "Distributions",
    "Where do the activations lie, at the start and at the end?",
    needs="histograms of the activations",
)
def distributions_section(results: Results) -> Content | None:
    """Show the distributions before and after training."""
    t = results.tables["histograms"]
    chosen = distinct_trainings(results.main)
    if not len(t) or not chosen:
        return None
    figures = [
        f for f in (_histograms(results, chosen, quantity) for quantity in ("h", "preact", "logits")) if f is not None
    ]
    tails = {c.name: _outer(t, c, 0) for c in chosen if c.network.activation == "tanh"}
    worst = max(tails, key=lambda name: tails[name], default="")
    return Content(
        answer=(
            [
                f"At the start {100 * tails[worst]:.0f}\u00a0% of the first layer's outputs of"
                f" **{results.titles[worst]}** lie in the outermost twentieth of the range on either side"
                + (
                    f"; of **{results.titles[min(tails, key=lambda n: tails[n])]}** it is"
                    f" {100 * min(tails.values()):.0f}\u00a0%"
                    if len(set(tails.values())) > 1
                    else ""
                )
                + ". The histograms pool all seeds."
            ]
            if tails
            else ["The histograms pool all seeds over the full training split."]
        )
        + (without_layers(results, chosen) if any(c.network.hidden for c in chosen) else []),
        figures=figures,
        made=made(
            "Fixed bins, streamed over the full training split and pooled over seeds; what lies outside the bins is in"
            " the table. With BatchNorm the pre-activation is shown as the activation sees it, under calibrated"
            " statistics.",
            "histograms",
        ),
    )


def _outer(t: pd.DataFrame, condition: Condition, step: int) -> float:
    rows = bins(t, condition, step, "h")
    edge = 0.9 - 1e-9  # edges are rounded: the bin above 0.9 begins at 0.8999999999999999
    return float(rows.loc[(rows["left"] >= edge) | (rows["right"] <= -edge), "share"].sum())


def _histograms(results: Results, chosen: Sequence[Condition], quantity: str) -> Figure | None:
    t = results.tables["histograms"]
    label = {"h": "h", "preact": "what the activation sees", "logits": "logit"}[quantity]
    able = [c for c in chosen if _drawable(bins(t, c, 0, quantity))]
    chosen = able[:8]
    if not chosen:
        return None
    moments = {
        c.name: {"start": bins(t, c, 0, quantity), "end": bins(t, c, c.schedule.steps, quantity)} for c in chosen
    }
    moments = {name: {when: rows for when, rows in found.items() if _drawable(rows)} for name, found in moments.items()}
    reach = {name: max(central(rows) for rows in found.values()) for name, found in moments.items()}
    off = {
        name: [f"{when}: {share} beyond" for when, rows in found.items() if (share := beyond(rows, reach[name]))]
        for name, found in moments.items()
    }

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(chosen), 3, 150 + 14 * max(map(len, off.values())), width)
        for ax, c in zip(axes, chosen, strict=True):
            for when, rows in moments[c.name].items():
                inner = _seen(rows, reach[c.name])
                inner = inner.assign(density=inner["density"] / inner["density"].max())
                if when == "start":
                    plots.histogram(ax, inner, looks_of(results)[c.name])
                else:
                    edges = np.append(inner["left"].to_numpy(float), float(inner["right"].iloc[-1]))
                    ax.stairs(inner["density"].to_numpy(float), edges, color=plots.INK, linewidth=1, baseline=None)
            plots.note_below(ax, *off[c.name])
            ax.set_title(plots.shorten(c.title, 24))
            ax.set(xlabel=label, xlim=(-reach[c.name], reach[c.name]), ylim=(0, 1.05), yticks=[])
            ax.spines["left"].set_visible(False)
        fig.supylabel("density / its peak", fontsize=12)
        return fig

    columns = [
        TableColumn("condition", "condition"),
        TableColumn("when", "when"),
        TableColumn("left", "from", "", ".4g"),
        TableColumn("right", "to", "", ".4g"),
        TableColumn("share", "share", "%", ".3f"),
    ]
    rows: list[dict[str, Value]] = [
        {"condition": name_cell(results, c), "when": when, "left": r.left, "right": r.right, "share": 100 * r.share}
        for c in chosen
        for when, step in (("start", 0), ("end", c.schedule.steps))
        for r in _coarse(bins(t, c, step, quantity)).itertuples()
    ]
    return Figure(
        plots.draw(
            f"distribution-{quantity}",
            f"Histograms of {label} for each condition, filled at the start, outlined at the"
            f" end.{first_of(chosen, able)}",
            drawing,
        ),
        f"Distribution of {label}"
        + ("" if quantity == "logits" else ", first layer")
        + ": filled at the start, outlined at the end of training, each scaled to its own peak, so shapes compare and"
        " heights do not. "
        + (
            "Every axis holds at least 99 % of both"
            if not any(off.values())
            else (
                "An axis holds 99 % of both where the bins reach that far; below each panel, what lies beyond it where"
                " that is more than 1 %"
            )
        )
        + ("." if len(set(reach.values())) == 1 else "; they differ in their ranges.")
        + first_of(chosen, able),
        Table(f"Distribution of {label}, in coarse bins", columns, rows),
    )


def _drawable(rows: pd.DataFrame) -> bool:
    """Whether there is a histogram whose bins are not all empty."""
    return bool(len(rows)) and bool(rows["share"].notna().all()) and bool((rows["density"] > 0).any())


def _seen(rows: pd.DataFrame, reach: float) -> pd.DataFrame:
    """The bins within ±reach, merged into at most 80.

    The fine bins around 0 are narrower than a line, and their noise would look like the peak.
    """
    inner = rows[rows["density"].notna() & (rows["right"] > -reach) & (rows["left"] < reach)].sort_values("left")
    fortieths = np.floor((inner["left"] + inner["right"]).to_numpy(float) / 2 / (reach / 40))
    merged = inner.groupby(fortieths).agg(left=("left", "first"), right=("right", "last"), share=("share", "sum"))
    return merged.assign(density=merged["share"] / (merged["right"] - merged["left"]))


def _coarse(rows: pd.DataFrame, most: int = 24) -> pd.DataFrame:
    """Merge neighbouring bins, so that a person can read the table."""
    rows = rows.sort_values("left")
    step = max(1, math.ceil(len(rows) / most))
    groups = np.arange(len(rows)) // step
    merged = rows.groupby(groups).agg(left=("left", "first"), right=("right", "last"), share=("share", "sum"))
    return merged[merged["share"] > 0]
