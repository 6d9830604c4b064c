"""Turn numbers into drawings: one place for figures and for all that they can contain, whatever the numbers mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as MarkPath
from matplotlib.ticker import FuncFormatter

from study.report.figures.lines import draw_curve, draw_lines, loglog, thin
from study.report.figures.look import INK, MUTED, NARROW, REFERENCE, WIDE, Look, palette
from study.report.figures.strip import draw_strip, strip_height
from study.report.figures.style import styled
from study.report.figures.svg import Drawing, draw, svg_text
from study.report.figures.text import character_cells, shorten
from study.report.figures.ticks import locate, size, tick

__all__ = [
    "INK",
    "NARROW",
    "WIDE",
    "Drawing",
    "Look",
    "draw",
    "draw_curve",
    "draw_lines",
    "draw_strip",
    "histogram",
    "key",
    "loglog",
    "mask",
    "new",
    "note_below",
    "palette",
    "reference",
    "shorten",
    "strip_height",
    "svg_text",
    "thin",
]


def new(
    panels: int = 1,
    columns: int = 1,
    height: float = 240,
    width: int = WIDE,
    *,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure with `panels` axes of `height` pixels each, in `columns` columns (half as many at phone width)."""
    columns = min(panels, columns if width > NARROW else (columns + 1) // 2)
    rows = math.ceil(panels / columns)
    with styled():
        fig = Figure(figsize=(width / 72, rows * height / 72))
        fig.set_layout_engine("constrained", w_pad=6 / 72, h_pad=6 / 72, wspace=0.02, hspace=0.02)
        grid = fig.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
        axes = list(grid.flat)
        for ax in axes[panels:]:
            ax.remove()
        for ax in axes[:panels]:
            ax.xaxis.set_major_formatter(FuncFormatter(tick))
            ax.yaxis.set_major_formatter(FuncFormatter(tick))
            locate(ax)
    return fig, axes[:panels]


@styled()
def histogram(ax: Axes, frame: pd.DataFrame, look: Look, *, fill: float = 0.3) -> None:
    """Draw a step histogram from rows (left, right, density) of adjoining bins."""
    rows = frame.sort_values("left")
    edges = np.append(rows["left"].to_numpy(float), float(rows["right"].iloc[-1]))
    assert np.allclose(edges[1:], rows["right"].to_numpy(float)), f"bins do not adjoin: {edges}"
    ax.stairs(rows["density"], edges, color=look.color, fill=True, alpha=fill, linewidth=0)
    ax.stairs(rows["density"], edges, color=look.color, linewidth=1.2, baseline=None)
    ax.set_ylim(bottom=0)


@styled()
def note_below(ax: Axes, *texts: str) -> None:
    """Write short lines below the name of the x axis, with facts about this panel alone."""
    for i, text in enumerate(texts):
        line = ax.annotate(text, (0.5, 0), (0, -37 - 14 * i), "axes fraction", "offset points", ha="center", va="top")
        line.set(color=MUTED, fontsize=11)


@styled()
def reference(ax: Axes, value: float, label: str = "", axis: str = "y", end: str = "right") -> None:
    """Draw a dashed line at a theoretical value, horizontal (axis "y") or vertical (axis "x"), with a short label."""
    line: dict[str, Any] = {"color": REFERENCE, "linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 1}
    (ax.axhline if axis == "y" else ax.axvline)(value, **line)
    if not label:
        return
    place: dict[str, Any]
    if axis == "y":
        place = {"xy": (1 if end == "right" else 0, value), "xycoords": ax.get_yaxis_transform()}
        place |= {"xytext": (-2 if end == "right" else 4, 3), "ha": end, "va": "bottom"}
    else:
        place = {"xy": (value, 1), "xycoords": ax.get_xaxis_transform()}
        place |= {"xytext": (-4 if end == "left" else 4, -1), "ha": "right" if end == "left" else "left", "va": "top"}
    note = ax.annotate(shorten(label, 40), textcoords="offset points", **place)
    note.set(color=REFERENCE, fontsize=11, gid="class-halo")


@styled()
def mask(ax: Axes, matrix: np.ndarray, color: str = INK, xlabel: str = "unit", ylabel: str = "example") -> None:
    """Draw a boolean matrix as the lecture does: with a mark where it is true, and row 0 on top."""
    rows, columns = matrix.shape
    ends: list[tuple[float, float]] = []
    for i, row in enumerate(np.asarray(matrix, dtype=bool)):
        steps = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        ends += [(float(step), i + 0.5) for step in steps]
    path = MarkPath(
        np.reshape(ends, (-1, 2)), [MarkPath.MOVETO, MarkPath.LINETO] * (len(ends) // 2)
    )  # a run is one stroke
    box = ax.get_position().height * size(ax)[1]  # before layout: a little taller than what remains
    ax.add_patch(PathPatch(path, fill=False, edgecolor=color, linewidth=box / rows, capstyle="butt"))
    ax.set(xlim=(0, columns), ylim=(rows, 0), xlabel=xlabel, ylabel=ylabel)
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)


@styled()
def key(fig: Figure, looks: Mapping[str, Look], titles: Mapping[str, str], names: Sequence[str] | None = None) -> None:
    """Add a legend of lines and markers above the panels, in as many columns as fit. The figure grows by its height."""
    shown = list(looks) if names is None else [name for name in looks if name in set(names)]
    width = fig.get_figwidth() * 72
    labels = [shorten(titles.get(name, name), 40 if width <= NARROW else 36) for name in shown]
    columns = max(1, min(len(shown), int((width - 10) / (48 + 7.2 * max(map(character_cells, labels))))))
    handles = [
        Line2D([], [], color=looks[n].color, linestyle=looks[n].linestyle, marker=looks[n].marker, markersize=6)
        for n in shown
    ]
    fig.set_figheight(fig.get_figheight() + 18 * math.ceil(len(shown) / columns) / 72)
    fig.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        handlelength=2.6,
        columnspacing=1.4,
        borderpad=0,
        labelspacing=0.35,
    )
