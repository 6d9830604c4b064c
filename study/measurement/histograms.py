"""Count the values of one model in fixed bins, so that the counts of seeds and of chunks can be added up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from study.measurement.metrics import artanh, not_below
from study.network.activations import ACTIVATIONS
from study.network.layers import Layer


@dataclass(frozen=True)
class Bins:
    """Bins from −reach to reach, equally wide in asinh(x / knee), or in x where there is no knee.

    One more bin at each end holds all other values. With a knee the bins are narrow around 0 and wide in the tails, so
    that logits of ±0.3 and of ±30 are both visible. The bin of a value is found by comparison with stored edges alone,
    so that it does not depend on a function whose last bit depends on the CPU. For the same reason the bin of an output
    of tanh (`through`) is found from the input of tanh, by comparison with the artanh of the edges.
    """

    reach: float
    count: int
    knee: float | None = None
    through: Literal["", "tanh"] = ""

    def edges(self) -> list[float]:
        """The count + 3 edges of the bins. The first is −inf, and the last is inf."""
        return list(_edges(self))

    def bounds(self, dtype: torch.dtype) -> Tensor:
        """The count + 1 bounds with which values are compared, (count + 1,).

        They are the finite edges (`through` tanh: the artanh of them), each as the smallest number of `dtype` that is
        not below it.
        """
        return _bounds(self, dtype)


def _inner(bins: Bins) -> list[Decimal]:
    """The count + 1 finite edges. Where there is a knee they have 40 digits, so that they are rounded only once."""
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


# The edges are fixed, so that histograms of seeds and of chunks can be added up. The outputs of tanh fill [−1, 1].
BINS = {
    "preact": Bins(40, 160, knee=2.0),
    "h": Bins(1, 80, through="tanh"),
    "h bounded": Bins(1, 80),
    "h unbounded": Bins(40, 160, knee=2.0),
    "logits": Bins(100, 200, knee=0.5),
}


class Histogram:
    """The counts (count + 2,) float64 of all values of one model, added up chunk by chunk."""

    def __init__(self, bins: Bins) -> None:
        self.bins = bins
        self.counts = torch.zeros(bins.count + 2, dtype=torch.float64)

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Count values (n, H), of which each row occurs `weights` (n,) times. NaN is not counted.

        The values are h, or the inputs of tanh where the bins are `through` tanh.
        """
        bounds = self.bins.bounds(values.dtype)
        index = torch.bucketize(values, bounds, right=True)  # (n, H), where 0 means below the first edge
        index.masked_fill_(values == bounds[-1], self.bins.count)  # the last bin is closed, so that h = 1 is inside
        weight = weights.view(-1, 1).expand_as(index)
        missing = values.isnan()
        if bool(missing.any()):  # a NaN has weight 0
            weight = weight.masked_fill(missing, 0.0)
        self.counts += torch.bincount(index.flatten(), weights=weight.flatten(), minlength=self.bins.count + 2)


def bins_of(quantity: str, layer: Layer) -> Bins:
    """The bins of preact, h or logits in a layer."""
    if quantity != "h":
        return BINS[quantity]
    if layer.activation == "tanh":
        return BINS["h"]
    return BINS["h bounded" if ACTIVATIONS[layer.activation].bounded else "h unbounded"]
