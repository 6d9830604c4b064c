"""Chunks of values, streamed, as one figure per model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from study.measurement.evaluate import Moments


class Reducer:
    """Chunks of values (M, n, …), seen weights (n,) times each, as one figure per model, (M,)."""

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in a chunk."""
        raise NotImplementedError

    def result(self) -> Tensor:
        """The figure. (M,)"""
        raise NotImplementedError


class Mean(Reducer):
    """Mean over examples of values (M, n), float64."""

    def __init__(self) -> None:
        self._total, self._n = torch.zeros((), dtype=torch.float64), 0.0

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in values (M, n)."""
        self._total = self._total + (values.double() * weights).sum(1)
        self._n += float(weights.sum())

    def result(self) -> Tensor:
        """(M,)"""
        return self._total / self._n


class All(Reducer):
    """Share of units for which values (M, n, H) are true on every example."""

    def __init__(self) -> None:
        self._all: Tensor | None = None

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in booleans (M, n, H); a context counts however often it occurs."""
        every = values.all(1)  # (M, H)
        self._all = every if self._all is None else self._all & every

    def result(self) -> Tensor:
        """(M,)"""
        assert self._all is not None, "no chunk was added"
        return self._all.double().mean(1)


class Extreme(Reducer):
    """Largest (or smallest) value over everything."""

    def __init__(self, pick: Callable[..., Tensor]) -> None:
        self._pick = pick
        self._value: Tensor | None = None

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in values (M, n, H)."""
        chunk = self._pick(values.flatten(1), 1)  # (M,)
        self._value = chunk if self._value is None else self._pick(torch.stack([self._value, chunk]), 0)

    def result(self) -> Tensor:
        """(M,)"""
        assert self._value is not None, "no chunk was added"
        return self._value.double()


class Chunk:
    """Moments of the newest chunk's tensors, each found once however many reducers ask for it."""

    def __init__(self) -> None:
        self._weights: Tensor | None = None
        self._known: list[tuple[Tensor, Moments]] = []

    def moments(self, values: Tensor, weights: Tensor) -> Moments:
        """Those of values (M, n, H), seen `weights` (n,) times each."""
        if weights is not self._weights:
            self._weights, self._known = weights, []
        for tensor, moments in self._known:
            if tensor is values:
                return moments
        moments = Moments.of(values, weights)
        self._known.append((values, moments))
        return moments


class Spread(Reducer):
    """Mean or std over examples and units together."""

    def __init__(self, what: Literal["mean", "std"]) -> None:
        self._what, self._moments = what, Moments()
        self.chunk = Chunk()

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Take in values (M, n, H)."""
        self._moments.add(self.chunk.moments(values, weights))

    def result(self) -> Tensor:
        """(M,)"""
        m, n = self._moments, self._moments.n
        mean = m.mean.flatten(1)  # (M, H), over examples
        if self._what == "mean":
            return mean.mean(1)
        # all units weigh the same, so the spread over everything is that within units and that between them
        return (m.squares.flatten(1).mean(1) / n + mean.var(1, correction=0)).sqrt()
