"""What a condition changes, in words: read off the records, complete, and silent about what stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.network.inits import Init
from study.network.layers import Layer, Network
from study.spec.describe import changes, described
from tests.support.tiny import load

LAYER = Layer(Init(std=1.0), Init(std=1.0))
OUTPUT = Layer(Init(std=3.0), None, activation="linear")


def network(*layers: Layer, output: Layer = OUTPUT) -> Network:
    return Network(3, 10, (200,) * len(layers), Init(std=1.0), layers, output)


inits = st.builds(Init, std=st.sampled_from([0.0, 0.1, 1.0])) | st.builds(Init, gain=st.sampled_from([1.0, 5 / 3]))
layers = st.builds(
    Layer,
    weight=inits,
    bias=st.none() | inits,
    norm=st.sampled_from(["none", "batch"]),
    activation=st.sampled_from(["tanh", "relu", "linear"]),
)
setups = st.builds(
    lambda context, size, hidden, embedding, output: Network(
        context, size, tuple(w for w, _ in hidden), embedding, tuple(layer for _, layer in hidden), output
    ),
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(1, 3), layers), min_size=1, max_size=3),
    inits,
    layers,
)


@given(setups, setups)
@settings(max_examples=100, deadline=None)
def test_two_setups_are_equal_exactly_when_nothing_is_said_to_change(a: Network, b: Network) -> None:
    assert changes(a, a) == []
    assert (changes(a, b) == []) == (a == b)


@given(setups, setups)
@settings(max_examples=100, deadline=None)
def test_two_setups_are_described_alike_only_when_they_are_equal(a: Network, b: Network) -> None:
    assert (described(a) == described(b)) == (a == b)


def test_equal_words_are_said_once() -> None:
    halved = replace(LAYER, weight=Init(std=0.5), bias=Init(std=0.5))
    assert changes(network(LAYER), network(halved)) == ["W1, b1: std 1 → std 0.5"]


def test_a_recommended_gain_is_called_by_its_name() -> None:
    gained = replace(LAYER, weight=Init(gain=5 / 3))
    assert changes(network(LAYER), network(gained)) == ["W1: std 1 → gain tanh / √fan_in"]
    assert changes(network(LAYER), network(replace(LAYER, weight=Init(gain=1)))) == ["W1: std 1 → gain 1 / √fan_in"]


def test_batchnorm_without_a_bias_is_two_changes() -> None:
    normed = replace(LAYER, bias=None, norm="batch")
    assert changes(network(LAYER), network(normed)) == ["b1: std 1 → none", "norm 1: none → BatchNorm"]


def test_another_depth_compares_output_with_output() -> None:
    """W2 is the output layer of one and a hidden layer of the other: they have the same name, and are not compared."""
    assert changes(network(LAYER), network(LAYER, LAYER, LAYER)) == ["widths: 200 → 200-200-200"]
    assert changes(network(LAYER, LAYER, LAYER), network(LAYER)) == ["widths: 200-200-200 → 200"]
    small = replace(OUTPUT, weight=Init(std=0.01))
    found = changes(network(LAYER), network(LAYER, LAYER, output=small))
    assert found == ["widths: 200 → 200-200", "W3: std 3 → std 0.01"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"title": "Renamed"}, ("nothing",)),
        ({"statistics": "calibrated"}, ("read with calibrated statistics (were running)",)),
        ({"statistics": "running"}, ("nothing",)),
        (
            {"training": {"batch_size": 4}},
            ("training: 30 steps of SGD, batch 4, learning rate 0.1, 0.01 from step 20",),
        ),
        ({"training": {"steps": 15, "lr": 0.5}}, ("training: 15 steps of SGD, batch 8, learning rate 0.5",)),
        ({"training": {"steps": 30, "lr": {0: 0.1, 20: 0.01}}}, ("nothing",)),  # as it was
        ({"group": "side"}, ("training: 10 steps of SGD, batch 8, learning rate 0.1",)),
        ({"model": {"context": 4}}, ("context: 2 → 4",)),
        ({"output": {"norm": "batch"}}, ("norm 2: none → BatchNorm",)),
        ({"hidden": {"norm": None, "bias": {"std": 0}}}, ("b1: none → std 0", "norm 1: BatchNorm → none")),
    ],
)
def test_a_condition_says_what_it_changes_of_its_parent(
    tmp_path: Path, changed: dict[str, Any], said: tuple[str, ...]
) -> None:
    spec = load(tmp_path, {"conditions.child": {"from": "batchnorm", **changed}})
    assert spec.condition("child").changes == said


def test_a_schedule_is_mentioned_where_it_is_not_the_parents(tmp_path: Path) -> None:
    conditions = {
        "long": {"from": "fixed", "training": {"steps": 40}},
        "moved": {"from": "long", "group": "side"},  # whose training says more of it than its parent's
        "inner": {"from": "moved", "output": {"bias": "none"}},
        "back": {"from": "inner", "group": "ladder"},
    }
    spec = load(tmp_path, {f"conditions.{name}": condition for name, condition in conditions.items()})
    usual = "8, learning rate 0.1, 0.01 from step 20"
    assert spec.condition("long").changes == (f"training: 40 steps of SGD, batch {usual}",)
    assert spec.condition("moved").changes == ("training: 10 steps of SGD, batch 8, learning rate 0.1",)
    assert spec.condition("inner").changes == ("b2: std 0 → none",)
    assert spec.condition("back").changes == (f"training: 30 steps of SGD, batch {usual}",)
    assert spec.condition("zero").changes[-1] == "training: 10 steps of SGD, batch 8, learning rate 0.1"


def test_a_condition_without_a_parent_mentions_a_schedule_that_is_not_the_studys(tmp_path: Path) -> None:
    expected = {"ladder": "activation 1: tanh", "side": "training: 10 steps of SGD, batch 8, learning rate 0.1"}
    for group, last in expected.items():
        assert load(tmp_path, {"conditions.baseline.group": group}).condition("baseline").changes[-1] == last


def test_statistics_are_mentioned_where_they_are_not_what_batchnorm_is_read_with(tmp_path: Path) -> None:
    normed = {"from": "fixed", "hidden": {"norm": "batch"}}
    spec = load(tmp_path, {"conditions.a": normed, "conditions.b": {**normed, "statistics": "batch"}})
    assert spec.condition("a").changes == ("norm 1: none → BatchNorm",)
    assert spec.condition("b").changes == ("norm 1: none → BatchNorm", "read with batch statistics")
    back = {"from": "b", "hidden": {"norm": "none"}}
    spec = load(tmp_path, {"conditions.b": {**normed, "statistics": "batch"}, "conditions.back": back})
    assert spec.condition("back").changes == ("norm 1: BatchNorm → none",)
