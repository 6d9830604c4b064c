"""The style of all figures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import seaborn as sns

from study.report.figures.look import GRID, INK, MUTED, PAPER


@contextmanager
def styled() -> Iterator[None]:
    """Draw with seaborn's "ticks" theme: one pixel per point, colours as roles, text as text, no mathtext in titles."""
    rc: dict[Any, Any] = {
        "figure.dpi": 72,
        "savefig.dpi": 72,
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.size": 12,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "axes.labelsize": 12,
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 7,
        "legend.fontsize": 12,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "legend.frameon": False,
        "axes.linewidth": 0.8,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelpad": 4,
        "lines.linewidth": 1.6,
        "lines.markersize": 5,
        "xtick.major.width": 0.8,
        "ytick.major.width": 0.8,
        "xtick.major.size": 3.5,
        "ytick.major.size": 3.5,
        "xtick.major.pad": 3,
        "ytick.major.pad": 3,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "axes.facecolor": "none",
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.edgecolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "patch.edgecolor": PAPER,
    }
    with sns.axes_style("ticks"), mpl.rc_context(rc), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")  # the reader's fonts draw the glyph
        yield
