"""Numbers as drawings: style, palette by condition, deterministic SVG with CSS classes for colours. No meaning."""

from __future__ import annotations

import io
import math
import re
import textwrap
import unicodedata
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path as MarkPath
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter, NullLocator

WIDE, NARROW = 680, 350  # logical pixels: a column of text, and a phone
POINTS = 150  # a line on the page has no more
SLOTS = 8  # hues before marker and dash alone tell conditions apart

# A colour in matplotlib is only a name for a role: style.css says what it looks like, in light and in dark.
ROLES = ("ink", "muted", "grid", "paper", "reference", *(f"c{i}" for i in range(SLOTS)))
SENTINELS = {role: f"#5a17{i:02x}" for i, role in enumerate(ROLES)}
_ROLE_OF = {color: role for role, color in SENTINELS.items()}
INK, MUTED, GRID, PAPER, REFERENCE = (SENTINELS[role] for role in ROLES[:5])

# matplotlib's marker, and the same shape around the origin for swatches in tables
MARKERS = (
    ("o", "M-4 0A4 4 0 1 1 4 0A4 4 0 1 1-4 0Z"),
    ("s", "M-3.5-3.5H3.5V3.5H-3.5Z"),
    ("^", "M0-4.5L4.5 4H-4.5Z"),
    ("D", "M0-4.8L4.8 0L0 4.8L-4.8 0Z"),
    ("v", "M0 4.5L4.5-4H-4.5Z"),
    ("P", "M-1.5-4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z"),
    ("X", "M-4.5-2.5L-2.5-4.5L0-2L2.5-4.5L4.5-2.5L2 0L4.5 2.5L2.5 4.5L0 2L-2.5 4.5L-4.5 2.5L-2 0Z"),
)
DASHES = ("", "6 2.5", "2 2", "7 2 2 2")


@dataclass(frozen=True)
class Look:
    """How a condition looks everywhere: colour slot, marker (with its SVG shape) and dash pattern ("" is solid)."""

    slot: int
    marker: str
    shape: str
    dash: str

    @property
    def color(self) -> str:
        """The slot's colour, for any matplotlib or seaborn call."""
        return SENTINELS[f"c{self.slot}"]

    @property
    def linestyle(self) -> Any:
        """The dash as matplotlib wants it, in line widths of 1.6."""
        return (0, tuple(float(part) / 1.6 for part in self.dash.split())) if self.dash else "-"


@dataclass(frozen=True)
class Drawing:
    """A figure as themed SVG text for a column of text and (unless empty) for a phone, and what it shows in words."""

    name: str
    alt: str
    wide: str
    narrow: str = ""


