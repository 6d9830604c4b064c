"""Colours as roles, one look per condition, one style for all figures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import seaborn as sns

WIDE, NARROW = 680, 350  # logical pixels: a column of text, and a phone
POINTS = 150  # a line on the page has no more
SLOTS = 8  # hues before marker and dash alone tell conditions apart

# A colour in matplotlib is only a name for a role: style.css says what it looks like, in light and in dark.
ROLES = ("ink", "muted", "grid", "paper", "reference", *(f"c{i}" for i in range(SLOTS)))
SENTINELS = {role: f"#5a17{i:02x}" for i, role in enumerate(ROLES)}
ROLE_OF = {color: role for role, color in SENTINELS.items()}
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
