"""Turn training curves into steps needed: when does a condition reach a loss of the reference?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FIFTH = 0.2  # the share of the steps so far over which a smoothed loss is the mean


@dataclass(frozen=True)
class Curve:
    """The minibatch losses of one training in bins.

    `ends` (bins,) are the steps taken at the end of each bin, and `total` (bins,) are the summed losses up to there.
    """

    ends: NDArray[np.float64]
    total: NDArray[np.float64]

    def smoothed(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean loss in nats over the last fifth of the first `steps` steps. Within a bin the loss is constant."""
        xs, ys = np.concatenate([[0.0], self.ends]), np.concatenate([[0.0], self.total])
        found: NDArray[np.float64] = (np.interp(steps, xs, ys) - np.interp((1 - FIFTH) * steps, xs, ys)) / (
            FIFTH * steps
        )
        return found

    def reaches(self, level: float) -> float:
        """The number of steps from which the smoothed loss stays at or below `level`, at the end of a bin; or inf.

        This is not the first bin at or below `level`: early bins are means of few minibatches, and chance would decide.
        """
        above = np.flatnonzero(self.smoothed(self.ends) > level + 1e-9 * abs(level))  # since sums are rounded
        first = 0 if not len(above) else int(above[-1]) + 1
        return float(self.ends[first]) if first < len(self.ends) else math.inf


def curve(rows: pd.DataFrame, steps: int) -> Curve:
    """The curve of one cell, which was trained for `steps` steps, from its rows of the table `curves`."""
    rows = rows.sort_values("first")
    first = rows["first"].to_numpy(float)
    ends = np.append(first[1:], float(steps))
    return Curve(ends, np.cumsum(rows["loss"].to_numpy(float) * (ends - first)))


def levels(steps: int) -> list[int]:
    """The steps of the reference whose losses are to be reached: a 200th, a 20th and half of its training."""
    return [n for n in (steps // 200, steps // 20, steps // 2) if n >= 10]
