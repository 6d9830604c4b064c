"""The comparisons by which a claim can be judged: the key of each, and the keys that it needs besides."""

from __future__ import annotations

from typing import Literal

from study.errors import unknown

Comparison = Literal["near", "above", "below", "less_than", "equivalent_to"]
COMPARISONS: tuple[Comparison, ...] = ("near", "above", "below", "less_than", "equivalent_to")
Partner = Literal["within", "margin"]


def partner(comparison: Comparison) -> Partner | None:
    """The key that a claim must give together with this comparison, if any."""
    match comparison:
        case "near":
            return "within"
        case "equivalent_to":
            return "margin"
        case "above" | "below" | "less_than":
            return None
        case _:
            unknown(comparison)


def names_condition(comparison: Comparison) -> bool:
    """Whether the value of this comparison is the name of a condition, and not a bound.

    The claim is then about the difference from that condition, paired by seed. A claim with a bound is about every
    seed; it is about a difference only where it gives `minus`, too.
    """
    match comparison:
        case "near" | "above" | "below":
            return False
        case "less_than" | "equivalent_to":
            return True
        case _:
            unknown(comparison)
