"""Colours as roles, and one look per condition. No matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

WIDE, NARROW = 680, 350  # logical pixels: a column of text, and a phone
FONT_POINTS = 150  # a line on the page has no more
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


def palette(names: Iterable[str]) -> dict[str, Look]:
    """One look per name, by position: the first eight differ in hue, 56 in (hue, marker), 224 in (hue, marker, dash).

    Appending a name changes no other look, so the order of the study file fixes the colours.
    """
    looks = {}
    for i, name in enumerate(dict.fromkeys(names)):
        marker, shape = MARKERS[i % len(MARKERS)]
        looks[name] = Look(i % SLOTS, marker, shape, DASHES[(i // SLOTS) % len(DASHES)])
    return looks
