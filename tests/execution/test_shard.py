"""The rows of a shard: the same however cells are sharded, complete, and honest about what diverged."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from study.data.examples import Dataset, Split
from study.execution import shard
from study.measurement import measure
from study.measurement.evaluate import calibrate
from study.measurement.measure import batch_size_rows, curve_rows
from study.measurement.rows import SCHEMAS, Request
from study.network.inits import Init
from study.network.layers import Network
from study.network.mlp import forward
from study.training.cells import Cell, Schedule, Stack
from study.training.identity import cell_id
from study.training.trajectory import boundaries
from tests.support.nets import cell, dataset, flat, network, params, split, trained

READING = Request((20,), (2, 8))
DATA = dataset()


def cells(norm: Any = "none", steps: int = 40, seeds: int = 3) -> tuple[Cell, ...]:
    """Three seeds each of three scales."""
    setups = [
        network((32,), norm, gain=gain, output=output) for gain, output in ((5 / 3, 0.1), (1.0, 0.01), (3.0, 1.0))
    ]
    return tuple(cell(setup, seed, steps) for setup in setups for seed in range(seeds))


def train_shard(
    stack: Stack, data: Dataset = DATA, reading: Request = READING, **more: Any
) -> dict[str, list[dict[str, Any]]]:
    """The rows of all cells of a shard, table by table, one cell after the other."""
    found = shard.train_shard(stack, data, reading, **more)
    return {
        name: [{"cell": cell_id(one), **row} for one, rows in found.items() for row in rows.listed(name)]
        for name in SCHEMAS
    }


def of(rows: dict[str, list[dict[str, Any]]], one: Cell) -> dict[str, list[Any]]:
    """The rows of a cell, table by table; repr, so that a NaN equals a NaN."""
    return {name: [repr(row) for row in found if row["cell"] == cell_id(one)] for name, found in rows.items()}


# -- sharding -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_rows_do_not_depend_on_the_sharding(norm: str) -> None:
    chosen = cells(norm)
    whole = train_shard(Stack(chosen), DATA, READING)
    for parts in ((chosen[:4], chosen[4:]), (chosen[7:] + chosen[:7],), tuple((one,) for one in chosen[:3])):
        for part in parts:
            rows = train_shard(Stack(part), DATA, READING)
            for one in part:
                assert of(rows, one) == of(whole, one)
                assert all(
                    of(rows, one)[name] for name in ("losses", "curves", "metrics", "histograms", "pictures", "cells")
                )


def test_pausing_to_measure_changes_no_training() -> None:
    one = cells()[0]
    hashes = {
        train_shard(Stack((one,)), DATA, Request(measure, ()))["cells"][0]["sha256"]
        for measure in ((), (7,), (3, 20, 39))
    }
    assert len(hashes) == 1


def test_the_hash_is_of_the_final_parameters() -> None:
    import hashlib

    one = cells("batch")[0]
    trainer, _ = trained([one], DATA.splits["train"])
    digest = hashlib.sha256()
    for tensor in flat(trainer, 0).values():
        digest.update(tensor.numpy().tobytes())
    assert train_shard(Stack((one,)), DATA, READING)["cells"][0]["sha256"] == digest.hexdigest()


@pytest.mark.parametrize("together", [True, False])
def test_progress_counts_every_model_step_once(together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    monkeypatch.setattr(shard, "stackable", lambda *_: together)
    train_shard(Stack(cells(steps=15)), DATA, READING, report=lambda n, _: done.append(n))
    assert done == sorted(done)
    assert done[-1] == 9 * 15


# -- what is in the rows ------------------------------------------------------------------------------------------


def test_losses_are_read_on_every_split_at_every_measured_step() -> None:
    one = cells()[0]
    rows = train_shard(Stack((one,)), DATA, READING)["losses"]
    assert [(r["step"], r["split"]) for r in rows] == [
        (step, name) for step in (0, 20, 40) for name in ("train", "dev", "test")
    ]
    for row in rows:
        data = DATA.splits[row["split"]]
        shorter = replace(one, schedule=replace(one.schedule, steps=max(row["step"], 1)))
        trainer, _ = trained([shorter], DATA.splits["train"])
        if row["step"]:
            loss = F.cross_entropy(forward(trainer.params, one.network, data.X).logits[0].detach(), data.Y)
            assert row["loss"] == pytest.approx(float(loss), rel=1e-5)  # float32 sums of a few hundred terms
        assert (row["statistics"], row["examples"]) == ("none", len(data.Y))


def test_batchnorm_is_read_under_all_its_statistics() -> None:
    one = cells("batch")[0]
    rows = train_shard(Stack((one,)), DATA, READING)["losses"]
    kinds = {
        step: {r["statistics"] for r in rows if r["step"] == step and r["batch_size"] is None} for step in (0, 20, 40)
    }
    assert kinds == {
        0: {"calibrated", "batch"},
        20: {"running", "calibrated", "batch"},
        40: {"running", "calibrated", "batch"},
    }
    trainer, _ = trained([one], DATA.splits["train"])
    for statistics, given_statistics in (
        ("running", trainer.running),
        ("calibrated", calibrate(trainer.params, one.network, DATA.splits["train"])),
        ("batch", None),
    ):
        data = DATA.splits["dev"]
        loss = F.cross_entropy(
            forward(trainer.params, one.network, data.X, given_statistics).logits[0].detach(), data.Y
        )
        row = next(
            r
            for r in rows
            if (r["step"], r["split"], r["statistics"]) == (40, "dev", statistics) and r["batch_size"] is None
        )
        assert row["loss"] == pytest.approx(float(loss), rel=1e-5)  # float32


def test_batch_sizes_are_read_at_the_end_on_the_same_examples() -> None:
    rows = [r for r in train_shard(Stack((cells("batch")[0],)), DATA, READING)["losses"] if r["batch_size"] is not None]
    assert [(r["step"], r["split"], r["batch_size"], r["examples"]) for r in rows] == [
        (40, "dev", n, 120) for n in (2, 8, 120)
    ]


@pytest.mark.parametrize(
    ("sizes", "examples", "found"),
    [((2, 8, 32, 128, 1024), 22655, 22528), ((2, 3, 7), 100, 84), ((2, 64, 1000), 100, 64), ((8,), 5, None)],
)
def test_the_batch_sizes_share_the_largest_number_of_examples_that_fills_them(
    sizes: tuple[int, ...], examples: int, found: int | None
) -> None:
    setup = network((4,), "batch")
    rows = batch_size_rows(params(setup, 9), setup, split(examples=examples), sizes, {})
    assert {row["examples"] for row in rows} == ({found} if found else set())
    assert [row["batch_size"] for row in rows] == ([*(s for s in sizes if s < (found or 0)), found] if found else [])


# -- pauses and curves --------------------------------------------------------------------------------------------


def test_training_pauses_at_1_2_5_10_and_where_it_is_measured() -> None:
    found = boundaries(Schedule(32, 30, ((0, 0.1),)), (7, 20, 500))
    assert found == {0: True, 1: False, 2: False, 5: False, 7: True, 10: False, 20: True, 30: True}
    assert list(found) == sorted(found)
    assert boundaries(Schedule(32, 1, ((0, 0.1),)), ()) == {0: True, 1: True}


@given(st.integers(1, 200_000))
@example(1)
@example(99)
@example(101)
@example(1000)
@example(1001)
@example(200_000)
@settings(deadline=None, max_examples=40)
def test_a_curve_covers_every_step_once(steps: int) -> None:
    bins = curve_rows(torch.arange(steps, dtype=torch.float64))
    ends = [*(b["first"] for b in bins[1:]), steps]
    assert bins[0]["first"] == 0
    for b, end in zip(bins, ends, strict=True):
        assert (
            0 < end - b["first"] <= max(measure.FINE // 100, math.ceil((steps - measure.FINE) / measure.CURVE_POINTS))
        )
        middle = (b["first"] + end - 1) / 2
        assert b["step"] == middle
        assert b["loss"] == pytest.approx(
            middle, rel=1e-12
        )  # the loss of step i is i here: the mean of the bin's steps
    assert len(bins) <= measure.FINE // 5 + measure.CURVE_POINTS
    assert len([b for b in bins if b["first"] < measure.FINE]) >= min(steps, 100)


def test_curve_rows_average_the_reported_losses() -> None:
    one = cells()[0]
    _, losses = trained([one], DATA.splits["train"])
    rows = train_shard(Stack((one,)), DATA, READING)["curves"]
    assert [r["loss"] for r in rows] == pytest.approx(losses[0].double().tolist(), rel=1e-12)  # 40 steps: a bin each


# -- divergence ---------------------------------------------------------------------------------------------------


def exploding(setup: Network) -> Network:
    return replace(setup, output=replace(setup.output, weight=Init(std=1e38)))


def late(setup: Network) -> Network:
    """A linear network, so that a large rate blows it up step by step."""
    return replace(setup, hidden=tuple(replace(layer, activation="linear") for layer in setup.hidden))


def test_a_diverged_cell_is_reported_and_its_neighbours_are_as_alone() -> None:
    setup = network((32,))
    bad = cell(exploding(setup), 1, 20)
    good = (cell(setup, 0, 20), cell(setup, 2, 20))
    rows = train_shard(Stack((good[0], bad, good[1])), DATA, READING)
    status = {row["cell"]: row for row in rows["cells"]}
    assert (status[cell_id(bad)]["status"], status[cell_id(bad)]["step"]) == ("diverged", 0)
    losses = [r["loss"] for r in rows["losses"] if r["cell"] == cell_id(bad)]
    assert len(losses) == 2 * 3  # at the start and at the end, three splits
    assert not any(math.isfinite(loss) for loss in losses)
    for one in good:
        assert status[cell_id(one)]["status"] == "done"
        assert status[cell_id(one)]["step"] is None
        assert of(rows, one) == of(train_shard(Stack((one,)), DATA, READING), one)


def test_the_step_of_a_divergence_is_that_of_the_first_loss_that_is_not_finite() -> None:
    one = cell(late(network((32,))), 0, 60, lr=((0, 3.0),))
    _, losses = trained([one], DATA.splits["train"])
    first = next(i for i, loss in enumerate(losses[0].tolist()) if not math.isfinite(loss))
    assert 0 < first < 59
    row = train_shard(Stack((one,)), DATA, READING)["cells"][0]
    assert (row["status"], row["step"]) == ("diverged", first)


def test_parameters_lost_in_the_last_step_are_a_divergence_at_its_end() -> None:
    one = cell(late(network((32,), gain=5.0, output=5.0)), 0, 1, lr=((0, 3e38),))  # float32 ends at 3.4e38
    trainer, losses = trained([one], DATA.splits["train"])
    assert bool(torch.isfinite(losses).all())
    assert not all(bool(torch.isfinite(t).all()) for t in flat(trainer, 0).values())
    row = train_shard(Stack((one,)), DATA, READING)["cells"][0]
    assert (row["status"], row["step"]) == ("diverged", 1)


def test_a_batchnorm_without_variance_is_diverged() -> None:
    one = cell(network((32,), "batch", gain=0.0, bias=False), 0, 20)
    rows = train_shard(Stack((one,)), DATA, READING)
    assert (rows["cells"][0]["status"], rows["cells"][0]["step"]) == ("diverged", 0)
    ends = [r["loss"] for r in rows["losses"] if r["step"] == 20]
    assert ends
    assert all(math.isnan(loss) for loss in ends)


def test_one_training_example_is_enough_without_batchnorm() -> None:
    tiny = replace(DATA, splits={name: Split(s.X[:1], s.Y[:1], 9) for name, s in DATA.splits.items()})
    rows = train_shard(Stack((cell(network((4,)), 0, 5),)), tiny, READING)
    assert rows["cells"][0]["status"] == "done"
