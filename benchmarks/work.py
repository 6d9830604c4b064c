"""What every peer does: models of one condition of experiments.yaml on its data, and the operations that this takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from study.data import words
from study.data.examples import Dataset, Split, dataset
from study.network.layers import Network
from study.rng import streams
from study.spec import read as resolve
from study.spec.records import Spec
from study.training.cells import Cell, Schedule, Stack

STUDY = Path(__file__).parents[1] / "experiments.yaml"
CONDITIONS = {"none": "kaiming", "batch": "batchnorm"}  # the condition that stands for a norm
MODELS = 8  # of the engines that train several at once
STEPS = 10_000_000  # no peer gets there: a slice continues where the last one of its peer stopped


@dataclass(frozen=True)
class Work:
    """One job of a peer: `models` models, their seeds from 0, with the hidden widths of the condition or of its own."""

    norm: str
    models: int = MODELS
    widths: tuple[int, ...] | None = None

    @property
    def network(self) -> Network:
        """The network of the condition; other widths repeat its first hidden level."""
        network = study().condition(CONDITIONS[self.norm]).network
        if self.widths is None:
            return network
        return replace(network, widths=self.widths, hidden=(network.hidden[0],) * len(self.widths))

    @property
    def schedule(self) -> Schedule:
        """The first learning rate of the condition, for as long as it takes."""
        schedule = study().condition(CONDITIONS[self.norm]).schedule
        return Schedule(schedule.batch_size, STEPS, schedule.lr[:1])

    @property
    def stack(self) -> Stack:
        """The models as cells of the paired protocol: the same draws and minibatches for every peer."""
        return Stack(tuple(Cell(self.network, seed, "paired", self.schedule) for seed in range(self.models)))


class Minibatches:
    """Rows of the training split for the next steps of every model; drawn apart from training, so never timed."""

    def __init__(self, work: Work) -> None:
        self._streams = [streams(cell.seed, cell.protocol) for cell in work.stack.cells]
        self._high, self._batch_size = len(training_split().Y), work.schedule.batch_size
        self._rows = self._fresh(0)

    def _fresh(self, steps: int) -> Tensor:
        return torch.stack([s.indices(self._high, steps, self._batch_size) for s in self._streams], dim=1)

    def draw(self, steps: int) -> None:
        """Have the rows of the next `steps` steps at hand."""
        self._rows = torch.cat([self._rows, self._fresh(max(0, steps - len(self._rows)))])

    def take(self, steps: int) -> Tensor:
        """Rows of the next `steps` steps, which must have been drawn. (steps, M, batch) int64"""
        assert len(self._rows) >= steps, f"{len(self._rows)} steps drawn, {steps} wanted"
        taken, self._rows = self._rows[:steps], self._rows[steps:]
        return taken


@cache
def study() -> Spec:
    """The project's own study at its full profile."""
    return resolve.read_study(STUDY)


@cache
def examples() -> Dataset:
    """The splits of the study's word list."""
    return dataset(words.load(study().data, study().folder), study().conditions[0].network.context)


def training_split() -> Split:
    """X (N, T), Y (N,) of the training split."""
    return examples().splits["train"]


def flops(network: Network, vocabulary: int, batch_size: int) -> int:
    """Multiplications and additions of the matrix products of one SGD step of one model.

    A level of fan_in → fan_out takes three products of 2 · batch · fan_in · fan_out: x @ W, the gradient of W and the
    gradient of x. The first level needs all three as well, since its x is made of rows of C, which are trained. Biases,
    activations, norms, softmax, the gather of rows and the update are not counted: linear in the activations.
    """
    return sum(3 * 2 * batch_size * fan_in * fan_out for fan_in, fan_out in network.shapes(vocabulary))


def distinct_characters(X: Tensor, vocabulary: int, batch_size: int) -> list[float]:
    """Expected distinct characters at each position of a minibatch of contexts X (N, T): Σ 1 − (1 − p)^batch."""
    counts = torch.stack([torch.bincount(column, minlength=vocabulary) for column in X.T])  # (T, V)
    shares = counts.double() / len(X)
    return (1 - (1 - shares) ** batch_size).sum(1).tolist()  # type: ignore[no-any-return]


def distinct_flops(network: Network, vocabulary: int, batch_size: int, distinct: list[float]) -> float:
    """As `flops`, with the first level's products taken once per position and distinct character.

    Added are the sums that this needs: T rows of width H per example, forward, and one backward.
    """
    (fan_in, H), E, T = network.shapes(vocabulary)[0], network.embedding_size, network.context
    first = 3 * 2 * sum(distinct) * E * H + 2 * batch_size * T * H
    return flops(network, vocabulary, batch_size) - 3 * 2 * batch_size * fan_in * H + first


def summary() -> dict[str, Any]:
    """What one model-step is, and how many operations its matrix products take, in MFLOP."""
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
