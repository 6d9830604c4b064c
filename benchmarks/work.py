"""The work of every peer: models of a condition of experiments.yaml on its data, and the operations that it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from study.data.examples import Dataset, Split
from study.network.layers import Network
from study.rng import streams
from study.spec import read as resolve
from study.spec.records import Spec
from study.training.cells import Cell, Schedule, Stack

STUDY = Path(__file__).parents[1] / "experiments.yaml"
CONDITIONS = {"none": "kaiming", "batch": "batchnorm"}  # the condition that represents a norm
MODELS = 8  # the number of models of engines that train several at once
STEPS = 10_000_000  # no peer reaches it: each slice continues after the last one of its peer


@dataclass(frozen=True)
class Work:
    """The work of a peer: `models` models with seeds from 0, and the hidden widths of the condition or others."""

    norm: str
    models: int = MODELS
    widths: tuple[int, ...] | None = None

    @property
    def network(self) -> Network:
        """The network of the condition. Other widths repeat its first hidden layer."""
        network = study().condition(CONDITIONS[self.norm]).network
        if self.widths is None:
            return network
        return replace(network, widths=self.widths, hidden=(network.hidden[0],) * len(self.widths))

    @property
    def schedule(self) -> Schedule:
        """A schedule with the first learning rate of the condition, without an end that a peer could reach."""
        schedule = study().condition(CONDITIONS[self.norm]).schedule
        return Schedule(schedule.batch_size, STEPS, schedule.lr[:1])

    @property
    def stack(self) -> Stack:
        """The models as cells of the paired protocol, so that draws and minibatches are the same for every peer."""
        return Stack(tuple(Cell(self.network, seed, "paired", self.schedule) for seed in range(self.models)))


class Minibatches:
    """The minibatches of every model as rows of the training split. They are drawn before training, and never timed."""

    def __init__(self, work: Work) -> None:
        self._streams = [streams(cell.seed, cell.protocol) for cell in work.stack.cells]
        self._high, self._batch_size = len(training_split().Y), work.schedule.batch_size
        self._rows = self._fresh(0)

    def _fresh(self, steps: int) -> Tensor:
        return torch.stack([s.indices(self._high, steps, self._batch_size) for s in self._streams], dim=1)

    def draw(self, steps: int) -> None:
        """Draw the rows of the next `steps` steps."""
        self._rows = torch.cat([self._rows, self._fresh(max(0, steps - len(self._rows)))])

    def take(self, steps: int) -> Tensor:
        """The rows of the next `steps` steps, which must have been drawn, (steps, M, batch) int64."""
        assert len(self._rows) >= steps, f"{len(self._rows)} steps drawn, {steps} wanted"
        taken, self._rows = self._rows[:steps], self._rows[steps:]
        return taken


@cache
def study() -> Spec:
    """The study of the project in its full profile."""
    return resolve.read_study(STUDY)


@cache
def examples() -> Dataset:
    """The splits of the study's word list."""
    return study().data.load(study().folder).dataset(study().conditions[0].network.context)


def training_split() -> Split:
    """The training split, X (N, T) and Y (N,)."""
    return examples().splits["train"]


def flops(network: Network, vocabulary: int, batch_size: int) -> int:
    """The number of multiplications and additions in the matrix products of one SGD step of one model.

    A layer of fan_in → fan_out takes three products of 2 · batch · fan_in · fan_out: x @ W, the gradient of W and the
    gradient of x. The first layer needs all three as well, since its x is made of rows of C, which are trained. Biases,
    activations, norms, softmax, the gather of rows and the update are not counted: linear in the activations.
    """
    return sum(3 * 2 * batch_size * fan_in * fan_out for fan_in, fan_out in network.shapes(vocabulary))


def distinct_characters(X: Tensor, vocabulary: int, batch_size: int) -> list[float]:
    """The expected number of distinct characters at each position of a minibatch of X (N, T): Σ 1 − (1 − p)^batch."""
    counts = torch.stack([torch.bincount(column, minlength=vocabulary) for column in X.T])  # (T, V)
    shares = counts.double() / len(X)
    return (1 - (1 - shares) ** batch_size).sum(1).tolist()  # type: ignore[no-any-return]


def distinct_flops(network: Network, vocabulary: int, batch_size: int, distinct: list[float]) -> float:
    """The same as `flops`, where the products of the first layer are taken once per position and distinct character.

    The sums that this needs are added: T rows of width H per example in the forward pass, and one in the backward pass.
    """
    (fan_in, H), E, T = network.shapes(vocabulary)[0], network.embedding_size, network.context
    first = 3 * 2 * sum(distinct) * E * H + 2 * batch_size * T * H
    return flops(network, vocabulary, batch_size) - 3 * 2 * batch_size * fan_in * H + first


def summary() -> dict[str, Any]:
    """The meaning of one model-step, and the operations of its matrix products in MFLOP."""
    work, vocabulary = Work("none"), examples().vocabulary
    network, batch_size = work.network, work.schedule.batch_size
    distinct = distinct_characters(training_split().X, vocabulary, batch_size)
    sizes = "→".join(map(str, (network.embedding_size, *network.widths, vocabulary)))
    return {
        "setup": f"{network.context}×{sizes}",
        "batch_size": batch_size,
        "mflop": flops(network, vocabulary, batch_size) / 1e6,
        "mflop_distinct": round(distinct_flops(network, vocabulary, batch_size, distinct) / 1e6, 4),
    }
