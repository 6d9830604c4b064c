"""Conditions inherit what they do not change: networks, statistics and schedules."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.network.inits import Init
from study.network.layers import Layer
from study.training.cells import Schedule
from tests.support.tiny import GONE, load, refusal, tiny

ALONE = {"conditions": {"only": tiny()["conditions"]["baseline"]}, "published": GONE, "claims": GONE, "groups": GONE}


def test_a_child_keeps_what_it_does_not_change(tmp_path: Path) -> None:
    spec = load(tmp_path)
    baseline, fixed, batchnorm = (spec.condition(name).network for name in ("baseline", "fixed", "batchnorm"))
    assert fixed.hidden == baseline.hidden
    assert fixed.output == Layer(Init(std=0.01), Init(std=0.0), "none", "linear")
    assert batchnorm.output == fixed.output
    assert batchnorm.hidden == (Layer(Init(gain=5 / 3), None, "batch", "tanh"),)


def test_an_init_is_replaced_whole(tmp_path: Path) -> None:
    spec = load(tmp_path, {"conditions.fixed.output": {"weight": {"gain": 1}}})
    assert spec.condition("fixed").network.output.weight == Init(gain=1.0)
    quick = {"profiles.quick.conditions": {"fixed": {"output": {"weight": {"gain": "relu"}}}}}
    assert load(tmp_path, quick, "quick").condition("fixed").network.output.weight == Init(gain=math.sqrt(2))


def test_a_parent_may_stand_below_its_child(tmp_path: Path) -> None:
    study = tiny()
    upside_down = dict(reversed(study["conditions"].items()))
    assert {c.name: c.network for c in load(tmp_path, {"conditions": upside_down}).conditions} == {
        c.name: c.network for c in load(tmp_path).conditions
    }


def test_a_chain_of_thousands_of_parents_is_followed_in_any_order(tmp_path: Path) -> None:
    chain = {f"c{i}": {"from": f"c{i - 1}"} for i in range(1, 2000)}
    chain["c0"] = tiny()["conditions"]["baseline"]  # the last of all
    spec = load(tmp_path, {**ALONE, "conditions": chain})
    assert len({c.network for c in spec.conditions}) == 1


@pytest.mark.parametrize("key", ["norm", "bias"])
def test_none_and_null_are_the_same(tmp_path: Path, key: str) -> None:
    changes = {"conditions.batchnorm.hidden": {"norm": "batch", "bias": {"std": 1}}}
    found = [
        load(tmp_path, {**changes, "conditions.calibrated": {"from": "batchnorm", "hidden": {key: none}}})
        for none in ("none", None)
    ]
    assert found[0].condition("calibrated") == found[1].condition("calibrated")
    assert getattr(found[0].condition("calibrated").network.hidden[0], key) in ("none", None)


def test_a_null_number_of_a_condition_is_its_parents(tmp_path: Path) -> None:
    nothing = {"model": {"hidden": None}, "training": {"steps": None}}
    spec = load(tmp_path, {"conditions.child": {"from": "fixed", **nothing}})
    assert spec.condition("child").network == spec.condition("fixed").network
    assert spec.condition("child").schedule == spec.condition("fixed").schedule


def test_a_mapping_is_every_level_and_a_list_one_per_level(tmp_path: Path) -> None:
    deep = {**ALONE, "model.hidden": [100] * 5}
    every = load(tmp_path, deep).condition("only").network
    assert every.widths == (100,) * 5
    assert every.hidden == (Layer(Init(std=1.0), Init(std=1.0)),) * 5
    listed = [{"activation": a} for a in ("relu", "linear", "tanh", "relu", "relu")]
    spec = load(tmp_path, {**deep, "conditions.listed": {"from": "only", "hidden": listed}})
    assert [layer.activation for layer in spec.condition("listed").network.hidden] == [e["activation"] for e in listed]
    assert {layer.weight for layer in spec.condition("listed").network.hidden} == {Init(std=1.0)}
    all_normed = {"from": "listed", "hidden": {"norm": "batch"}}
    spec = load(tmp_path, {**deep, "conditions.listed": {"from": "only", "hidden": listed}, "conditions.n": all_normed})
    assert spec.condition("n").network.layers_with_statistics == (0, 1, 2, 3, 4)
    assert [layer.activation for layer in spec.condition("n").network.hidden] == [e["activation"] for e in listed]


def test_a_child_may_change_the_depth(tmp_path: Path) -> None:
    deeper = {"from": "fixed", "model": {"hidden": [8, 4, 2]}}
    spec = load(tmp_path, {"conditions.deeper": deeper})
    assert spec.condition("deeper").network.hidden == spec.condition("fixed").network.hidden * 3
    assert spec.condition("deeper").network.output == spec.condition("fixed").network.output
    assert spec.condition("deeper").network.shapes(9) == [(6, 8), (8, 4), (4, 2), (2, 9)]


RELU = {"activation": "relu", "norm": "batch", "bias": "none"}


@pytest.mark.parametrize("listed", [[RELU, RELU], [{**RELU, "norm": "none"}, {"activation": "relu", "bias": "none"}]])
def test_equal_levels_of_a_list_are_inherited_at_any_depth(tmp_path: Path, listed: Any) -> None:
    parent = {"from": "fixed", "model": {"hidden": [8, 8]}, "hidden": listed}
    deeper = {"from": "listed", "model": {"hidden": [8, 8, 8]}}
    children = {"bare": deeper, "all": {**deeper, "hidden": {"weight": {"gain": "relu"}}}}
    children["each"] = {**deeper, "hidden": [{"weight": {"gain": "relu"}}, {}, {"norm": "none"}]}
    changes = {f"conditions.{name}": child for name, child in children.items()}
    for conditions in ({"conditions.listed": parent, **changes}, {**changes, "conditions.listed": parent}):
        spec = load(tmp_path, conditions)
        (level, _) = spec.condition("listed").network.hidden
        gained = replace(level, weight=Init(gain=math.sqrt(2)))
        assert level.activation == "relu"
        assert spec.condition("bare").network.hidden == (level,) * 3
        assert spec.condition("all").network.hidden == (gained,) * 3
        assert spec.condition("each").network.hidden == (gained, level, replace(level, norm="none"))


@pytest.mark.parametrize("said", [{}, {"hidden": {"weight": {"std": 1}}}])
def test_levels_of_another_depth_are_not_guessed_from_a_list_of_different_ones(tmp_path: Path, said: Any) -> None:
    listed = {"from": "fixed", "model": {"hidden": [8, 8]}, "hidden": [{"norm": "batch"}, {}]}
    other = {"from": "listed", "model": {"hidden": [8, 8, 8]}, **said}
    message = refusal(tmp_path, {"conditions.listed": listed, "conditions.other": other})
    assert message.endswith("conditions.other.hidden: 'listed' lists 2 layers where this condition has 3; list all 3")
    spec = load(
        tmp_path,
        {"conditions.listed": listed, "conditions.other": {**other, "hidden": [{"weight": {"std": 1}}] * 3}},
    )
    assert spec.condition("other").network.hidden == (Layer(Init(std=1.0), None),) * 3


def test_the_output_layer_may_have_a_norm(tmp_path: Path) -> None:
    spec = load(tmp_path, {"conditions.child": {"from": "fixed", "output": {"norm": "batch"}}})
    child = spec.condition("child")
    assert (child.network.layers_with_statistics, child.statistics) == ((1,), "running")
    assert child.properties()["norm"] == "batch"
    assert child.properties()["output_norm"] == "batch"


def test_statistics_are_inherited_where_there_is_a_norm_to_read(tmp_path: Path) -> None:
    plain = {"from": "calibrated", "hidden": {"norm": "none"}}
    again = {"from": "plain", "hidden": {"norm": "batch"}}
    spec = load(tmp_path, {"conditions.plain": plain, "conditions.again": again})
    assert [spec.condition(n).statistics for n in ("calibrated", "plain", "again")] == [
        "calibrated",
        "none",
        "calibrated",
    ]


def test_a_rate_alone_is_a_schedule_from_step_0(tmp_path: Path) -> None:
    assert load(tmp_path, {"training.lr": 0.1}).conditions[0].schedule.lr == ((0, 0.1),)
    assert load(tmp_path, {"training.lr": {20: 0.01, 0: 0.1}}).conditions[0].schedule.lr == ((0, 0.1), (20, 0.01))


def test_training_is_the_studys_then_the_groups_then_the_conditions(tmp_path: Path) -> None:
    inherits = {"from": "child", "training": {"batch_size": 2}}
    child = {"from": "zero", "training": {"steps": 5}}
    spec = load(tmp_path, {"conditions.child": child, "conditions.grandchild": inherits})
    assert spec.condition("zero").schedule == Schedule(8, 10, ((0, 0.1),))
    assert spec.condition("child").schedule == Schedule(8, 5, ((0, 0.1),))
    assert spec.condition("grandchild").schedule == Schedule(2, 5, ((0, 0.1),))
    assert {spec.condition(n).group for n in ("zero", "child", "grandchild")} == {"side"}


def test_what_a_condition_moves_to_beats_the_training_of_its_parent(tmp_path: Path) -> None:
    """Nearest first: its own, the group's that it moves to, its parent's, its group's, the study's."""
    conditions = {
        "long": {"from": "fixed", "training": {"steps": 40, "batch_size": 4}},
        "moved": {"from": "long", "group": "side"},
        "own": {"from": "long", "group": "side", "training": {"steps": 7}},
        "same": {"from": "own", "group": "side"},  # it stays where it is
        "plain": {"from": "long", "group": "ladder"},
    }
    changes = {f"conditions.{name}": condition for name, condition in conditions.items()}
    published = {"published.training": {"steps": 35}, "published.runs.fixed.from": "long"}
    spec = load(tmp_path, {**changes, **published})
    found = {name: spec.condition(name).schedule for name in conditions}
    assert found == {
        "long": Schedule(4, 40, ((0, 0.1), (20, 0.01))),
        "moved": Schedule(4, 10, ((0, 0.1),)),
        "own": Schedule(4, 7, ((0, 0.1),)),
        "same": Schedule(4, 7, ((0, 0.1),)),
        "plain": Schedule(4, 40, ((0, 0.1), (20, 0.01))),
    }
    assert spec.published is not None
    assert spec.published.runs[0].condition.schedule == Schedule(4, 35, ((0, 0.1), (20, 0.01)))


@pytest.mark.parametrize("links", [1, 2, 3, 50])
def test_a_cycle_of_parents_is_refused(tmp_path: Path, links: int) -> None:
    cycle = {f"conditions.c{i}": {"from": f"c{(i + 1) % links}"} for i in range(links)}
    assert ": the parents form a cycle: " in refusal(tmp_path, cycle)


def test_too_many_weights_are_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"conditions.zero.model": {"hidden": [50_000, 50_000]}})
    assert "conditions.zero.model: expected at most 100,000,000 weights, got 2,500,300,000" in message