def palette(names: Sequence[str]) -> dict[str, Look]:
    """One look per name, by position: the first eight differ in hue, 56 in (hue, marker), 224 in (hue, marker, dash).

    Appending a name changes no other look, so the order of the study file fixes the colours.
    """
    looks = {}
    for i, name in enumerate(dict.fromkeys(names)):
        marker, shape = MARKERS[i % len(MARKERS)]
        looks[name] = Look(i % SLOTS, marker, shape, DASHES[(i // SLOTS) % len(DASHES)])
    return looks


@contextmanager
def style() -> Iterator[None]:
    """Seaborn's "ticks" theme: one pixel per point, role colours, text as text, no mathtext in anybody's title."""
    rc: dict[Any, Any] = {
        "figure.dpi": 72, "savefig.dpi": 72, "svg.fonttype": "none", "text.parse_math": False, "font.size": 12,
        "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "axes.labelsize": 12, "axes.titlesize": 12,
        "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 7, "legend.fontsize": 12,
        "xtick.labelsize": 11, "ytick.labelsize": 11, "legend.frameon": False, "axes.linewidth": 0.8,
        "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "axes.labelpad": 4,
        "lines.linewidth": 1.6, "lines.markersize": 5, "xtick.major.width": 0.8, "ytick.major.width": 0.8,
        "xtick.major.size": 3.5, "ytick.major.size": 3.5, "xtick.major.pad": 3, "ytick.major.pad": 3,
        "figure.facecolor": "none", "savefig.facecolor": "none", "axes.facecolor": "none", "text.color": INK,
        "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.edgecolor": MUTED, "xtick.color": MUTED,
        "ytick.color": MUTED, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED, "grid.color": GRID,
        "grid.linewidth": 0.8, "patch.edgecolor": PAPER,
    }  # fmt: skip
    with sns.axes_style("ticks"), mpl.rc_context(rc), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")  # the reader's fonts draw it, not ours
        yield


# ------------------------------------------------------------------------------------------------------------- drawings


def new(
    panels: int = 1,
    columns: int = 1,
    height: float = 240,
    width: int = WIDE,
    *,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """A figure with `panels` axes, `height` pixels each, in `columns` columns; half as many at phone width."""
    columns = min(panels, columns if width > NARROW else (columns + 1) // 2)
    rows = math.ceil(panels / columns)
    with style():
        fig = Figure(figsize=(width / 72, rows * height / 72))
        fig.set_layout_engine("constrained", w_pad=6 / 72, h_pad=6 / 72, wspace=0.02, hspace=0.02)
        grid = fig.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
        axes = list(grid.flat)
        for ax in axes[panels:]:
            ax.remove()
        for ax in axes[:panels]:
            ax.xaxis.set_major_formatter(FuncFormatter(tick))
            ax.yaxis.set_major_formatter(FuncFormatter(tick))
            _locate(ax)
    return fig, axes[:panels]


@style()
def strip(
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
    """One row per condition: every seed a dot, and (`intervals`: condition, mean, low, high) its mean and interval.

    A seed keeps its height within the row in every condition. The order of rows is that of `looks`; `names` fixes them,
    so that panels side by side share rows. Values that are not finite are left out. At phone width a title stands
    above its row, elsewhere left of it. Heights: `strip_height`.
    """
    present = set(frame[by]) | (set() if intervals is None else set(intervals[by]))
    names = [name for name in looks if name in (present if names is None else names)]
    frame = frame[np.isfinite(frame[value].astype(float)) & frame[by].isin(names)]
    rank = frame.groupby(by, sort=False).cumcount()
    most = max(int(rank.max()) if len(rank) else 0, 1)
    rows = frame.assign(_y=frame[by].map({name: i for i, name in enumerate(names)}) + 0.06 + 0.24 * rank / most)
    if log:
        ax.set_xscale("log")
        _locate(ax)
    for i in range(len(names)):
        ax.axhline(i + 0.02, color=GRID, linewidth=0.8, zorder=0)
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
        len(names) - 0.5, -1.1 if _narrow(ax) else -0.85
    )  # room for the label of reference() above the first row
    ax.set_yticks([])
    ax.set_ylabel("")
    ax.set_xlabel(label)
    ax.spines["left"].set_visible(False)
    if not named:
        return
    for i, name in enumerate(names):
        if _narrow(ax):
            text = ax.text(
                0, i - 0.3, shorten(titles.get(name, name), 42), transform=ax.get_yaxis_transform(), va="bottom"
            )
            text.set(gid="class-halo", in_layout=False)
            continue
        parts = wrap(titles.get(name, name), 28)
        # one text per line: the reader's font is narrower than ours, and the ends must align
        at: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
        for k, part in enumerate(parts):
            ax.annotate(part, (0, i), (-8, -14 * (k - (len(parts) - 1) / 2)), ha="right", va="center", **at)


def strip_height(conditions: int, width: int = WIDE) -> float:
    """Height for new() that gives each row of strip() its room."""
    return 62 + (38 if width > NARROW else 52) * conditions


@style()
def lines(
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
    """Every seed a thin line (`frame`: condition, seed, x, y) under its condition's mean and band.

    `band` has the columns condition, x, mean, low, high.

    Lines are thinned to 150 points, 90 at phone width, evenly in x or in log x; the mean carries `marks` markers.
    """
    points = 90 if _narrow(ax) else POINTS
    ax.set_xscale("log" if logx else "linear")
    ax.set_yscale("log" if logy else "linear")
    _locate(ax)
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


def thin(frame: pd.DataFrame, keys: Sequence[str], x: str, points: int = POINTS, log: bool = False) -> pd.DataFrame:
    """At most `points` rows per group of `keys`, the first and last among them, evenly spaced in x (or in log x)."""
    kept = []
    for _, group in frame.groupby(list(keys), sort=False, observed=True):
        group = group.sort_values(x)
        if len(group) > points:
            values = group[x].to_numpy(float)
            scale = np.log(np.maximum(values, values[values > 0].min())) if log else values
            near = np.searchsorted(scale, np.linspace(scale[0], scale[-1], points))
            group = group.iloc[np.unique(np.clip([0, *near[1:-1], len(group) - 1], 0, len(group) - 1))]
        kept.append(group)
    return pd.concat(kept) if kept else frame


@style()
def histogram(ax: Axes, frame: pd.DataFrame, look: Look, *, fill: float = 0.3) -> None:
    """A step histogram from rows (left, right, density) of adjoining bins."""
    rows = frame.sort_values("left")
    edges = np.append(rows["left"].to_numpy(float), float(rows["right"].iloc[-1]))
    assert np.allclose(edges[1:], rows["right"].to_numpy(float)), f"bins do not adjoin: {edges}"
    ax.stairs(rows["density"], edges, color=look.color, fill=True, alpha=fill, linewidth=0)
    ax.stairs(rows["density"], edges, color=look.color, linewidth=1.2, baseline=None)
    ax.set_ylim(bottom=0)


@style()
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
    """Seeds as dots, their mean as a line, on log axes; the expectation (a column, or xs, ys, label) dashed."""
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
        curve(ax, *guide)
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
    _locate(ax)


@style()
def curve(ax: Axes, xs: Sequence[float], ys: Sequence[float], label: str = "", at: int = -1) -> None:
    """A theoretical curve, dashed, with its label beside point `at`."""
    ax.plot(xs, ys, color=REFERENCE, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    if label:
        side = "right" if at == -1 or at > len(xs) / 2 else "left"
        note = ax.annotate(
            label, (xs[at], ys[at]), (-4 if side == "right" else 4, 5), textcoords="offset points", ha=side
        )
        note.set(color=REFERENCE, fontsize=11, gid="class-halo")


@style()
def reference(ax: Axes, value: float, label: str = "", axis: str = "y", end: str = "right") -> None:
    """A dashed line where theory gives a value, along x (axis "y") or upright (axis "x"), with a short label."""
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


@style()
def mask(ax: Axes, matrix: np.ndarray, color: str = INK, xlabel: str = "unit", ylabel: str = "example") -> None:
    """A boolean matrix as the lecture draws it: a mark where it is true, row 0 on top."""
    rows, columns = matrix.shape
    ends: list[tuple[float, float]] = []
    for i, row in enumerate(np.asarray(matrix, dtype=bool)):
        steps = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        ends += [(float(step), i + 0.5) for step in steps]
    path = MarkPath(
        np.reshape(ends, (-1, 2)), [MarkPath.MOVETO, MarkPath.LINETO] * (len(ends) // 2)
    )  # a run is one stroke
    box = ax.get_position().height * _size(ax)[1]  # before layout: a little taller than what remains
    ax.add_patch(PathPatch(path, fill=False, edgecolor=color, linewidth=box / rows, capstyle="butt"))
    ax.set(xlim=(0, columns), ylim=(rows, 0), xlabel=xlabel, ylabel=ylabel)
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)


@style()
def key(fig: Figure, looks: Mapping[str, Look], titles: Mapping[str, str], names: Sequence[str] | None = None) -> None:
    """A legend of lines and markers above the panels, in as many columns as fit; the figure grows by its height."""
    shown = list(looks) if names is None else [name for name in looks if name in set(names)]
    width = fig.get_figwidth() * 72
    labels = [shorten(titles.get(name, name), 40 if width <= NARROW else 36) for name in shown]
    columns = max(1, min(len(shown), int((width - 10) / (48 + 7.2 * max(map(cells, labels))))))
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


def tick(value: float, _position: float | None = None) -> str:
    """A tick label: true minus, thin thousands, powers of ten as 10⁻⁴ beyond 0.001 and 100 000."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else ""
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.6g}".replace(",", "\u202f" if abs(value) >= 1e4 else "").replace("-", "−")
    power = math.floor(math.log10(abs(value)) + 1e-9)
    front = f"{value / 10**power:.3g}"
    text = f"10{str(power).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return {"1": text, "-1": f"−{text}"}.get(front, f"{front}×{text}".replace("-", "−"))


def cells(text: str) -> int:
    """Width of a text in character cells: wide characters and emoji count two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, width: int) -> str:
    """One line of at most `width` cells, cut with an ellipsis."""
    text = " ".join(clean(text).split())
    if cells(text) <= width:
        return text
    while cells(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, width: int, most: int = 2) -> list[str]:
    """At most `most` lines of at most `width` cells."""
    text = shorten(text, width * 4)
    found = [shorten(line, width) for line in textwrap.wrap(text, width)] or [""]
    return found if len(found) <= most else [*found[: most - 1], shorten(" ".join(found[most - 1 :]) + " …", width)]


def _size(ax: Axes) -> tuple[float, float]:
    """Width and height of the figure of an axes, in pixels."""
    fig = ax.get_figure(root=True)
    assert fig is not None
    return 72 * fig.get_figwidth(), 72 * fig.get_figheight()


def _narrow(ax: Axes) -> bool:
    return _size(ax)[0] <= NARROW + 1


class _Decades(Locator):
    """Powers of ten on a log axis; 1, 2, 5 or even plain steps between them where the axis spans too few."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __call__(self) -> Any:
        assert self.axis is not None
        low, high = sorted(self.axis.get_view_interval())
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Ticks within the limits, about `most` of them."""
        decades = math.log10(vmax / vmin) if vmin > 0 else math.inf
        if decades < 0.7:
            return MaxNLocator(self.most, steps=[1, 2, 2.5, 5, 10]).tick_values(vmin, vmax)
        subs = (1.0, 2.0, 5.0) if decades * 3 <= self.most + 1 else (1.0, 3.0) if decades < 2 else (1.0,)
        return LogLocator(10, subs=subs, numticks=self.most + 3).tick_values(vmin, vmax)


def _locate(ax: Axes) -> None:
    """Few, plain ticks: a phone's panel has room for four."""
    grid = ax.get_gridspec()
    rows, columns = (grid.nrows, grid.ncols) if grid is not None else (1, 1)
    width, height = _size(ax)[0] / columns, _size(ax)[1] / rows
    for axis, room in ((ax.xaxis, width / 75), (ax.yaxis, height / 45)):
        if axis.get_scale() == "log":
            axis.set_major_locator(_Decades(max(int(room), 3)))
            axis.set_minor_locator(NullLocator())
        else:
            axis.set_major_locator(MaxNLocator(max(int(room), 3), steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(tick))
        axis.set_minor_formatter(NullFormatter())


# --------------------------------------------------------------------------------------------------- from figure to SVG


def draw(name: str, alt: str, drawing: Callable[[int], Figure]) -> Drawing:
    """The drawing made at both widths: `drawing(width)` returns a figure from `new(..., width=width)`."""
    with style():
        wide, narrow = (svg(drawing(width), f"{name}-{suffix}", alt) for width, suffix in ((WIDE, "w"), (NARROW, "n")))
    return Drawing(name, alt, wide, narrow)


def save(fig: Figure, name: str, alt: str) -> Drawing:
    """A figure made once; a phone shows it in a box that scrolls sideways."""
    return Drawing(name, alt, svg(fig, f"{name}-w", alt))


def svg(fig: Figure, ident: str, alt: str) -> str:
    """Themed SVG text of a figure; `ident` prefixes its ids. ValueError: no alt text, or a colour outside the roles."""
    if not alt.strip():
        raise ValueError(f"figure {ident}: alt text is empty")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", ident):
        raise ValueError(f"figure name {ident!r}: lower-case words joined by '-' would do")
    FigureCanvasSVG(fig)
    buffer = io.StringIO()
    with style(), mpl.rc_context({"svg.hashsalt": ident}):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(_UNPRINTABLE.sub("", buffer.getvalue()))
    for parent in root.iter():
        for child in [c for c in parent if _tag(c) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        _restyle(element, ident)
    for parent in root.iter():
        for child in [c for c in parent if c.get("fill") == "none" and "s-" not in c.get("class", "")]:
            parent.remove(child)  # the transparent backgrounds of figure and axes
    _shorten_ids(root, ident)
    _hoist(root)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"class": "plot", "role": "img", "aria-labelledby": f"{ident}-desc", "id": ident}
    desc = ET.Element("desc", id=f"{ident}-desc")
    desc.text = clean(alt).replace("\n", " ")
    root.insert(0, desc)
    text = ET.tostring(root, encoding="unicode", short_empty_elements=True)
    return re.sub(r">\s+<", "><", re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace(" />", "/>"))


_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """Text an SVG can hold: no control characters but tab and line break, no lone surrogates."""
    return _UNPRINTABLE.sub("", str(text))


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _restyle(element: ET.Element, ident: str) -> None:
    """Turn style="…" into classes f-<role>, s-<role> and presentation attributes; drop namespaces; round numbers."""
    element.tag = _tag(element)
    for key in [k for k in element.attrib if k.startswith("{")]:
        element.attrib[key.rpartition("}")[2]] = element.attrib.pop(key)
    element.attrib.pop("space", None)
    declared = [part.partition(":")[::2] for part in element.attrib.pop("style", "").split(";") if ":" in part]
    properties = {key.strip(): value.strip() for key, value in declared}
    for key in ("fill", "stroke"):
        if key in element.attrib:
            properties.setdefault(key, element.attrib.pop(key))
    classes = element.attrib.pop("class", "").split()
    if element.attrib.get("id", "").startswith("class-"):  # artist.set_gid("class-halo"): a class for style.css
        classes.append(element.attrib.pop("id").removeprefix("class-"))
    for key, value in properties.items():
        if key in ("fill", "stroke") and value != "none":
            role = _ROLE_OF.get(value.lower())
            if role is None:
                raise ValueError(
                    f"figure {ident}: colour {value} is no role of the palette, so dark mode cannot change it"
                )
            classes.append(f"{key[0]}-{role}")
        elif key == "font":  # shorthand: "700 12px 'DejaVu Sans', …"
            size = re.search(r"([\d.]+)px", value)
            assert size, value
            element.set("font-size", _short(size[1]))
            if re.search(r"\b(bold|[6-9]00)\b", value):
                element.set("font-weight", "600")
        elif key == "font-weight":
            element.set(key, "600" if value in ("bold", "600", "700", "800") else "400")
        elif key != "font-family" and not (key in ("stroke-linejoin", "white-space") or value == "visible"):
            element.set(key, _rounded(value.removesuffix("px")))
    if classes:
        element.set("class", " ".join(classes))
    if "d" in element.attrib:
        element.set("d", _path(element.attrib["d"]))
    for key in ("x", "y", "transform", "width", "height"):
        if key in element.attrib:
            element.set(key, _rounded(element.attrib[key]))
    if re.match(r"rotate\(-?0 ", element.get("transform", "")):
        del element.attrib["transform"]


def _rounded(text: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda m: _short(m[0]), text) if "." in text else text


def _short(value: str | float, digits: int = 2) -> str:
    text = f"{float(value):.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _path(d: str) -> str:
    """The same path in relative steps of 0.1 (short ones 0.01) between rounded points, so that no error adds up."""
    tokens = re.findall(r"[MLCQZz]|-?[\d.]+(?:e-?\d+)?", d)
    unit, digits = (10, 1) if len(tokens) > 60 else (100, 2)
    out, here, i = [], (0, 0), 0
    while i < len(tokens):
        command = tokens[i]
        count = {"M": 2, "L": 2, "C": 6, "Q": 4}.get(command, 0)
        assert count or command in "Zz", f"path command {command} in {d[:80]}"
        points = [round(float(value) * unit) for value in tokens[i + 1 : i + 1 + count]]
        i += 1 + count
        if not count:
            out.append("z")
            continue
        x, y = points[-2:]
        if command == "M":
            out.append(f"M{_join(points, unit, digits)}")
        elif command == "L" and (x, y) == here:
            continue
        elif command == "L" and y == here[1]:
            out.append(f"h{_short((x - here[0]) / unit, digits)}")
        elif command == "L" and x == here[0]:
            out.append(f"v{_short((y - here[1]) / unit, digits)}")
        else:
            steps = [value - here[k % 2] for k, value in enumerate(points)]
            out.append(command.lower() + _join(steps, unit, digits))
        here = (x, y)
    return "".join(out)


def _join(values: Sequence[int], unit: int, digits: int) -> str:
    text = " ".join(_short(value / unit, digits) for value in values)
    return text.replace(" -", "-")


def _shorten_ids(root: ET.Element, ident: str) -> None:
    """Ids nothing refers to go; the rest become <ident>-0, -1, … in document order."""
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            used.update(re.findall(r"url\(#([^)]+)\)", value))
            if key == "href":
                used.add(value.removeprefix("#"))
    names: dict[str, str] = {}
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in used and old is not None:
            element.set("id", names.setdefault(old, f"{ident}-{len(names)}"))
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "href":
                element.set(key, "#" + names[value.removeprefix("#")])
            elif "url(#" in value:
                element.set(key, re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{names[m[1]]})", value))


_INHERITED = (
    "class",
    "stroke-width",
    "fill-opacity",
    "stroke-opacity",
    "stroke-dasharray",
    "stroke-linecap",
    "font-size",
)


def _hoist(element: ET.Element) -> None:
    """What all children of a group share (inherited properties) moves to the group; groups that say nothing go."""
    for child in element:
        _hoist(child)
    children = [c for c in element if c.tag != "defs"]
    if element.tag == "g" and len(children) > 1:
        for key in _INHERITED:
            values = {c.get(key) for c in children}
            if key not in element.attrib and len(values) == 1 and None not in values:
                element.set(key, values.pop() or "")
                for child in children:
                    del child.attrib[key]
    flat: list[ET.Element] = []
    for child in list(element):
        flat += list(child) if child.tag == "g" and not child.attrib else [child]
        element.remove(child)
    element.extend(flat)
