"""Values of one model, counted in fixed bins, so that counts of seeds and chunks add up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from study.errors import unknown
from study.measurement.metrics import artanh, not_below
from study.network.layers import Layer


@dataclass(frozen=True)
class Bins:
    """Bins from −reach to reach, equal in asinh(x / knee), or in x without a knee; one more at each end for the rest.

    With a knee they are fine around 0 and wide in the tails: logits of ±0.3 and of ±30 are both seen. A value is found
    among stored edges by comparison alone, so that no function whose last bit depends on the CPU decides where it is.
    For the same reason outputs of tanh are found by what tanh saw (`through`), among the artanh of the edges.
    """

    reach: float
    count: int
    knee: float | None = None
    through: Literal["", "tanh"] = ""

    def edges(self) -> list[float]:
        """count + 3 edges, the first −inf and the last inf."""
        return list(_edges(self))

    def bounds(self, dtype: torch.dtype) -> Tensor:
        """What values are compared with: the count + 1 finite edges (through tanh: their artanh), each as the smallest
        number of `dtype` that is not below it."""
        return _bounds(self, dtype)


def _inner(bins: Bins) -> list[Decimal]:
    """The count + 1 finite edges; those with a knee to 40 digits, since they are rounded once."""
    if bins.knee is None:
        return [Decimal(bins.reach * (2 * i / bins.count - 1)) for i in range(bins.count + 1)]
    with localcontext(prec=40):
        knee = Decimal(bins.knee)
        ratio = Decimal(bins.reach) / knee
        end = (ratio + (ratio * ratio + 1).sqrt()).ln()  # asinh
        places = [end * (2 * i - bins.count) / bins.count for i in range(bins.count + 1)]
        return [knee * (place.exp() - (-place).exp()) / 2 for place in places]  # sinh


@cache
def _edges(bins: Bins) -> tuple[float, ...]:
    return (-math.inf, *map(float, _inner(bins)), math.inf)


@cache
def _bounds(bins: Bins, dtype: torch.dtype) -> Tensor:
    exact = [Decimal(float(edge)) for edge in _inner(bins)]
    if bins.through:
        with localcontext(prec=40):
            exact = [artanh(edge) for edge in exact]
    return torch.tensor([not_below(edge, dtype) for edge in exact], dtype=dtype)


# fixed edges, so that histograms of seeds and chunks add up; tanh's outputs fill [−1, 1]
BINS = {
    "preact": Bins(40, 160, knee=2.0),
    "h": Bins(1, 80, through="tanh"),
    "h unbounded": Bins(40, 160, knee=2.0),
    "logits": Bins(100, 200, knee=0.5),
}


class Histogram:
    """Counts (count + 2,) float64 of all values of one model, streamed."""

    def __init__(self, bins: Bins) -> None:
        self.bins = bins
        self.counts = torch.zeros(bins.count + 2, dtype=torch.float64)

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in values (n, H), each row seen `weights` (n,) times: h, or what tanh saw where the bins are `through`
        it. NaN are left out."""
        bounds = self.bins.bounds(values.dtype)
        index = torch.bucketize(values, bounds, right=True)  # (n, H), 0: below the first edge
        index.masked_fill_(values == bounds[-1], self.bins.count)  # the last bin is closed, so that h = 1 is inside
        weight = weights.view(-1, 1).expand_as(index)
        missing = values.isnan()
        if bool(missing.any()):  # a NaN counts as nothing
            weight = weight.masked_fill(missing, 0.0)
        self.counts += torch.bincount(index.flatten(), weights=weight.flatten(), minlength=self.bins.count + 2)


def bins_of(quantity: str, layer: Layer) -> Bins:
    """The bins of preact, h or logits at a level."""
    if quantity != "h":
        return BINS[quantity]
    match layer.activation:
        case "tanh":
            return BINS["h"]
        case "relu" | "linear":
            return BINS["h unbounded"]
        case _:
            unknown(layer.activation)
