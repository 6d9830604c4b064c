"""Training curves as steps wasted: when does each condition reach the loss that another needed so many steps for?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FIFTH = 0.2  # of the steps so far: what a smoothed loss is the mean of


@dataclass(frozen=True)
class Curve:
    """One training's minibatch losses in bins: `ends` (bins,) steps taken, `total` (bins,) summed losses up to there."""

    ends: NDArray[np.float64]
    total: NDArray[np.float64]

    def smoothed(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean loss over the last fifth of the first `steps` steps, nats; within a bin the loss counts as constant."""
        xs, ys = np.concatenate([[0.0], self.ends]), np.concatenate([[0.0], self.total])
        found: NDArray[np.float64] = (np.interp(steps, xs, ys) - np.interp((1 - FIFTH) * steps, xs, ys)) / (
            FIFTH * steps
        )
        return found

    def reaches(self, level: float) -> float:
        """Number of steps, at the end of a bin, from which the smoothed loss is at or below `level` to the end; or inf.

        Not the first bin that is as low: the early ones are means of few minibatches, and the luckiest would decide.
        """
        above = np.flatnonzero(self.smoothed(self.ends) > level + 1e-9 * abs(level))  # sums are rounded
        first = 0 if not len(above) else int(above[-1]) + 1
        return float(self.ends[first]) if first < len(self.ends) else math.inf


def curve(rows: pd.DataFrame, steps: int) -> Curve:
    """The curve of one cell from its rows of the table `curves`, trained for `steps` steps."""
    rows = rows.sort_values("first")
    first = rows["first"].to_numpy(float)
    ends = np.append(first[1:], float(steps))
    return Curve(ends, np.cumsum(rows["loss"].to_numpy(float) * (ends - first)))


def levels(steps: int) -> list[int]:
    """Step numbers of the reference whose losses are the levels: a 200th, a 20th and half of its training."""
    return [n for n in (steps // 200, steps // 20, steps // 2) if n >= 10]
