"""The section on training curves, from the first thousand steps to the last."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure as Drawn

from study.analysis.results import Results
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Figure, Table, TableColumn
from study.report.sections.common import (
    distinct_trainings,
    made,
    mark_cuts,
    name_cell,
    span,
    told_cuts,
)
from study.report.sections.registry import Content, section
from study.spec.records import Condition

EARLY = 1000  # steps that are shown by themselves: the loss falls fastest there


COARSE = 40  # points per condition in the table behind the curves


@section(
    "Training curves",
    "What are the first steps spent on, and does it show at the end?",
    needs="training curves",
)
def curves_section(results: Results) -> Content | None:
    """Show how the loss falls, from the first thousand steps to the last."""
    t = results.tables["curves"]
    chosen = distinct_trainings(results.main)
    frame = t[t["condition"].isin([c.name for c in chosen]) & t["loss"].notna()]
    if not len(frame):
        return None
    frame = pd.DataFrame(
        {
            "condition": frame["condition"].astype(str),
            "seed": frame["seed"].astype(int),
            "first": frame["first"].astype(int),
            "step": frame["step"].astype(float),
            "loss": frame["loss"].astype(float),
        }
    )
    seen = {c.name for c in chosen if (frame["condition"] == c.name).any()}
    chosen = [c for c in chosen if c.name in seen]
    early, longest = frame[frame["first"] < EARLY], max(c.schedule.steps for c in chosen)
    smooth = _smoothed(frame)
    band = _band(smooth)

    def hockey(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 300, width)
        plots.draw_lines(ax, looks_of(results), early, _band(early), logy=True)
        plots.reference(ax, results.uniform, f"ln {results.vocabulary}", end="left")
        ax.set(xlabel="step", ylabel="minibatch loss, nats (log axis)")
        plots.key(fig, looks_of(results), results.titles, [c.name for c in chosen])
        return fig

    def whole(width: int) -> Drawn:
        fig, (ax,) = plots.new(1, 1, 320, width)
        late, seeds = (rows[rows["step"] >= longest * 0.01] for rows in (band, smooth))
        plots.draw_lines(ax, looks_of(results), seeds, late)
        mark_cuts(ax, chosen)
        ax.set(xlabel="step", ylabel="smoothed minibatch loss, nats")
        plots.key(fig, looks_of(results), results.titles, [c.name for c in chosen])
        return fig

    columns = [
        TableColumn("condition", "condition"),
        TableColumn("step", "middle of the bin", "steps", ",.0f"),
        TableColumn("mean", "mean loss", "nats", ".4f"),
        TableColumn("low", "smallest seed", "nats", ".4f"),
        TableColumn("high", "largest seed", "nats", ".4f"),
    ]

    def behind(caption: str, rows: pd.DataFrame) -> Table:
        thinned = plots.thin(rows, ["condition"], "step", COARSE)
        return Table(
            caption,
            columns,
            [
                {
                    "condition": name_cell(results, results.spec.condition(r.condition)),
                    "step": r.step,
                    "mean": r.mean,
                    "low": r.low,
                    "high": r.high,
                }
                for r in thinned.itertuples()
            ],
        )

    figures = [
        Figure(
            plots.draw(
                "hockey-stick",
                f"Minibatch loss over the first {EARLY:,} steps on a log axis, every seed thin, the mean thick.",
                hockey,
            ),
            f"The loss of the minibatches over the first {min(EARLY, longest):,} steps: every seed, and their mean.",
            behind("The first steps, mean over seeds in bins", _band(early)),
        )
    ]
    if longest > EARLY:
        figures.append(
            Figure(
                plots.draw(
                    "curves-whole",
                    "Smoothed minibatch loss over the whole training: every seed thin, the mean of each condition"
                    " thick.",
                    whole,
                ),
                "The whole training, smoothed over 2 % of its steps: every seed, their mean, and the band from the"
                " smallest to the largest." + told_cuts(chosen) + _told_normed(chosen),
                behind("The whole training, smoothed, mean over seeds", band),
            )
        )
    start = {c.name: early[(early["condition"] == c.name) & (early["first"] == 0)]["loss"].mean() for c in chosen}
    worst = max(start, key=lambda name: start[name])
    fall = early[early["condition"] == worst].sort_values("first").groupby("seed")
    began, ended = fall.first(), fall.last()
    falls = f"goes from {start[worst]:.2f} ({_steps(began)}) to {ended['loss'].mean():.2f} ({_steps(ended)})"
    above = start[worst] > results.uniform + 0.05 and ended["loss"].mean() < start[worst]
    return Content(
        answer=[
            (
                f"**{results.titles[worst]}**"
                f" {falls}{': the blade of the hockey stick, since it begins above ln V' if above else ''}."
                f" {'The others begin' if len(start) > 2 else 'The other begins'} at"
                f" {span([v for n, v in start.items() if n != worst], '.2f')} ({_steps(began)}). These are losses of"
                " minibatches, averaged over seeds."
                if len(start) > 1
                else f"The loss {falls}."
            ),
            *_ends(results, band, worst),
        ],
        figures=figures,
        made=made(
            "Means of the minibatch losses in bins: fine over the first thousand steps, coarser after. Conditions that"
            " share a training share a curve.",
            "curves",
        ),
    )


def _ends(results: Results, band: pd.DataFrame, worst: str) -> list[str]:
    """Compare the ends of the smoothed curves with the end of the curve that began highest."""
    last = band.loc[band.groupby("condition")["step"].idxmax()].set_index("condition")["mean"]
    others = [float(v) for name, v in last.items() if name != worst]
    if not others:
        return []
    return [
        f"At the end it stands at {last[worst]:.3f}, the other{'s' if len(others) > 1 else ''} at {span(others)} (mean"
        " of the last fiftieth of the steps)."
    ]


def _steps(found: pd.DataFrame) -> str:
    """The steps of the bins of all seeds (rows), as in `mean of steps 1 to 10`; where seeds differ, the last steps."""
    row = found.loc[found["step"].idxmax()]
    first, steps = int(row["first"]) + 1, int(2 * (row["step"] - row["first"]) + 1)
    return f"step {first:,}" if steps == 1 else f"mean of steps {first:,} to {first + steps - 1:,}"


def _told_normed(chosen: list[Condition]) -> str:
    """The words of the caption on the statistics behind a training loss where there is BatchNorm."""
    normed = [c for c in chosen if c.network.layers_with_statistics]
    sizes = ", ".join(dict.fromkeys(f"{c.schedule.batch_size:,}" for c in normed))
    return (
        f" With BatchNorm a loss of training is under the statistics of its own minibatch of {sizes} examples, noisier"
        " than those that the final losses are read with: its curve lies higher than they lead to expect."
        * bool(normed)
    )


def _smoothed(frame: pd.DataFrame) -> pd.DataFrame:
    """The means over a fiftieth of the training's steps, by seed. Steps that remain belong to the last mean."""
    groups = []
    for _, rows in frame.groupby(["condition", "seed"], sort=False):
        rows = rows.sort_values("first")
        steps = _widths(rows)
        end = int(rows["first"].iloc[-1] + steps.iloc[-1])
        width = max(1, end // 50)
        block = (rows["first"] // width).clip(upper=end // width - 1)
        sums = rows.assign(step=rows["step"] * steps, loss=rows["loss"] * steps, steps=steps).groupby(block, sort=True)
        merged = sums.agg(
            condition=("condition", "first"),
            seed=("seed", "first"),
            step=("step", "sum"),
            loss=("loss", "sum"),
            steps=("steps", "sum"),
        )
        groups.append(merged.assign(step=merged["step"] / merged["steps"], loss=merged["loss"] / merged["steps"]))
    return pd.concat(groups).reset_index(drop=True)


def _widths(rows: pd.DataFrame) -> pd.Series:
    """The number of steps in each bin. The middle of a bin is (width - 1) / 2 after its first step."""
    return 2 * (rows["step"] - rows["first"]) + 1


def _band(frame: pd.DataFrame) -> pd.DataFrame:
    band = frame.groupby(["condition", "step"], sort=False)["loss"].agg(["mean", "min", "max"]).reset_index()
    return band.rename(columns={"min": "low", "max": "high"})
