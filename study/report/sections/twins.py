"""The section on twins: whether a training repeats when its start differs in the last bit of one weight."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableColumn, Value, number
from study.report.sections.common import made, name_cell, pair_count, signed, span
from study.report.sections.registry import Content, section


@section(
    "Reproducibility",
    "Does a training repeat when its start differs in the last bit?",
    needs="twins in the study file",
)
def twins_section(results: Results) -> Content | None:
    """Compare each training with its twin, whose start differs in the last bit of one weight."""
    t = results.tables["twins"]
    t = t[t["distance"].notna()]
    if not len(t) or results.spec.twins is None:
        return None
    names = [c.name for c in results.conditions if (t["condition"] == c.name).any()]
    t = pd.DataFrame(
        {
            "condition": t["condition"].astype(str),
            "seed": t["seed"].astype(int),
            "steps": t["steps"].astype(int),
            "step": t["step"].astype(int),
            "distance": t["distance"].astype(float),
            "gap": t["loss_gap"].astype(float),
        }
    )
    rows: list[dict[str, Value]] = []
    ends = {}
    for name in names:
        here, c = t[t["condition"] == name], results.spec.condition(name)
        early_step = results.spec.twins.short_steps
        early = here[here["step"] == early_step]
        end = here[here["step"] == c.schedule.steps]
        ends[name] = end
        rows.append(
            {
                "condition": name_cell(results, c),
                "start": _geometric(here[here["step"] == 0]["distance"]),
                "early": _geometric(early["distance"]),
                "nearly": len(early),
                "end": _geometric(end["distance"]),
                "gap": float(end["gap"].abs().max()) if end["gap"].notna().any() else None,
                "n": len(end),
            }
        )
    columns = [
        TableColumn("condition", "condition"),
        TableColumn("start", "distance at the start", "", ".1e"),
        TableColumn("early", f"after {results.spec.twins.short_steps:,} steps", "", ".1e"),
        TableColumn("nearly", "pairs"),
        TableColumn("end", "at the end", "", ".1e"),
        TableColumn("gap", "largest gap in dev loss", "nats", ".1e"),
        TableColumn("n", "pairs to the end"),
    ]
    table = Table("Distance of twins: relative to the parameters, geometric mean over seeds", columns, rows)
    ended = {name: end for name, end in ends.items() if len(end)}
    answer = ["No pair was trained to the end; the table shows how far the short ones came."]
    if ended:
        answer = _repeats(results, ended)

    def drawing(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 320, width)
        frame = t[t["distance"] > 0].assign(step=t["step"].astype(float).replace(0, 0.5))
        frame = frame.assign(line=frame["seed"].astype(str) + " " + frame["steps"].astype(str))
        long = frame[frame["steps"] == frame.groupby("condition")["steps"].transform("max")]
        band = (
            long.groupby(["condition", "step"], sort=False)["distance"]
            .agg(lambda v: float(np.exp(np.log(v).mean())))
            .reset_index(name="mean")
        )
        band = band.assign(low=band["mean"], high=band["mean"])
        plots.draw_lines(ax, looks_of(results), frame, band, y="distance", unit="line", logx=True, logy=True)
        ax.set(xlabel="step (step 0 drawn at 0.5)", ylabel="relative distance of the parameters")
        plots.key(fig, looks_of(results), results.titles, names)
        return fig

    steps = results.spec.twins.short_steps
    short = f"; lines that end after {steps:,} steps are the short pairs" if (t["steps"] == steps).any() else ""
    return Content(
        answer=answer,
        figures=(
            Figure(
                plots.draw(
                    "twins-distance",
                    "Relative distance of twins over the steps on log axes, every pair thin, the mean thick.",
                    drawing,
                ),
                "Relative distance of a twin from its original on log axes: every pair, and the geometric mean of the"
                f" long ones{short}.",
                table,
            ),
        ),
        tables=(table,),
        made=made(
            "Distance: |θ′ − θ| / |θ| over all parameters. Both of a pair see the same minibatches; nothing else"
            " differs than one unit in the last place of W1[0, 0].",
            "twins",
        ),
    )


def _repeats(results: Results, ends: dict[str, pd.DataFrame]) -> list[str]:
    """Describe the condition whose twins end furthest apart, and the distances in the others."""
    apart = {name: _geometric(end["distance"]) or 0.0 for name, end in ends.items()}
    moved = {name: float(end["gap"].abs().max()) for name, end in ends.items()}
    far = max(apart, key=lambda name: apart[name])
    pairs = int((ends[far]["distance"] > 0).sum())
    first = "One weight of W1 is moved by one unit in the last place, and the twin is trained on the same minibatches."
    if not pairs:
        return [f"{first} Every pair that was trained to the end has equal parameters there, to the last bit."]
    text = [
        f"{first} In"
        f" **{results.titles[far]}** the parameters are {number(apart[far], '.1e')} of their size apart at the end"
        f" (geometric mean of {pair_count(pairs)}), and the dev loss moves by up to {number(moved[far], '.1e')} nats."
    ]
    near = [name for name in ends if name != far]
    if near:
        text.append(
            f"In the others the distance stays at {signed(span([apart[n] for n in near], '.0e'))} and the loss moves by"
            f" at most {number(max(moved[n] for n in near), '.1e')} nats."
        )
    return text


def _geometric(values: pd.Series) -> float | None:
    found = values[values > 0]
    return float(np.exp(np.log(found).mean())) if len(found) else None
