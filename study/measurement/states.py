"""Turn blocks of initial states into rows: draw the networks and measure them, several at a time where that pays.

The bits of a state's numbers do not depend on its neighbours. What is added up over a stack of models may be added in
another order than for one model alone, by the shapes of the matrices: so the first stack of each size is measured model
by model as well, and the states are measured one by one wherever a single number differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
from torch import Tensor

from study.data.examples import Dataset
from study.measurement.evaluate import CHUNK, calibrate, chunks, split_loss
from study.measurement.initial import Block, States, Wanted, as_table
from study.measurement.measure import finite, gradient_rows, readings
from study.measurement.rows import Row
from study.measurement.signals import Pieces, read_signals
from study.network.inits import Facts
from study.network.layers import Network
from study.rng import streams

MOST = 32  # models in a stack at most: more of them save no time

Report = Callable[[int], None]  # the number of states that are done
Seeded = tuple[Network, int]  # a network, and the seed that it is drawn with


def measure_states(states: States, data: Dataset, report: Report = lambda done: None) -> dict[Block, pa.Table]:
    """The rows of every block, with the columns of `initial.SCHEMA`, state by state in the order of its seeds."""
    models = [(block.network, seed) for block in states.blocks for seed in block.seeds]
    rows: list[list[Row]] = []
    for part in measured(models, states.wanted, data):
        rows += part
        report(len(rows))
    found, start = {}, 0
    for block in states.blocks:
        own = rows[start : start + len(block.seeds)]
        found[block] = as_table([row for state in own for row in state])
        start += len(block.seeds)
    return found


def measured(models: Sequence[Seeded], wanted: Wanted, data: Dataset) -> Iterator[list[list[Row]]]:
    """The rows of each model of one graph, stack by stack."""
    pieces = list(chunks(data.splits["train"], models[0][0]))
    size, agree = stack_size(models[0][0], pieces, data.vocabulary), dict[int, bool]()
    for start in range(0, len(models), size):
        part = models[start : start + size]
        if not agree.get(len(part), True):
            yield [row for model in part for row in _measured([model], wanted, data, pieces)]
            continue
        found = _measured(part, wanted, data, pieces)
        if len(part) > 1 and len(part) not in agree:
            alone = [row for model in part for row in _measured([model], wanted, data, pieces)]
            agree[len(part)] = repr(alone) == repr(found)  # as text, since NaN is not equal to itself
            found = alone
        yield found


def stack_size(network: Network, pieces: Sequence[tuple[Tensor, Tensor]], vocabulary: int) -> int:
    """The number of models in a stack: as many as have the chunks of one model of `evaluate.CHUNK` numbers together.

    One model of the lecture's network fills a chunk by itself. A stack of four takes longer for each of them, since its
    chunk is too large for the cache of the CPU.
    """
    if not network.model.stacks:
        return 1
    longest = max(len(X) for X, _ in pieces)
    return max(1, min(MOST, CHUNK // (longest * max(sum(network.widths), vocabulary))))


def _measured(models: Sequence[Seeded], wanted: Wanted, data: Dataset, pieces: Pieces) -> list[list[Row]]:
    """The rows of each model of one stack."""
    graph, found = models[0][0], [list[Row]() for _ in models]
    draws = [streams(seed, "paired") for _, seed in models]
    facts = Facts(data.splits["train"].targets)
    model = graph.model.load()
    params = model.initialise([network for network, _ in models], data.vocabulary, draws, facts=facts)

    def add(values: Tensor, **keys: object) -> None:
        for (_, seed), rows, value in zip(models, found, values, strict=True):
            rows.append({"seed": seed, **keys, "value": finite(value)})

    for kind, statistics in readings(params, model.fresh_statistics(params, graph), graph, data, step=0).items():
        signals = read_signals(params, graph, pieces, statistics)
        for name in wanted.splits:
            split = data.splits[name]
            loss = signals.loss if name == "train" else split_loss(params, graph, split, statistics)
            add(loss, split=name, statistics=kind, metric="loss")
            if graph.layers_with_statistics:  # "calibrated" reads the training split as one batch
                batch = loss if name == "train" else split_loss(params, graph, split, calibrate(params, graph, split))
                add(batch, split=name, statistics="batch", metric="loss")
        for (layer, metric), values in signals.values.items():
            add(values, layer=layer, statistics=kind, metric=metric)
    if wanted.batch_size is not None:
        for one, rows in zip(models, found, strict=True):
            rows += _gradients(one, wanted.batch_size, wanted.lr, data)
    return found


def _gradients(model: Seeded, batch_size: int, lr: float | None, data: Dataset) -> list[Row]:
    """Rows about the gradients of one model on its next minibatch. Without a learning rate `update_ratio` is empty."""
    (network, seed), train = model, data.splits["train"]
    draws = streams(seed, "paired")
    params = network.model.load().initialise([network], data.vocabulary, [draws], facts=Facts(train.targets))
    upcoming = draws.indices(len(train.Y), 1, batch_size)  # (1, batch)
    rate = math.nan if lr is None else lr
    return gradient_rows(params, network, train.X[upcoming], train.Y[upcoming], rate, {"seed": seed})
