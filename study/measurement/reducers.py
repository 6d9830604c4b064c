"""Reduce chunks of values, one after another, to one number per model. Torch is loaded when a reducer is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from study.measurement.evaluate import Moments


class Reducer:
    """Reduces chunks of values (M, n, …), each of which occurs weights (n,) times, to one number per model, (M,)."""

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Add a chunk."""
        raise NotImplementedError

    def result(self) -> Tensor:
        """The number of every model, (M,)."""
        raise NotImplementedError


class Mean(Reducer):
    """The mean over examples of values (M, n), in float64."""

    def __init__(self) -> None:
        import torch

        self._total, self._n = torch.zeros((), dtype=torch.float64), 0.0

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Add values (M, n)."""
        self._total = self._total + (values.double() * weights).sum(1)
        self._n += float(weights.sum())

    def result(self) -> Tensor:
        """The number of every model, (M,)."""
        return self._total / self._n


class All(Reducer):
    """The share of units for which values (M, n, H) are true on every example."""

    def __init__(self) -> None:
        self._all: Tensor | None = None

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Add booleans (M, n, H). The weights of the contexts play no part."""
        import torch

        every = torch.from_numpy(values.numpy().all(1))  # (M, H); torch takes ten times as long
        self._all = every if self._all is None else self._all & every

    def result(self) -> Tensor:
        """The number of every model, (M,)."""
        assert self._all is not None, "no chunk was added"
        return self._all.double().mean(1)


class Extreme(Reducer):
    """The largest or the smallest of all values."""

    def __init__(self, what: Literal["largest", "smallest"]) -> None:
        import torch

        self._pick = torch.amax if what == "largest" else torch.amin
        self._value: Tensor | None = None

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Add values (M, n, H)."""
        import torch

        chunk = self._pick(values.flatten(1), 1)  # (M,)
        self._value = chunk if self._value is None else self._pick(torch.stack([self._value, chunk]), 0)

    def result(self) -> Tensor:
        """The number of every model, (M,)."""
        assert self._value is not None, "no chunk was added"
        return self._value.double()


class Chunk:
    """The moments of the newest chunk's tensors. Those of a tensor are computed once for all reducers."""

    def __init__(self) -> None:
        self._weights: Tensor | None = None
        self._known: list[tuple[Tensor, Moments]] = []

    def moments(self, values: Tensor, weights: Tensor) -> Moments:
        """The moments of values (M, n, H), each of which occurs `weights` (n,) times."""
        if weights is not self._weights:
            self._weights, self._known = weights, []
        for tensor, moments in self._known:
            if tensor is values:
                return moments
        from study.measurement.evaluate import Moments

        moments = Moments.of(values, weights)
        self._known.append((values, moments))
        return moments


class Spread(Reducer):
    """The mean or the std over examples and units together."""

    def __init__(self, what: Literal["mean", "std"]) -> None:
        from study.measurement.evaluate import Moments

        self._what, self._moments = what, Moments()
        self.chunk = Chunk()

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Add values (M, n, H)."""
        self._moments.add(self.chunk.moments(values, weights))

    def result(self) -> Tensor:
        """The number of every model, (M,)."""
        import torch

        # torch adds up the rows of a matrix in another order than a row alone: in a stack, too, each model is by itself
        means, squares = (each.flatten(1).split(1) for each in (self._moments.mean, self._moments.squares))  # (1, H)
        mean = torch.cat([own.mean(1) for own in means])  # (M,)
        if self._what == "mean":
            return mean
        # All units weigh the same, so that the variance of all values is that within units plus that between them.
        between = torch.cat([own.var(1, correction=0) for own in means])
        return (torch.cat([own.mean(1) for own in squares]) / self._moments.n + between).sqrt()
