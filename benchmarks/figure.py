"""Draw the results as one SVG: every engine beside the limit, and the cost over models, width and depth."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.results import cost
from benchmarks.table import NORMS, digits

PATH = Path(__file__).with_name("results.svg")
TITLE = "What does one SGD step of one model cost?"
AXES = {"models": "models in training", "width": "width of the hidden level", "depth": "hidden levels of width 100"}
TICKS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
PALETTE = sns.color_palette("colorblind")
OURS = {"autograd": ("s", PALETTE[0]), "fused": ("o", PALETTE[1])}
LOOKS = {
    "none": ("o", PALETTE[2], -0.14),
    "batch": ("s", PALETTE[4], 0.14),
}  # the marker, the colour and the shift from the line
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "benchmarks",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "legend.frameon": False,
}


def draw(results: dict[str, Any]) -> str:
    """The figure as SVG text with a title and a description. The same results give the same bytes."""
    with sns.axes_style("ticks"), mpl.rc_context(STYLE):
        fig = Figure(figsize=(9.6, 6.4), layout="constrained")
        grid = fig.add_gridspec(2, len(AXES), height_ratios=(1.2, 1))
        engines(fig.add_subplot(grid[0, :]), results)
        for column, axis in enumerate(AXES):
            scaling(fig.add_subplot(grid[1, column]), results, axis)
        out = io.StringIO()
        FigureCanvasSVG(fig).print_svg(out, metadata={"Date": None, "Creator": None})
    before, _, rest = out.getvalue().partition("<svg ")
    attributes, _, content = rest.partition(">")
    words = f'<title id="title">{escape(TITLE)}</title><desc id="words">{escape(describe(results))}</desc>'
    return f'{before}<svg role="img" aria-labelledby="title words" {attributes}>{words}{content}'


def engines(ax: Axes, results: dict[str, Any]) -> None:
    """Draw a row per engine on one core: a mark per norm at the median, a bar from low to high, a line at the limit."""
    rows = [r for r in results["rows"] if r["cores"] == 1 and r["us_per_model_step"] is not None]
    names = {r["engine"]: r["title"] for r in results["rows"] if r["engine"] != "limit"}
    places = {engine: i for i, engine in enumerate(names)}
    for norm, (marker, color, shift) in LOOKS.items():
        here = [r for r in rows if r["norm"] == norm and r["engine"] in places]
        x, y = [r["us_per_model_step"] for r in here], [places[r["engine"]] + shift for r in here]
        spread = [[r["us_per_model_step"] - r["low"] for r in here], [r["high"] - r["us_per_model_step"] for r in here]]
        ax.errorbar(x, y, xerr=spread, fmt=marker, color=color, markersize=5, label=NORMS[norm])
        for value, height in zip(x, y, strict=True):
            above = (0, 5 if shift < 0 else -13)
            ax.annotate(digits(value), (value, height), above, textcoords="offset points", ha="center", fontsize=8)
    limit = cost(results, "limit", "none")
    if limit is not None:
        ax.axvline(limit, color="0.5", linestyle="--", linewidth=1, label=f"matrix products alone, {digits(limit)}")
    ax.set(xscale="log", xlabel="µs per model-step on one core", title=TITLE)
    ax.set_yticks(list(places.values()), list(names.values()))
    ax.set_ylim(len(places) - 0.4, -0.7)
    ax.xaxis.set_major_locator(FixedLocator(TICKS))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.legend(loc="lower right")


def scaling(ax: Axes, results: dict[str, Any], axis: str) -> None:
    """Draw µs per model-step over one axis, with median and range per engine, beside the matrix products alone."""
    rows = sorted((r for r in results["scaling"] if r["axis"] == axis), key=lambda r: r["value"])
    for engine, (marker, color) in OURS.items():
        here = [r for r in rows if r["engine"] == engine and r["us_per_model_step"] is not None]
        x, y, low, high = ([r[key] for r in here] for key in ("value", "us_per_model_step", "low", "high"))
        ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
        ax.plot(x, y, marker + "-", color=color, markersize=4, label=engine)
    limit = cost(results, "limit", "none")
    if limit is not None:
        points = {r["value"]: limit * r["mflop"] / results["work"]["mflop"] for r in rows}
        ax.plot(list(points), list(points.values()), "--", color="0.5", linewidth=1, label="matrix products")
    ax.set(xlabel=AXES[axis], ylabel="µs per model-step" if axis == "models" else "")
    if axis == "models":
        values = sorted({r["value"] for r in rows})
        ax.set_xscale("log")
        ax.set_xticks(values, [str(value) for value in values])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.legend(fontsize=8)
    ax.set_ylim(bottom=0)


def describe(results: dict[str, Any]) -> str:
    """The text alternative: the figure in words."""
    parts = []
    for row in results["rows"]:
        if row["cores"] == 1 and row["norm"] == "none":
            value = row["us_per_model_step"]
            parts.append(f"{row['title']} {'absent' if value is None else f'{digits(value)} µs'}")
    text = f"Cost of a model-step on one core without a norm: {'; '.join(parts)}."
    for axis, label in AXES.items():
        rows = [r for r in results["scaling"] if (r["axis"], r["engine"]) == (axis, "fused") and r["us_per_model_step"]]
        if rows:
            ends = (min(rows, key=lambda r: r["value"]), max(rows, key=lambda r: r["value"]))
            costs = ", ".join(f"{digits(r['us_per_model_step'])} µs at {r['value']}" for r in ends)
            text += f" Fused over {label}: {costs}."
    return text


def write(results: dict[str, Any], path: Path = PATH) -> None:
    """Write the figure beside the results."""
    path.write_text(draw(results), encoding="utf-8")
