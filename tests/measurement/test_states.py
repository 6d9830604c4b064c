"""Initial states: the numbers of a training at step 0, whatever is measured beside them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pyarrow as pa
import pytest

from study.data.examples import Dataset, Split
from study.measurement import states as measuring
from study.measurement.evaluate import chunks
from study.measurement.initial import SEEDS, Block, States, Wanted, decode, encode, together
from study.measurement.measure import measure_cell
from study.measurement.rows import Request, Rows
from study.measurement.states import measure_states, stack_size
from study.network.inits import Init
from study.network.layers import Network
from study.training.autograd import Trainer
from study.training.cells import Stack
from study.training.loop import train
from study.training.trajectory import NEW, Lacking, Trajectory
from tests.support.nets import cell, dataset, network

ALL = Wanted(("train", "dev", "test"), batch_size=8, lr=0.1)
NETWORKS = {
    "plain": network((12,)),
    "odd": network((7,), context=2, embedding=3),
    "deep": network((9, 5), activation="relu"),
    "normed": network((8, 8), norm="batch", bias=False),
}
Told = list[tuple[object, ...]]


def told(block: Block, states: States, data: Dataset) -> Told:
    """The rows of a block that is measured among others, to the last bit."""
    return [tuple(row.values()) for row in measure_states(states, data)[block].to_pylist()]


@cache
def data_of(context: int) -> Dataset:
    return dataset(context=context, examples=300)


def scaled(setup: Network, std: float) -> Network:
    """A network of the same graph, whose output layer is drawn with another scale."""
    return replace(setup, output=replace(setup.output, weight=Init(std=std)))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_has_the_same_bits_alone_and_in_every_block(name: str) -> None:
    setup, data = NETWORKS[name], data_of(NETWORKS[name].context)
    alone = {seed: told(one := Block(setup, (seed,), ALL), States((one,)), data) for seed in range(7)}
    assert all(alone.values())
    for seeds in ((0, 1), (6, 3, 0), (5, 4, 3, 2, 1, 0), tuple(range(7))):
        block = Block(setup, seeds, ALL)
        others = Block(scaled(setup, 3.0), (0, 2, 4), ALL)
        expected = [row for seed in seeds for row in alone[seed]]
        for blocks in ((block,), (block, others), (others, block)):
            assert told(block, States(blocks), data) == expected


def trained(setup: Network, seed: int, data: Dataset) -> Rows:
    """The rows of a training of one step, in batches of 8."""
    one, kept = cell(setup, seed, steps=1, batch_size=8), list[Trajectory]()
    trainer = Trainer(Stack((one,)), data.splits["train"], data.vocabulary)
    list(train(Stack((one,)), trainer, Lacking(0, (0, 1)), [NEW], lambda _, made: kept.append(made)))
    return measure_cell(one, kept[-1], data, Request((), ()))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_has_the_numbers_of_a_training_at_its_start(name: str) -> None:
    setup, data = NETWORKS[name], data_of(NETWORKS[name].context)
    block = Block(setup, (0, 3), ALL)
    found = measure_states(States((block,)), data)[block].to_pylist()
    for seed in block.seeds:
        rows = trained(setup, seed, data)
        losses = {
            (row["split"], row["statistics"]): row["loss"]
            for row in rows.listed("losses")
            if row["step"] == 0 and row["batch_size"] is None
        }
        metrics = {
            (row["layer"], row["parameter"], row["statistics"], row["metric"]): row["value"]
            for row in rows.listed("metrics")
            if row["step"] == 0 and not row["metric"].startswith("gap_")
        }
        own = [row for row in found if row["seed"] == seed]
        assert {(r["split"], r["statistics"]): r["value"] for r in own if r["metric"] == "loss"} == losses
        assert {
            (r["layer"], r["parameter"], r["statistics"], r["metric"]): r["value"] for r in own if r["metric"] != "loss"
        } == metrics


def test_states_are_measured_one_by_one_where_a_stack_changes_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stack of three the losses come out a little larger: none of them reaches the rows."""
    honest, sizes = measuring.read_signals, list[int]()

    def leaning(params, *more):  # type: ignore[no-untyped-def]
        sizes.append(len(params.C))
        found = honest(params, *more)
        return replace(found, loss=found.loss + 1e-15) if len(params.C) == 3 else found

    setup, data = NETWORKS["plain"], data_of(3)
    block = Block(setup, tuple(range(9)))
    expected = told(block, States((block,)), data)
    monkeypatch.setattr(measuring, "read_signals", leaning)
    monkeypatch.setattr(measuring, "MOST", 3)
    assert told(block, States((block,)), data) == expected
    assert sizes == [3] + [1] * 9  # tried once, and not again


def test_a_stack_is_as_large_as_the_chunk_of_one_model_allows() -> None:
    def size(widths: tuple[int, ...], split: Split) -> int:
        setup = network(widths)
        return stack_size(setup, list(chunks(split, setup)), split.vocabulary)

    split = data_of(3).splits["train"]
    distinct = len(split.distinct[0])
    assert size((4000,), split) == 1
    assert size((250_000 // distinct // 4,), split) == 4
    assert size((8,), split) == measuring.MOST


def test_only_what_is_wanted_is_measured() -> None:
    setup, data = NETWORKS["plain"], data_of(3)
    block = Block(setup, (0,))
    rows = measure_states(States((block,)), data)[block].to_pylist()
    assert [row["split"] for row in rows if row["metric"] == "loss"] == ["train"]
    assert not [row for row in rows if row["parameter"]]
    rateless = Block(setup, (0,), Wanted(("train",), batch_size=8))
    rows = measure_states(States((rateless,)), data)[rateless].to_pylist()
    values = {row["metric"]: row["value"] for row in rows if row["parameter"] == "W1"}
    assert values["grad_norm"] > 0
    assert values["update_ratio"] is None


def test_rows_survive_their_way_through_the_cache_and_nothing_else_does() -> None:
    block = Block(NETWORKS["plain"], (0, 1))
    rows = measure_states(States((block,)), data_of(3))[block]
    assert decode(encode(rows)) == rows
    foreign = pa.BufferOutputStream()
    with pa.ipc.new_stream(foreign, other := rows.drop_columns(["value"]).schema) as writer:
        writer.write_table(rows.select(other.names))
    for content in (b"", encode(rows)[:-40], foreign.getvalue().to_pybytes()):
        with pytest.raises(ValueError, match=r"\w"):
            decode(content)


def test_blocks_of_one_graph_are_put_together_up_to_the_size_of_an_entry() -> None:
    plain, odd = NETWORKS["plain"], NETWORKS["odd"]
    few = [Block(scaled(plain, std), (0, 1, 2)) for std in (0.1, 0.2, 0.3)]
    many = Block(odd, tuple(range(SEEDS + 20)))
    made = list(together([*few, many]))
    assert [len(states) for states in made] == [9, SEEDS, 20]
    assert made[0].blocks == tuple(few)
    assert [len(states) for states in made[0].single()] == [1] * 9
