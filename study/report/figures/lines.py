"""Draw lines: thin ones for seeds, with the mean and the band of each condition, and with theoretical curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from study.report.figures.look import FONT_POINTS, INK, PAPER, REFERENCE, Look
from study.report.figures.style import styled
from study.report.figures.ticks import locate, narrow


@styled()
def draw_lines(
    ax: Axes,
    looks: Mapping[str, Look],
    frame: pd.DataFrame | None = None,
    band: pd.DataFrame | None = None,
    *,
    x: str = "step",
    y: str = "loss",
    by: str = "condition",
    unit: str = "seed",
    logx: bool = False,
    logy: bool = False,
    marks: int = 6,
) -> None:
    """Draw every seed as a thin line (`frame`: condition, seed, x, y), below the mean and the band of its condition.

    `band` has the columns condition, x, mean, low, high.

    Lines are thinned to 150 points (90 at phone width), evenly in x or in log x. The mean has `marks` markers.
    """
    points = 90 if narrow(ax) else FONT_POINTS
    ax.set_xscale("log" if logx else "linear")
    ax.set_yscale("log" if logy else "linear")
    locate(ax)
    if frame is not None and len(frame):
        finite = frame[np.isfinite(frame[y].astype(float))]
        thinned = thin(finite, [by, unit], x, points // 2 if band is not None else points, logx)
        names = [name for name in looks if name in set(finite[by])]
        sns.lineplot(
            thinned,
            x=x,
            y=y,
            hue=by,
            hue_order=names,
            units=unit,
            estimator=None,
            sort=True,
            legend=False,
            ax=ax,
            palette={n: looks[n].color for n in names},
            linewidth=0.8,
            alpha=0.4 if band is not None else 0.75,
        )
    if band is not None:
        thinned = thin(band[np.isfinite(band["mean"].astype(float))], [by], x, points, logx)
        for i, name in enumerate(n for n in looks if n in set(thinned[by])):
            rows, look = thinned[thinned[by] == name].sort_values(x), looks[name]
            every = max(len(rows) // marks, 1)
            ax.fill_between(rows[x], rows["low"], rows["high"], color=look.color, alpha=0.16, linewidth=0)
            ax.plot(
                rows[x],
                rows["mean"],
                color=look.color,
                linestyle=look.linestyle,
                marker=look.marker,
                markersize=5,
                markevery=(min(i * every // 8, len(rows) - 1), every),
                markeredgecolor=PAPER,
                markeredgewidth=0.6,
            )
    ax.set_xlabel(x)
    ax.set_ylabel(y)


def thin(
    frame: pd.DataFrame, keys: Sequence[str], x: str, points: int = FONT_POINTS, log: bool = False
) -> pd.DataFrame:
    """At most `points` rows per group of `keys`, evenly spaced in x (or in log x), with the first and the last row."""
    kept = []
    for _, group in frame.groupby(list(keys), sort=False, observed=True):
        group = group.sort_values(x)
        if len(group) > points:
            values = group[x].to_numpy(float)
            scale = np.log(np.maximum(values, values[values > 0].min())) if log else values
            # Points of the grid are moved a little, so that none is equal to a row: the last bit of log would decide.
            near = np.searchsorted(scale, np.linspace(scale[0], scale[-1], points) - 1e-9 * np.ptp(scale))
            group = group.iloc[np.unique(np.clip([0, *near[1:-1], len(group) - 1], 0, len(group) - 1))]
        kept.append(group)
    return pd.concat(kept) if kept else frame


@styled()
def loglog(
    ax: Axes,
    frame: pd.DataFrame,
    looks: Mapping[str, Look],
    *,
    x: str,
    y: str,
    by: str = "condition",
    expected: str | None = None,
    guide: tuple[Sequence[float], Sequence[float], str] | None = None,
) -> None:
    """Draw seeds as dots and their mean as a line, on log axes.

    The expectation is dashed: it is a column (`expected`), or a curve (`guide`: xs, ys, label).
    """
    ax.set_xscale("log")
    ax.set_yscale("log")
    names = [name for name in looks if name in set(frame[by])]
    common: dict[str, Any] = {
        "hue": by,
        "hue_order": names,
        "palette": {n: looks[n].color for n in names},
        "legend": False,
        "ax": ax,
    }
    if guide is not None:
        draw_curve(ax, *guide, above=True)
    for name in names:
        rows = frame[frame[by] == name]
        if expected is not None:
            theory = rows.groupby(x)[expected].mean()
            ax.plot(theory.index, theory, color=REFERENCE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        mean = rows.groupby(x)[y].mean()
        ax.plot(mean.index, mean, color=looks[name].color, linestyle=looks[name].linestyle)
    sns.scatterplot(
        frame,
        x=x,
        y=y,
        style=by,
        style_order=names,
        markers={n: looks[n].marker for n in names},
        s=24,
        linewidth=0.5,
        edgecolor=PAPER,
        alpha=0.85,
        zorder=3,
        **common,
    )
    locate(ax)


@styled()
def draw_curve(
    ax: Axes, xs: Sequence[float], ys: Sequence[float], label: str = "", at: int = -1, above: bool = False
) -> None:
    """Draw a theoretical curve as a dashed line, with its label beside point `at`.

    It is drawn `above` the data where they would hide it.
    """
    color, width, order = (INK, 1.8, 2.5) if above else (REFERENCE, 1.2, 1)
    ax.plot(xs, ys, color=color, linewidth=width, linestyle=(0, (4, 3)), zorder=order)
    if label:
        side = "right" if at == -1 or at > len(xs) / 2 else "left"
        note = ax.annotate(
            label, (xs[at], ys[at]), (-4 if side == "right" else 4, 5), textcoords="offset points", ha=side
        )
        note.set(color=REFERENCE, fontsize=11, gid="class-halo")
