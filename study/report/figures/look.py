"""The colours of figures as roles, and the look of each condition. This module loads no matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

WIDE, NARROW = 680, 350  # logical pixels: a column of text, and a phone
FONT_POINTS = 150  # the largest number of points of a line on the page
SLOTS = 8  # the number of hues; more conditions differ in marker and dash alone

# A colour in matplotlib only names a role. style.css sets the colour of each role, in light and in dark mode.
ROLES = ("ink", "muted", "grid", "paper", "reference", *(f"c{i}" for i in range(SLOTS)))
SENTINELS = {role: f"#5a17{i:02x}" for i, role in enumerate(ROLES)}
ROLE_OF = {color: role for role, color in SENTINELS.items()}
INK, MUTED, GRID, PAPER, REFERENCE = (SENTINELS[role] for role in ROLES[:5])

# matplotlib's marker, and the same shape around the origin, for the swatches in tables
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
    """The look of a condition: its colour slot, its marker (with an SVG shape) and its dash pattern ("" is solid)."""

    slot: int
    marker: str
    shape: str
    dash: str

    @property
    def color(self) -> str:
        """The colour of the slot, for a call of matplotlib or seaborn."""
        return SENTINELS[f"c{self.slot}"]

    @property
    def linestyle(self) -> Any:
        """The dash pattern in matplotlib's form, in units of the line width 1.6."""
        return (0, tuple(float(part) / 1.6 for part in self.dash.split())) if self.dash else "-"


def palette(names: Iterable[str]) -> dict[str, Look]:
    """A look per name, by its position: the first 8 differ in hue, 56 in hue or marker, 224 in hue, marker or dash.

    A new name at the end changes no other look, so that the order of the study file determines the colours.
    """
    looks = {}
    for i, name in enumerate(dict.fromkeys(names)):
        marker, shape = MARKERS[i % len(MARKERS)]
        looks[name] = Look(i % SLOTS, marker, shape, DASHES[(i // SLOTS) % len(DASHES)])
    return looks
