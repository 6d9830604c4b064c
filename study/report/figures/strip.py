"""Draw strips: a row per condition, with a dot per seed, and with the mean and its interval above the dots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from study.report.figures.look import GRID, NARROW, PAPER, WIDE, Look
from study.report.figures.style import styled
from study.report.figures.text import shorten, wrap
from study.report.figures.ticks import locate, narrow


@styled()
def draw_strip(
    ax: Axes,
    frame: pd.DataFrame,
    looks: Mapping[str, Look],
    titles: Mapping[str, str],
    *,
    value: str = "value",
    by: str = "condition",
    intervals: pd.DataFrame | None = None,
    label: str = "",
    log: bool = False,
    named: bool = True,
    names: Sequence[str] | None = None,
) -> None:
    """Draw a row per condition, with a dot per seed and the mean with its interval.

    `intervals` has the columns condition, mean, low, high. A seed has the same height within the row of every
    condition. The rows are in the order of `looks`. `names` fixes the rows, so that panels side by side have the same
    ones. Values that are not finite are left out. A title is above its row at phone width, otherwise to the left of
    it. The height of the figure is `strip_height`.
    """
    present = set(frame[by]) | (set() if intervals is None else set(intervals[by]))
    names = [name for name in looks if name in (present if names is None else names)]
    frame = frame[np.isfinite(frame[value].astype(float)) & frame[by].isin(names)]
    rank = frame.groupby(by, sort=False).cumcount()
    most = max(int(rank.max()) if len(rank) else 0, 1)
    rows = frame.assign(
        _y=frame[by].map({name: i for i, name in enumerate(names)}).astype(float) + 0.06 + 0.24 * rank / most
    )
    if log:
        ax.set_xscale("log")
        locate(ax)
    for i in range(len(names)):
        ax.axhline(i + 0.02, color=GRID, linewidth=0.8, zorder=0)
    if len(rows):
        sns.scatterplot(
            rows,
            x=value,
            y="_y",
            hue=by,
            style=by,
            hue_order=names,
            style_order=names,
            ax=ax,
            legend=False,
            s=17,
            linewidth=0,
            alpha=0.65,
            palette={n: looks[n].color for n in names},
            markers={n: looks[n].marker for n in names},
        )
    if intervals is not None:
        for row in intervals[intervals[by].isin(names)].itertuples():
            look, y = looks[getattr(row, by)], names.index(getattr(row, by)) - 0.14
            if math.isfinite(row.low) and math.isfinite(row.high):
                ax.plot([row.low, row.high], [y, y], color=look.color, linewidth=3, solid_capstyle="butt", alpha=0.75)
            if math.isfinite(row.mean):
                ax.plot(
                    [row.mean],
                    [y],
                    look.marker,
                    color=look.color,
                    markersize=7.5,
                    markeredgecolor=PAPER,
                    markeredgewidth=1,
                )
    ax.set_ylim(
        len(names) - 0.5, -1.1 if narrow(ax) else -0.85
    )  # room for the label of reference() above the first row
    ax.set_yticks([])
    ax.set_ylabel("")
    ax.set_xlabel(label)
    ax.spines["left"].set_visible(False)
    if not named:
        return
    for i, name in enumerate(names):
        if narrow(ax):
            text = ax.text(
                0, i - 0.3, shorten(titles.get(name, name), 42), transform=ax.get_yaxis_transform(), va="bottom"
            )
            text.set(gid="class-halo", in_layout=False)
            text.set_bbox({"facecolor": PAPER, "edgecolor": "none", "pad": 1})  # no reference line through it
            continue
        parts = wrap(titles.get(name, name), 28)
        # Every line is a text of its own: the reader's font is narrower than ours, and the ends must align.
        at: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
        for k, part in enumerate(parts):
            ax.annotate(part, (0, i), (-8, -14 * (k - (len(parts) - 1) / 2)), ha="right", va="center", **at)


def strip_height(conditions: int, width: int = WIDE) -> float:
    """The height for new() in pixels with which every row of draw_strip() has enough room."""
    return 62 + (38 if width > NARROW else 52) * conditions
