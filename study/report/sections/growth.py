"""The section on the growth of x @ w: the std against fan_in, and the initialisers that keep it."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis import theory
from study.analysis.results import Results
from study.measurement.probe import PROBES
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableColumn, Value
from study.report.sections.common import interval, made, span
from study.report.sections.registry import Content, section


@section(
    "Growth of x @ w",
    "How does the std of x @ w grow, and what keeps it?",
    needs="a probe in the study file",
)
def growth_section(results: Results) -> Content | None:
    """Show how the std of x @ w grows with fan_in."""
    t = results.tables["probe"]
    if not len(t):
        return None
    inits = list(dict.fromkeys(t["init"]))
    # initialisers come after the conditions, so that none looks like a condition
    looks = plots.palette([*looks_of(results), *inits])
    looks = {init: replace(looks[init], dash="") for init in inits}  # dashed lines are for theory
    frame = pd.DataFrame(
        {
            "condition": t["init"].astype(str),
            "seed": t["seed"].astype(int),
            "fan_in": t["fan_in"].astype(float),
            "std": t["std_y"].astype(float),
        }
    )
    fan_ins = sorted(set(frame["fan_in"]))
    ends = [fan_ins[0] / 1.6, *fan_ins, fan_ins[-1] * 1.6]  # beyond the data, where nothing hides the line
    guide = (ends, [math.sqrt(n) for n in ends], "√fan_in")

    def drawing(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 320, width)
        plots.loglog(ax, frame, looks, x="fan_in", y="std", guide=guide)
        ax.set(xlabel="fan_in", ylabel="std of the result")
        plots.key(fig, looks, {name: name for name in inits})
        return fig

    columns = [
        TableColumn("init", "what is done to w, and after"),
        TableColumn("fan_in", "fan_in"),
        TableColumn("std", "std of the result", "", ".4f"),
        TableColumn("expected", "theory", "", ".4f"),
    ]
    rows: list[dict[str, Value]] = []
    for init in inits:
        for fan_in in fan_ins:
            here = t[(t["init"] == init) & (t["fan_in"] == fan_in)]
            expected = theory.growth(PROBES[init][0], int(fan_in), PROBES[init][1])
            estimate = results.estimate(pd.Series(here["std_y"].to_numpy(float)))
            rows.append({"init": init, "fan_in": int(fan_in), "std": interval(estimate), "expected": expected})
    table = Table("Standard deviation of x @ w for standard normal x and w, mean over seeds", columns, rows)
    means = {init: list(frame[frame["condition"] == init].groupby("fan_in")["std"].mean()) for init in inits}
    raw, divided, *kept = inits
    return Content(
        answer=[
            f"A plain draw multiplies the std by √fan_in: {means[raw][0]:.2f} at fan_in {fan_ins[0]:g} (√{fan_ins[0]:g}"
            f" = {math.sqrt(fan_ins[0]):.2f}). Divided by √fan_in it stays at {span(means[divided], '.3f')}. "
            + "".join(f"{init}: {span(means[init], '.3f')}. " for init in kept)
            + f"Every number is a mean over seeds at one fan_in; the ranges run over fan_in from {fan_ins[0]:,g} to"
            f" {fan_ins[-1]:,g}."
        ],
        figures=(
            Figure(
                plots.draw(
                    "growth-loglog",
                    "Standard deviation of x @ w against fan_in on log axes, with the square root as reference.",
                    drawing,
                ),
                "Standard deviation against fan_in on log axes: every seed, and the mean over seeds as a line. Dashed,"
                " along the plain draw and beyond its ends: √fan_in.",
                table,
            ),
        ),
        made=made("Standard normal x and w are scaled by the same function as the models' weights.", "probe"),
    )
