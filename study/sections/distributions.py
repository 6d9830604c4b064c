"""Distributions: where h, the pre-activations and the logits lie, at the start and at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

from study import plots
from study.page import Column, Figure, Section, Table, Value
from study.results import Results
from study.sections.common import bins, distinct, made, name_cell
from study.sections.registry import section
from study.spec import Condition


@section("distributions", "Distributions", "histograms of the activations")
def distributions(results: Results) -> Section | None:
    """Where the outputs lie, before and after training."""
    t = results.tables["histograms"]
    chosen = distinct(results.main)
    if not len(t) or not chosen:
        return None
    figures = [
        f for f in (_histograms(results, chosen, quantity) for quantity in ("h", "preact", "logits")) if f is not None
    ]
    first = chosen[0]
    tails = {c.name: _outer(t, c, 0) for c in chosen}
    worst = max(tails, key=lambda name: tails[name])
    return Section(
        anchor="distributions",
        short="Distributions",
        question="Where do the activations lie, at the start and at the end?",
        answer=[
            f"At the start {100 * tails[worst]:.0f}\u00a0% of the first level's outputs of **{results.titles[worst]}** lie in the outermost twentieth of "
            "the range on either side"
            + (f"; of **{results.titles[min(tails, key=lambda n: tails[n])]}** it is {100 * min(tails.values()):.0f}\u00a0%" if len(set(tails.values())) > 1 else "")
            + ". The histograms pool all seeds."
        ] if first.setup.hidden[0].activation == "tanh" else ["The histograms pool all seeds over the full training split."],
        figures=figures,
        made=made(results, "Fixed bins, streamed over the full training split and pooled over seeds; what lies outside the bins is in the table. "
                  "With BatchNorm the pre-activation is shown as the activation sees it, under calibrated statistics.",
                  "study/metrics.py", "histograms"),
    )  # fmt: skip


def _outer(t: pd.DataFrame, condition: Condition, step: int) -> float:
    rows = bins(t, condition, step, "h")
    edge = 0.9 - 1e-9  # edges are rounded: the bin above 0.9 begins at 0.8999999999999999
    return float(rows.loc[(rows["left"] >= edge) | (rows["right"] <= -edge), "share"].sum())


def _histograms(results: Results, chosen: Sequence[Condition], quantity: str) -> Figure | None:
    t = results.tables["histograms"]
    label = {"h": "h", "preact": "what the activation sees", "logits": "logit"}[quantity]
    chosen = [c for c in chosen if len(bins(t, c, 0, quantity)) and bins(t, c, 0, quantity)["share"].notna().all()][:8]
    if not chosen:
        return None

    def drawing(width: int) -> Drawn:
        fig, axes = plots.new(len(chosen), 3, 150, width)
        for ax, c in zip(axes, chosen, strict=True):
            look = results.looks[c.name]
            inner = _visible(bins(t, c, 0, quantity))
            plots.histogram(ax, inner, look)
            end = bins(t, c, c.training.steps, quantity)
            end = end[end["left"].isin(inner["left"]) & end["density"].notna()]
            if len(end):
                edges = np.append(end["left"].to_numpy(float), float(end["right"].iloc[-1]))
                ax.stairs(end["density"].to_numpy(float), edges, color=plots.INK, linewidth=1, baseline=None)
            ax.set_title(plots.shorten(c.title, 24))
            ax.set_xlabel(label)
            ax.set_yticks([])
            ax.spines["left"].set_visible(False)
        return fig

    columns = [
        Column("condition", "condition"), Column("when", "when"), Column("left", "from", "", ".4g"), Column("right", "to", "", ".4g"),
        Column("share", "share", "%", ".3f"),
    ]  # fmt: skip
    rows: list[dict[str, Value]] = [
        {"condition": name_cell(results, c), "when": when, "left": r.left, "right": r.right, "share": 100 * r.share}
        for c in chosen
        for when, step in (("start", 0), ("end", c.training.steps))
        for r in _coarse(bins(t, c, step, quantity)).itertuples()
    ]
    return Figure(
        plots.draw(
            f"distribution-{quantity}",
            f"Histograms of {label} for each condition, filled at the start, outlined at the end.",
            drawing,
        ),
        f"Distribution of {label}"
        + ("" if quantity == "logits" else ", first level")
        + ": filled at the start, outlined at the end of training.",
        Table(f"Distribution of {label}, in coarse bins", columns, rows),
    )


def _visible(rows: pd.DataFrame) -> pd.DataFrame:
    """The bins with an end, cut to where the mass is, symmetrically."""
    inner = rows[rows["density"].notna()].sort_values("left")
    filled = inner[inner["share"] > 1e-4]
    if not len(filled):
        return inner
    reach = max(abs(float(filled["left"].min())), abs(float(filled["right"].max())))
    return inner[(inner["left"] >= -reach) & (inner["right"] <= reach)]


def _coarse(rows: pd.DataFrame, most: int = 24) -> pd.DataFrame:
    """Neighbouring bins merged: a table that a person reads."""
    rows = rows.sort_values("left")
    step = max(1, math.ceil(len(rows) / most))
    groups = np.arange(len(rows)) // step
    merged = rows.groupby(groups).agg(left=("left", "first"), right=("right", "last"), share=("share", "sum"))
    return merged[merged["share"] > 0]
