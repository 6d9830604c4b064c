"""The section on wasted steps: the number of steps that a repair saves on the way to a loss."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.curves import levels
from study.analysis.estimate import paired
from study.analysis.quantities import needed, trained
from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableCell, TableColumn, Value
from study.report.sections.common import distinct_trainings, made, name_cell
from study.report.sections.registry import Content, section


@section(
    "Steps wasted",
    "How many steps does a bad start waste?",
    needs="two trainings of the first group, of 20 steps or more",
)
def waste_section(results: Results) -> Content | None:
    """Compare the steps that conditions need to reach a loss that the first condition has after a number of steps."""
    reference = results.main[0]
    others = [c for c in distinct_trainings(results.main) if c.name != reference.name]
    marks = levels(reference.schedule.steps)
    if not others or not marks or not trained(results, reference):
        return None
    rows: list[dict[str, Value]] = []
    told = {}
    for mark in marks:
        base = {seed: steps for seed, (_, steps) in needed(results, reference, mark).items()}
        for c in [reference, *others]:
            found = needed(results, c, mark)
            level = [loss for loss, _ in found.values()]
            needs = {seed: steps for seed, (_, steps) in found.items()}
            rows.append(
                {
                    "level": f"{reference.title} after {mark:,}",
                    "loss": float(np.mean(level)) if level else None,
                    "condition": name_cell(results, c),
                    "median": _steps(needs),
                    "range": _range(needs),
                    "saved": _saved(base, needs) if c is not reference else None,
                }
            )
            told[mark, c.name] = needs
    columns = [
        TableColumn("level", "as good as"),
        TableColumn("loss", "smoothed loss", "nats", ".3f"),
        TableColumn("condition", "condition"),
        TableColumn("median", "steps needed, median", "", ",.0f"),
        TableColumn("range", "smallest to largest seed"),
        TableColumn("saved", "steps saved, paired by seed"),
    ]
    table = Table("Steps after which the smoothed loss is as low and stays so", columns, rows)
    mark = marks[1] if len(marks) > 1 else marks[0]
    # the steps of a seed that never reaches the loss count as infinite, as in the table
    median = {c.name: float(np.median(list(told[mark, c.name].values()))) for c in others if told[mark, c.name]}
    answer = (
        [
            f"The loss that **{reference.title}** has after {mark:,} steps others reach for good, median over seeds,"
            " after: "
            + "; ".join(f"**{results.titles[n]}** {steps:,.0f}" for n, steps in median.items() if math.isfinite(steps))
            + "."
        ]
        if any(map(math.isfinite, median.values()))
        else [f"No condition reaches with most of its seeds the loss that {reference.title} has after {mark:,} steps."]
    )
    return Content(
        answer=answer,
        figures=(
            Figure(
                _drawing(results, [reference.name, *(c.name for c in others)], told, mark),
                f"Steps until the smoothed loss is, and stays, as low as that of {reference.title} after {mark:,}"
                " steps, seed by seed.",
                table,
            ),
        ),
        tables=(table,),
        made=made(
            "The smoothed loss is the mean over the last fifth of the steps so far. A level is the reference's own"
            " smoothed loss, seed by seed; a condition reaches it at the bin of its curve from which it stays as low.",
            "curves",
        ),
    )


def _steps(needs: dict[int, float]) -> Value:
    if not needs:
        return None
    median = float(np.median(list(needs.values())))
    return median if math.isfinite(median) else TableCell("not reached", sort=math.inf)


def _range(needs: dict[int, float]) -> str:
    finite = [v for v in needs.values() if math.isfinite(v)]
    if not finite:
        return "–"
    missed = len(needs) - len(finite)
    return f"{min(finite):,.0f} to {max(finite):,.0f}" + (f"; {missed} of {len(needs)} never" if missed else "")


def _saved(base: dict[int, float], needs: dict[int, float]) -> str:
    seeds = [s for s in needs if math.isfinite(needs[s]) and math.isfinite(base[s])]
    if len(seeds) < len(needs) or len(seeds) < 2:
        return "–"
    d = paired(pd.Series({s: base[s] for s in seeds}), pd.Series({s: needs[s] for s in seeds}))
    return f"{d.mean:,.0f} [{d.low:,.0f}, {d.high:,.0f}], n = {d.n}"


def _drawing(
    results: Results, names: list[str], told: dict[tuple[int, str], dict[int, float]], mark: int
) -> plots.Drawing:
    frame = pd.DataFrame(
        [(n, s, v) for n in names for s, v in told[mark, n].items()], columns=["condition", "seed", "value"]
    )

    def drawing(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, plots.strip_height(len(names), width), width)
        plots.draw_strip(
            ax, frame, looks_of(results), results.titles, label="steps needed (log axis)", log=True, names=names
        )
        return fig

    return plots.draw(
        "waste-strip",
        f"Steps that every condition and seed needs to the loss of the first condition after {mark:,} steps.",
        drawing,
    )
