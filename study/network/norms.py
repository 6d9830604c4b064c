"""The norms that a layer may have, and the statistics with which a model is read."""

from __future__ import annotations

from typing import Literal

from study.errors import unknown

Norm = Literal["none", "batch"]
Reading = Literal["none", "batch", "running", "calibrated"]


def reading_at(statistics: Reading, step: int) -> Reading:
    """The statistics that a model is read with at a step: before the first one there are no running ones yet, so that
    it is calibrated."""
    match statistics:
        case "running":
            return "calibrated" if step == 0 else "running"
        case "none" | "calibrated" | "batch":
            return statistics
        case _:
            unknown(statistics)
