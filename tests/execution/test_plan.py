"""Every cell is trained once; stacks split by graph and schedule only; shards lose nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.data.words import fillable
from study.errors import SpecError
from study.execution.listing import graph, plan_text
from study.execution.plan import SHARD, makespan, plan_study, seconds, split
from study.execution.prepare import check_batch_sizes
from study.execution.run import RunOptions, run_study
from study.network.inits import Init
from study.network.layers import Layer, Network
from study.spec.read import read_study
from study.spec.records import Spec
from study.spec.subset import only_conditions
from study.training.cells import Cell, Schedule, Stack
from study.training.identity import cell_id
from tests.support.tiny import GONE, load, refusal

HOME = Path(__file__).parents[2]
SETUP = Network(3, 10, (200,), Init(std=1.0), (Layer(Init(std=1.0), Init(std=1.0)),), Layer(Init(std=1.0), None))
CELL = Cell(SETUP, 0, "paired", Schedule(32, 100, ((0, 0.1),)))


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return load(tmp_path)


def test_two_readings_of_a_training_are_one_cell(spec: Spec) -> None:
    readers = {tuple(use.condition.name for use in uses) for uses in plan_study(spec).uses.values()}
    assert ("batchnorm", "calibrated") in readers
    assert len(plan_study(spec).uses) == 4 * 2 + 2  # baseline, fixed, batchnorm, zero × two seeds; two published runs


def test_a_condition_that_changes_nothing_costs_nothing(tmp_path: Path, spec: Spec) -> None:
    twice = load(tmp_path, {"conditions.again": {"from": "fixed"}})
    assert plan_study(twice).uses.keys() == plan_study(spec).uses.keys()


def test_a_published_run_is_another_cell_for_its_protocol_alone(tmp_path: Path) -> None:
    work = plan_study(load(tmp_path, {"published.seed": 0}))
    (run,) = [cell for cell, uses in work.uses.items() if uses[0].condition.title == "Fixed"]
    assert run.protocol == "lecture"
    assert replace(run, protocol="paired") in work.uses


@pytest.mark.parametrize(
    ("sizes", "left"),
    [
        ([2, 8, 10_000], "10000"),
        ([3, 4, 5, 8], "8"),
        ([10_000, 20_000], "10000, 20000"),
        ([9, 5, 3, 7], "7, 9"),
    ],
)
def test_batch_sizes_that_dev_cannot_fill_are_refused(tmp_path: Path, sizes: list[int], left: str) -> None:
    changes: dict[str, Any] = {"evaluation.batch_sizes": sizes}
    spec = load(tmp_path, changes)
    examples = spec.data.load(spec.folder).examples("dev")
    assert math.lcm(3, 4, 5) <= examples < math.lcm(3, 5, 7)
    problem = f"all sizes are read on the same examples, a multiple of each, and dev has {examples}"
    assert refusal(tmp_path, changes) == f"tiny.yaml: evaluation.batch_sizes: {problem}; leave out {left}"
    for before_training in (
        lambda: run_study(spec, tmp_path / "out", RunOptions(1)),
        lambda: plan_text(spec, 1, "auto", "cpu", tmp_path),
    ):
        with pytest.raises(SpecError, match=r"evaluation\.batch_sizes"):
            before_training()
    check_batch_sizes(only_conditions(spec, ["baseline"]), spec.data.load(spec.folder))  # no BatchNorm is read


def test_the_usual_batch_sizes_are_read_as_far_as_dev_fills_them(tmp_path: Path) -> None:
    spec = load(tmp_path, {"evaluation": GONE})
    found = spec.data.load(spec.folder)
    check_batch_sizes(spec, found)
    assert spec.batch_sizes == (2, 8, 32, 128, 1024)
    assert fillable(spec.batch_sizes, found.examples("dev")) == (2, 8, 32)


def test_every_cell_is_in_one_stack_and_in_one_shard(spec: Spec) -> None:
    work = plan_study(spec)
    for stacks in (work.stacks, work.shards()):
        cells = [cell for stack in stacks for cell in stack.cells]
        assert sorted(map(cell_id, cells)) == sorted(map(cell_id, work.uses))


def test_scales_and_seeds_share_a_stack_and_graphs_and_schedules_do_not(tmp_path: Path) -> None:
    def stacks(change: dict[str, Any]) -> int:
        return len(
            plan_study(load(tmp_path, {"published": None, "conditions.child": {"from": "fixed", **change}})).stacks
        )

    before = len(plan_study(load(tmp_path, {"published": None})).stacks)
    assert stacks({"output": {"weight": {"gain": 1}, "bias": {"std": 2}}}) == before
    assert stacks({"output": {"bias": "none"}}) == before + 1
    assert stacks({"hidden": {"norm": "batch"}}) == before + 1
    assert stacks({"hidden": {"activation": "relu"}}) == before + 1
    assert stacks({"model": {"hidden": [9]}}) == before + 1
    assert stacks({"training": {"batch_size": 4}}) == before + 1


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"protocol": "lecture"},
        {"schedule": Schedule(32, 100, ((0, 0.2),))},
        {"network": replace(SETUP, embedding=Init(std=2.0))},
        {"network": replace(SETUP, embedding=Init(gain=1.0))},
    ],
)
def test_a_cell_is_known_by_all_that_it_is(change: dict[str, Any]) -> None:
    assert cell_id(replace(CELL, **change)) != cell_id(CELL)
    assert cell_id(replace(CELL)) == cell_id(CELL)
    assert len(cell_id(CELL)) == 16


def test_a_whole_number_and_the_same_number_with_a_point_are_one_cell(tmp_path: Path) -> None:
    one, other = (
        load(tmp_path, {"training.lr": lr, "conditions.fixed.output.bias": {"std": std}})
        for lr, std in ((1, 0), (1.0, 0.0))
    )
    assert list(map(cell_id, plan_study(one).uses)) == list(map(cell_id, plan_study(other).uses))
    assert one.digest() == other.digest()


@given(st.integers(1, 200), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_a_stack_is_split_evenly_and_whole(count: int, size: int) -> None:
    stack = Stack(tuple(replace(CELL, seed=seed) for seed in range(count)))
    parts = split(stack, size)
    assert [cell for part in parts for cell in part.cells] == list(stack.cells)
    sizes = [len(part.cells) for part in parts]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-count // size)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 10))
@settings(max_examples=60, deadline=None)
def test_a_twin_stays_with_its_original(twinned: list[bool], size: int) -> None:
    cells = [replace(CELL, seed=seed) for seed in range(len(twinned))]
    cells += [replace(cell, twin=True) for cell, has in zip(cells, twinned, strict=True) if has]
    parts = split(Stack(tuple(cells)), size)
    assert sorted(map(cell_id, cells)) == sorted(cell_id(cell) for part in parts for cell in part.cells)
    assert all(cell.original in part.cells for part in parts for cell in part.cells)
    assert max(len(part.cells) for part in parts) <= size + any(twinned)


def test_the_longest_shard_starts_first(spec: Spec) -> None:
    expected = [seconds(shard) for shard in plan_study(spec).shards()]
    assert expected == sorted(expected, reverse=True)


@given(st.lists(st.integers(1, 8), min_size=1, max_size=30), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_the_expected_duration_lies_between_a_fair_share_and_all_of_it(sizes: list[int], workers: int) -> None:
    shards = [Stack(tuple(replace(CELL, seed=seed) for seed in range(size))) for size in sizes]
    shards.sort(key=lambda shard: -seconds(shard))
    total, longest = sum(map(seconds, shards)), seconds(shards[0])
    slack = 1 + 1e-9  # sums in another order
    assert max(total / workers, longest) <= makespan(shards, workers) * slack
    assert makespan(shards, workers) <= (total / workers + longest) * slack  # Graham's bound for any greedy order
    assert makespan(shards, 1) == pytest.approx(total)


def test_a_larger_vocabulary_takes_longer() -> None:
    shard = Stack((CELL,), "fused")
    assert seconds(shard, 27) == seconds(shard) == makespan([shard], 1, 27)
    weights = [30 * 200 + 200 * vocabulary for vocabulary in (27, 1000)]
    ratio = (0.2 + 0.8 * weights[1] / weights[0]) / 1
    assert makespan([shard], 1, 1000) == pytest.approx(ratio * seconds(shard))


def test_the_projects_own_study_is_the_ladder_its_variants_and_six_published_runs() -> None:
    spec = read_study(HOME / "experiments.yaml")
    uses = [use for uses in plan_study(spec).uses.values() for use in uses]
    written = [c for c in spec.conditions if not c.sweep]
    assert sum(c.group == "ladder" for c in written) == 6
    assert sum(c.group == "variants" for c in written) >= 6
    assert [c.name for c in written if c.parent is None] == [written[0].name]
    assert len(spec.seeds) == 10
    assert sum(use.kind == "condition" and not use.condition.sweep for use in uses) == len(written) * 10
    assert sum(use.kind == "published" for use in uses) == 6


@pytest.mark.parametrize("profile", ["full", "smoke", "quick"])
def test_every_profile_of_the_projects_own_study_can_be_planned(profile: str) -> None:
    spec = read_study(HOME / "experiments.yaml", profile)
    work = plan_study(spec)
    trainings = {(use.condition.network, use.condition.schedule) for uses in work.uses.values() for use in uses}
    assert len(work.uses) >= len(trainings)  # calibration reads a training, it is none
    assert all(len(shard.cells) <= SHARD[shard.engine] + 1 for shard in work.shards())  # a pair is not parted


def test_a_twin_is_trained_beside_its_original_and_costs_one_cell_more(tmp_path: Path, spec: Spec) -> None:
    twinned = load(tmp_path, {"twins": {"of": ["fixed"], "seeds": 1}})
    more = [cell for cell in plan_study(twinned).uses if cell not in plan_study(spec).uses]
    assert [(cell.twin, cell.seed, cell.network) for cell in more] == [(True, 0, spec.condition("fixed").network)]
    (shard,) = [shard for shard in plan_study(twinned).shards() if more[0] in shard.cells]
    assert more[0].original in shard.cells


def test_short_twins_are_a_pair_for_each_seed_that_is_left(tmp_path: Path, spec: Spec) -> None:
    twinned = load(tmp_path, {"seeds": 3, "twins": {"of": ["fixed"], "seeds": 1, "short": {"seeds": 3, "steps": 4}}})
    before = plan_study(load(tmp_path, {"seeds": 3})).uses
    more = [cell for cell in plan_study(twinned).uses if cell not in before]
    assert [(cell.seed, cell.twin, cell.schedule.steps) for cell in more] == [
        (0, True, 30),
        (1, False, 4),
        (1, True, 4),
        (2, False, 4),
        (2, True, 4),
    ]


def test_a_sweep_trains_its_conditions_at_every_rate_with_as_many_seeds_as_it_says(tmp_path: Path, spec: Spec) -> None:
    swept = load(tmp_path, {"sweeps": {"rate": {"of": ["fixed", "zero"], "lr": [0.1, 0.5], "seeds": 1}}})
    more = [cell for cell in plan_study(swept).uses if cell not in plan_study(spec).uses]
    assert [(cell.seed, cell.schedule.lr, cell.schedule.steps) for cell in more] == [
        (0, ((0, 0.1),), 30),
        (0, ((0, 0.5),), 30),
        (0, ((0, 0.5),), 10),  # `zero` at 0.1 is in the study already
    ]


def test_the_listing_names_every_cell_stack_and_shard(spec: Spec, tmp_path: Path) -> None:
    work, text = plan_study(spec), plan_text(spec, 2, "auto", "cpu", tmp_path)
    for cell, uses in work.uses.items():
        (line,) = [line for line in text.split("\n") if cell_id(cell) in line]
        assert all(use.condition.name in line for use in uses)
    assert f"{len(work.uses)} cells ({len(work.uses)} new):" in text
    assert f"{len(work.stacks)} stacks" in text
    assert f"{len(work.shards())} shards" in text
    assert f"{work.model_steps():,} model-steps" in text


def test_a_graph_is_drawn_from_left_to_right() -> None:
    assert graph(SETUP, 27) == "3×10 → 200 tanh → 27 tanh"
    normed = replace(SETUP, widths=(8, 4), hidden=(Layer(Init(std=1.0), None, "batch", "relu"),) * 2)
    linear = replace(normed, output=Layer(Init(std=1.0), None, "batch", "linear"))
    assert graph(linear, 9) == "3×10 → 8 BatchNorm relu → 4 BatchNorm relu → 9 BatchNorm"
