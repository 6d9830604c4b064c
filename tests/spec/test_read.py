"""A study file becomes a Spec as it is meant, or one line says where it goes wrong, what was got and what would do."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.data import words
from study.errors import SpecError
from study.network.inits import Init
from study.network.layers import Layer
from study.spec.claims import PROBES
from study.spec.read import read_study
from study.spec.subset import only_conditions
from study.training.cells import Schedule
from tests.support.tiny import GONE, HERE, dump, load, one_line, prepare, refusal, tiny, write

ALONE = {"conditions": {"only": tiny()["conditions"]["baseline"]}, "published": GONE, "claims": GONE, "groups": GONE}


# -- what a study file means --------------------------------------------------------------------------------------


def test_the_smallest_study_is_one_condition(tmp_path: Path) -> None:
    spec = load(tmp_path, {**ALONE, "profiles": GONE, "probe": GONE, "measure": GONE, "evaluation": GONE})
    (condition,) = spec.conditions
    assert (condition.parent, condition.statistics, spec.published, spec.claims) == (None, "none", None, ())
    assert condition.network.hidden == (Layer(Init(std=1.0), Init(std=1.0), "none", "tanh"),)
    assert condition.network.output == Layer(Init(std=3.0), Init(std=1.0), "none", "linear")
    assert condition.schedule == Schedule(8, 30, ((0, 0.1), (20, 0.01)))


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


@pytest.mark.parametrize(
    "key", ["data.sha256", "data.vocabulary", "probe", "published", "published.runs.fixed.tolerance"]
)
def test_none_leaves_out_what_may_be_left_out(tmp_path: Path, key: str) -> None:
    found = [load(tmp_path, {key: none}) for none in ("none", None)]
    assert found[0].digest() == found[1].digest()


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
    assert spec.condition("n").network.batchnorm_layers == (0, 1, 2, 3, 4)
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
    assert (child.network.batchnorm_layers, child.statistics) == ((1,), "running")
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


def test_a_number_of_seeds_is_that_many_from_0(tmp_path: Path) -> None:
    assert load(tmp_path, {"seeds": 3}).seeds == (0, 1, 2)
    assert load(tmp_path, {"seeds": [7, 0, 2**63 - 1]}).seeds == (7, 0, 2**63 - 1)
    assert read_study(write(tmp_path), seeds=[5]).seeds == (5,)


def test_a_published_run_is_a_condition_changed(tmp_path: Path) -> None:
    spec = load(tmp_path)
    assert spec.published is not None
    fixed, batch = spec.published.runs
    assert fixed.condition.network == spec.condition("fixed").network
    assert batch.condition.network.hidden[0].norm == "batch"
    assert batch.condition.network.hidden[0].bias == Init(std=1.0)
    assert (batch.condition.statistics, batch.tolerance) == ("batch", None)
    assert fixed.comparable
    assert batch.comparable


def test_a_sweep_yields_a_condition_for_every_rate(tmp_path: Path) -> None:
    spec = load(tmp_path, {"sweeps.rate": {"of": ["batchnorm"], "lr": [0.03, 1], "training": {"steps": 5}, "seeds": 1}})
    (sweep,) = spec.sweeps
    assert sweep.yielded == {("batchnorm", rate): f"batchnorm at lr {rate:g}" for rate in (0.03, 1.0)}
    for (_, rate), name in sweep.yielded.items():
        found = spec.condition(name)
        assert found.network == spec.condition("batchnorm").network
        assert (found.schedule, found.parent, found.seeds) == (Schedule(8, 5, ((0, rate),)), "batchnorm", 1)
    assert load(tmp_path, {"sweeps.rate": None}).digest() == load(tmp_path).digest()


def test_neither_claims_nor_a_part_are_about_what_a_sweep_yields(tmp_path: Path) -> None:
    sweep = {"sweeps.rate": {"of": ["baseline"], "lr": [1]}}
    assert "no condition 'baseline at lr 1'" in refusal(tmp_path, {**sweep, "claims.2.of": "baseline at lr 1"})
    assert [c.name for c in only_conditions(load(tmp_path, sweep), ["baseline"]).conditions] == ["baseline"]
    with pytest.raises(SpecError, match="--only: no condition"):
        only_conditions(load(tmp_path, sweep), ["baseline at lr 1"])


# -- profiles -----------------------------------------------------------------------------------------------------


def test_a_profile_is_laid_over_the_study_key_by_key(tmp_path: Path) -> None:
    """Independently: the study with the same values written in place."""
    patch = {
        "seeds": [4],
        "measure": [2],
        "model": {"context": 3},
        "training": {"steps": 12, "lr": {0: 0.2}},
        "groups": {"side": {"training": {"steps": 4}}},
        "probe": {"fan_in": [9]},
        "conditions": {"fixed": {"output": {"bias": "none"}}, "new": {"from": "zero"}},
        "published": {"seed": 8},
    }
    in_place = {
        "seeds": [4],
        "measure": [2],
        "model.context": 3,
        "training.steps": 12,
        "training.lr": {0: 0.2},
        "groups.side.training.steps": 4,
        "probe.fan_in": [9],
        "conditions.fixed.output.bias": "none",
        "conditions.new": {"from": "zero"},
        "published.seed": 8,
    }
    laid, written = load(tmp_path, {"profiles.p": patch}, "p"), load(tmp_path, in_place)
    assert laid.digest() == written.digest()
    assert laid.conditions == written.conditions
    assert laid.profile == "p"


def test_full_is_the_study_as_written(tmp_path: Path) -> None:
    assert load(tmp_path).digest() == load(tmp_path, {"profiles": GONE}).digest()
    assert load(tmp_path, {"profiles.quick": None}, "quick").digest() == load(tmp_path).digest()


@pytest.mark.parametrize("name", ["std", "gain", "lr", "seeds", "weight"])
def test_a_condition_may_have_the_name_of_a_key(tmp_path: Path, name: str) -> None:
    """Laid over by a profile it is merged like any other, and drives out none of its neighbours."""
    changes = {f"conditions.{name}": {"from": "fixed", "title": "T"}, f"profiles.p.conditions.{name}.group": "side"}
    laid = load(tmp_path, changes, "p")
    assert [c.name for c in laid.conditions] == [*tiny()["conditions"], name]
    assert (laid.condition(name).title, laid.condition(name).group) == ("T", "side")


def test_a_published_number_is_comparable_where_the_profile_trains_what_was_published(tmp_path: Path) -> None:
    def comparable(patch: dict[str, Any]) -> list[bool]:
        published = load(tmp_path, {"profiles.p": patch}, "p").published
        assert published is not None
        return [run.comparable for run in published.runs]

    assert comparable({"seeds": 1}) == [True, True]
    assert comparable({"training": {"steps": 25}}) == [False, False]
    assert comparable({"training": {"steps": 25}, "published": {"training": {"steps": 30}}}) == [True, True]
    assert comparable({"conditions": {"fixed": {"output": {"weight": {"std": 1}}}}}) == [False, False]
    added = {"published": {"runs": {"new": {"from": "zero", "train": 2, "dev": 2}}}}
    assert comparable(added) == [True, True, False]


def test_a_profile_that_is_not_used_is_checked_too(tmp_path: Path) -> None:
    assert "unknown key 'seed'; did you mean 'seeds'?" in refusal(tmp_path, {"profiles.quick.seed": 3})
    assert "expected 1 or more, got 0" in refusal(tmp_path, {"profiles.quick.training.steps": 0})


def test_an_error_in_a_profile_points_to_the_profile(tmp_path: Path) -> None:
    path = write(tmp_path, {"profiles.quick.conditions": {"fixed": {"output": {"weight": {"gian": 1}}}}})
    line = next(i for i, text in enumerate(path.read_text().split("\n"), start=1) if "gian" in text)
    with pytest.raises(SpecError) as refused:
        read_study(path, "quick", name="s.yaml")
    expected = "conditions.fixed.output.weight.gian: unknown key 'gian'; did you mean 'gain'?"
    assert str(refused.value) == f"s.yaml:{line}: {expected}"


# -- identity -----------------------------------------------------------------------------------------------------


def test_the_digest_of_the_projects_own_study_is_that_of_its_reports() -> None:
    """Tables are of this study as long as it stands: the digest is spec_sha256 of reports/manifest.json."""
    found = read_study(HERE.parents[1] / "experiments.yaml").digest()
    assert found == "b78f6d31729fe329e900c76804d5dabdce9365eea4b15f7323ff43933c4fe8c5"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"title": "Other"}, True),
        ({"conditions.fixed.title": "Other"}, True),
        ({"claims": []}, True),
        ({"published.runs.fixed.train": 3.0}, True),
        ({"data.path": "./tiny.txt"}, True),
        ({"seeds": [0, 1]}, True),
        ({"training.lr": {0: 0.1, 20: 0.02}}, False),
        ({"seeds": 3}, False),
        ({"measure": [9]}, False),
        ({"conditions.fixed.output.bias": {"std": 0.1}}, False),
        ({"conditions.calibrated.statistics": "batch"}, False),
        ({"published.seed": 8}, False),
        ({"probe.units": 21}, False),
        ({"data.shuffle_seed": 43}, False),
        ({"evaluation.batch_sizes": [2]}, False),
    ],
)
def test_the_digest_changes_with_what_determines_a_number(tmp_path: Path, changes: dict[str, Any], same: bool) -> None:
    assert (load(tmp_path, changes).digest() == load(tmp_path).digest()) is same


def test_the_documents_hash_ignores_comments_and_layout(tmp_path: Path) -> None:
    plain = load(tmp_path).document_sha256
    commented = read_study(HERE / "tiny.yaml", name="tiny.yaml")
    assert commented.document_sha256 == plain
    assert load(tmp_path, {"title": "Other"}).document_sha256 != plain


# -- a part of a study --------------------------------------------------------------------------------------------


def test_a_part_keeps_the_claims_that_can_still_be_judged(tmp_path: Path) -> None:
    spec = load(tmp_path)
    assert [c.id for c in only_conditions(spec, ["fixed"]).claims] == ["repaired"]
    assert [c.id for c in only_conditions(spec, ["fixed", "baseline"]).claims] == [
        "baseline-high",
        "repaired",
        "repaired-lower",
    ]
    assert [c.id for c in only_conditions(spec, ["calibrated"]).claims] == ["repaired"]
    two = load(tmp_path, {"claims.0.of": ["baseline", "fixed"]})
    assert only_conditions(two, ["fixed"]).claims[0].of == ["fixed"]


def test_a_part_keeps_claims_about_the_probe_and_drops_differences_to_what_is_gone(tmp_path: Path) -> None:
    probe = {"claims.2": {"id": "p", "sentence": "s", "measure": "probe.16", "of": next(iter(PROBES)), "above": 1}}
    minus = {"claims.1": {"id": "m", "sentence": "s", "measure": "dead", "of": "fixed", "minus": "zero", "above": 1}}
    spec = load(tmp_path, {**probe, **minus})
    assert [c.id for c in only_conditions(spec, ["fixed"]).claims] == ["p"]
    assert [c.id for c in only_conditions(spec, ["fixed", "zero"]).claims] == ["m", "p"]
    assert only_conditions(spec, ["fixed"]).claims[0].of == spec.claims[2].of


def test_a_part_keeps_differences_within_the_probe_and_drops_claims_about_sweeps_and_twins(tmp_path: Path) -> None:
    claim = {"sentence": "s", "of": "fixed", "above": 0}
    first, second = list(PROBES)[:2]
    changes = {
        "sweeps": {"rates": {"of": ["fixed", "zero"], "lr": [0.1, 1]}},
        "twins": {"of": ["fixed"], "seeds": 1},
        "claims": [
            {**claim, "id": "probe", "measure": "probe.16", "of": first, "minus": second},
            {**claim, "id": "best", "measure": "loss.dev", "at": "best"},
            {**claim, "id": "twin", "measure": "twin_gap", "at": "end"},
            {**claim, "id": "end", "measure": "loss.dev", "at": "end"},
        ],
    }
    spec = load(tmp_path, changes)
    assert len(spec.claims) == 4
    assert [c.id for c in only_conditions(spec, ["fixed"]).claims] == ["probe", "end"]
    assert only_conditions(spec, ["fixed"]).claims[0] == spec.claims[0]


def test_a_part_has_its_own_groups_and_nothing_published(tmp_path: Path) -> None:
    part = only_conditions(load(tmp_path), ["zero"])
    assert (list(part.groups), part.published, [c.name for c in part.conditions]) == (["side"], None, ["zero"])


def test_a_part_of_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--only: no condition 'fixd'; did you mean 'fixed'"):
        only_conditions(load(tmp_path), ["baseline", "fixd"])


# -- what is refused ----------------------------------------------------------------------------------------------

LEAVES = {
    # a place -> values that may not stand there; null, text, a list and so on are tried at every place besides
    "title": [3, [], {}, None],
    "data": ["names.txt", [], None],
    "data.path": ["", 3, None],
    "data.sha256": ["abc", "A" * 64, 3],
    "data.vocabulary": ["", "aa", ["a"]],
    "data.boundary": ["", "..", 0, "\n", None],
    "data.splits": [{}, [0.8, 0.1, 0.1], {"train": 0.8, "dev": 0.2}, None, {"train": 0.8, "val": 0.1, "test": 0.1}],
    "data.splits.train": [0, 1, -0.6, 0.5, 0.7, "0.6", math.nan, math.inf],
    "data.shuffle_seed": ["x", 1.5, None],
    "model": [[], None],
    "model.context": [0, 1001, 2.0, "3", True, None],
    "model.embedding": [0, -1, 10**9, None],
    "model.hidden": [[], 8, [0], [8.0], [10**9], [8] * 101, None, [100_000, 100_000]],
    "training": [[], None],
    "training.batch_size": [0, -1, 1, 10**9, "8", None],  # 1: there is BatchNorm
    "training.steps": [0, -1, 10**10, 20, 1e3, None],  # 20: the rate changes there
    "training.lr": [0, -1, {}, [], "0.1", {5: 0.1}, {0: 0}, {0: math.nan}, {0: math.inf}, {0: 0.1, 30: 0.01}, None],
    "seeds": [0, -1, [], [0, 0], [-1], [2**63], [1.5], 10**9, "3", True, None],
    "measure": [[0], [31], [-1], 5, ["x"], None],
    "evaluation.batch_sizes": [[1, 2], [0], 2, None],
    "probe.fan_in": [[], [0], 10, ["x"]],
    "probe.examples": [1, 0, 10**9],
    "groups": [[], "ladder", None],
    "groups.side": [None, "x"],
    "groups.side.training": [{"steps": 0}, {"lr": {5: 1}}, {"step": 5}],
    "profiles": [[], "quick", None],
    "profiles.quick": [3, [], "x", {"data": {}}, {"seed": 1}, {1: 2}],
    "conditions": [{}, [], None, {"a": None}, {1: {}}],
    "conditions.fixed": [None, [], "baseline", {}],
    "conditions.fixed.title": [3, []],
    "conditions.fixed.from": ["basline", "fixed", "batchnorm", 3, ""],
    "conditions.fixed.group": ["sides", 3],
    "conditions.fixed.statistics": ["running", "mean", 3],
    "conditions.batchnorm.statistics": ["none", None],
    "conditions.fixed.embedding": [{"gain": 1}, {}, {"std": 1, "gain": 1}, 1],
    "conditions.fixed.hidden": [[], [{}, {}], "tanh", [3], {"weights": {"std": 1}}, {"activation": "selu"}],
    "conditions.fixed.output": [[], 3],
    "conditions.fixed.output.weight": [
        0.01,
        None,
        {},
        {"std": -1},
        {"std": math.nan},
        {"std": "1e-2x"},
        {"gain": "tan"},
    ],
    "conditions.fixed.output.bias": [0, "off", {"mean": 0}],
    "conditions.fixed.output.norm": ["layer", True],
    "conditions.fixed.output.activation": ["softmax", None, "none"],
    "conditions.fixed.model": [{"hidden": []}, {"width": 3}, {"hidden": [8, 8], "context": 0}],
    "conditions.fixed.training": [{"steps": 20}, {"lr": {1: 1}}, {"epochs": 3}],
    "sweeps": [[], None, {"s": {}}, {"s": 3}],
    "sweeps.s": [
        {"of": ["fixd"], "lr": [1]},
        {"of": [], "lr": [1]},
        {"of": ["fixed"], "lr": []},
        {"of": ["fixed"], "lr": [0]},
        {"of": ["fixed"], "lr": [math.nan]},
        {"of": ["fixed"], "lr": [0.1, 0.1 + 1e-16 * 200]},  # one name for both
        {"of": ["fixed"], "lr": [1], "seeds": 0},
        {"of": ["fixed"], "lr": [1], "training": {"lr": 0.5}},
        {"of": ["fixed"], "lr": [1], "training": {"steps": 0}},
        {"of": ["batchnorm"], "lr": [1], "training": {"batch_size": 1}},
    ],
    "twins": [[], {}, {"of": ["fixd"]}, {"of": []}, {"of": ["fixed"], "seeds": -1}, {"of": ["fixed"], "short": {}}],
    "published": [[], 3],
    "published.source": [GONE, 3],
    "published.seed": [-1, 2**63, None, GONE],
    "published.protocol": ["torch", "paired", None],
    "published.runs": [{}, [], None],
    "published.runs.fixed.from": [GONE, "nope"],
    "published.runs.fixed.train": [GONE, math.nan, "2.1", None],
    "published.runs.fixed.tolerance": [0, -1, math.inf],
    "published.runs.fixed.statistics": ["batch"],
    "claims": [{}, "x", None],
    "claims.0.id": ["", None, "repaired"],
    "claims.0.sentence": ["", GONE],
    "claims.0.measure": ["loss", "loss.val", "los.train", "grad_norm", "grad_norm.X1", "dead.W1", "", None],
    "claims.0.at": ["start", -1, None],
    "claims.0.layer": [0, "1"],
    "claims.0.of": ["baselin", ["fixed", "x"], [], 3, [3], {"nrm": 1}, {"depth": {"over": 1}}, {"depth": [{}]}, None],
    "claims.0.above": [GONE, "log(V)", "log(vocabulary) + 1.2.3", "log(vocabulary) - .", "", math.inf, [1]],
    "claims.0.near": [2.0],  # a second comparison
    "claims.0.within": [0.1, -1],
    "claims.0.gate": ["yes", 1],
    "claims.1.within": [GONE, -0.1, math.nan],
    "claims.0.minus": ["basline", "baseline", 3],
    "claims.2.minus": ["zero"],  # less_than is a difference already
    "claims.2.less_than": ["baselin", "fixed"],
    "claims.3.margin": [GONE, 0, -1],
}


@pytest.mark.parametrize("place", LEAVES)
def test_a_value_that_may_not_stand_there_is_refused_at_its_place(tmp_path: Path, place: str) -> None:
    for value in LEAVES[place]:
        message = refusal(tmp_path, {place: value})
        assert message.startswith("tiny.yaml:"), message


@pytest.mark.parametrize(
    "place",
    [
        "", "data", "data.splits", "model", "training", "evaluation", "probe", "groups.side", "groups.side.training",
        "profiles.quick", "conditions.fixed", "conditions.fixed.output", "conditions.fixed.output.weight",
        "conditions.fixed.model", "conditions.fixed.training", "published", "published.runs.fixed", "claims.0",
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_at_its_place(tmp_path: Path, place: str) -> None:
    where = f"{place}.unheard_of".removeprefix(".")
    message = refusal(tmp_path, {where: 1})
    assert f": {where}: " in message or place.startswith("profiles")
    assert "unheard_of" in message


@pytest.mark.parametrize("key", ["data", "model", "training", "seeds", "conditions", "data.path", "model.hidden"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    assert f"missing key '{key.split('.')[-1]}'" in refusal(tmp_path, {key: GONE})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"conditions.fixed.output.weight": {"gian": 1}},
            "conditions.fixed.output.weight.gian: unknown key 'gian'; did you mean 'gain'?",
        ),
        (
            {"conditions.fixed.from": "basline"},
            "conditions.fixed.from: no condition 'basline'; did you mean 'baseline'?",
        ),
        ({"data.splits.test": 0.1}, "data.splits: the shares must add up to 1, got 0.9"),
        ({"title": 2018}, "title: expected text, got 2018; put it in quotes"),
        ({"seeds": 0}, "seeds: expected a number of seeds from 1 to 100,000, or a list of them, got 0"),
        (
            {"claims.0.of": 3},
            "claims.0.of: expected a condition, a list of conditions or a mapping of properties, got 3",
        ),
        ({"training.steps": 0}, "training.steps: expected 1 or more, got 0"),
        (
            {"conditions.zero.model": {"hidden": [4, 4]}, "conditions.zero.hidden": [{}, {}, {}]},
            "conditions.zero.hidden: 3 layers listed for the 2 of model.hidden [4, 4]",
        ),
        (
            {"conditions.batchnorm.training": {"batch_size": 1}},
            "conditions.batchnorm.training.batch_size: "
            "BatchNorm needs 2 or more, as one example has no standard deviation; got 1",
        ),
        (
            {"groups.side.training": {"steps": 10}},
            "groups.side.training.lr: changes at step 20, but training ends after 10; "
            "a shorter training names its own lr",
        ),
        (
            {"claims.0.near": 2, "claims.0.within": 1},
            "claims.0: expected one of near, above, below, less_than, equivalent_to, got near, above",
        ),
        ({"claims.0.measure": "los.train"}, "claims.0.measure: unknown measurement 'los'; did you mean 'loss'?"),
        ({"claims.0.of": {"nrm": "batch"}}, "claims.0.of: unknown property 'nrm'; did you mean 'norm'?"),
        ({"published.protocol": "paired"}, "published.protocol: expected 'lecture', got 'paired'"),
        (
            {"published.runs.fixed.from": GONE},
            "published.runs.fixed: missing key 'from'; a published run is a condition, changed",
        ),
    ],
)
def test_a_message_says_where_what_and_what_would_do(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert refusal(tmp_path, changes).split(": ", 1)[1] == message


def test_the_line_is_that_of_the_key(tmp_path: Path) -> None:
    line = int(refusal(tmp_path, {"conditions.fixed.output.weight": {"gian": 1}}).split(":")[1])
    assert "gian" in (tmp_path / "tiny.yaml").read_text().split("\n")[line - 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"conditions.fixed": {"x" * 5000: 1}},
        {"conditions.fixed.from": "x" * 5000},
        {"conditions.fixed.group": "x" * 5000},
        {"conditions.fixed.hidden.weight": {"gain": "x" * 5000}},
        {"profiles.quick": {"x" * 5000: 1}},
        {"claims.0.of": "x" * 5000},
        {"claims.0.of": {"x" * 5000: 1}},
        {"claims.0.measure": "x" * 5000},
        {"claims.0.measure": "loss." + "x" * 5000},
        {"claims.1.near": "x" * 5000},
        {"twins": {"of": ["x" * 5000]}},
        {
            "conditions": {f"{i:03}" + "n" * 97: tiny()["conditions"]["baseline"] for i in range(30)},
            "claims": [],
            "published": GONE,
            "twins": {"of": ["x"]},
        },
    ],
)
def test_a_message_stays_short_however_long_the_word(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert len(refusal(tmp_path, changes)) < 600


@pytest.mark.parametrize("links", [1, 2, 3, 50])
def test_a_cycle_of_parents_is_refused(tmp_path: Path, links: int) -> None:
    cycle = {f"conditions.c{i}": {"from": f"c{(i + 1) % links}"} for i in range(links)}
    assert ": a cycle: " in refusal(tmp_path, cycle)


def test_too_many_weights_are_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"conditions.zero.model": {"hidden": [50_000, 50_000]}})
    assert "conditions.zero.model: expected at most 100,000,000 weights, got 2,500,300,000" in message


@pytest.mark.parametrize("name", ["", " ", "a,b", "a\nb", "\x00", "\u202e", "x" * 101, " padded", "none"])
@pytest.mark.parametrize("place", ["conditions", "groups", "profiles", "published.runs"])
def test_a_name_that_would_break_a_line_or_a_list_is_refused(tmp_path: Path, place: str, name: str) -> None:
    study = tiny()
    entries = study["published"]["runs"] if place == "published.runs" else study[place]
    entries[name] = {"from": "baseline", "train": 2, "dev": 2} if place != "groups" else {}
    assert "expected a name of 1 to 100 printable characters" in refusal(tmp_path, {place: entries})


@pytest.mark.parametrize(
    "name", ["a/../../b", "<script>alert(1)</script>", "..", "--help", "ünï 😀", "a'b\"c", "CON", "x" * 100]
)
def test_any_other_name_is_a_name(tmp_path: Path, name: str) -> None:
    study = tiny()
    study["conditions"][name] = {"from": "baseline"}
    assert load(tmp_path, {"conditions": study["conditions"]}).condition(name).title == name


def test_no_such_profile(tmp_path: Path) -> None:
    assert refusal(tmp_path, {}, profile="quik").endswith("profiles: no profile 'quik'; did you mean 'quick'?")
    assert refusal(tmp_path, {"profiles": GONE}, profile="x").endswith("no profile 'x'; known: full")


# -- where the word list may be -----------------------------------------------------------------------------------


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """A study in a folder of its own, below one with a word list that is not its business."""
    (tmp_path / "secret.txt").write_bytes((HERE / "tiny.txt").read_bytes())
    (tmp_path / "own" / "lists").mkdir(parents=True)
    (tmp_path / "own" / "lists" / "list.txt").write_bytes((HERE / "tiny.txt").read_bytes())
    (tmp_path / "own" / "out.txt").symlink_to("../secret.txt")
    (tmp_path / "own" / "up").symlink_to("..")
    (tmp_path / "own" / "in.txt").symlink_to("lists/list.txt")
    (tmp_path / "own" / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "own" / "pipe")
    return tmp_path / "own"


OUTSIDE = ["../secret.txt", "lists/../../secret.txt", "out.txt", "up/secret.txt", "../nowhere.txt", "/dev/null/x", ".."]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_word_list_outside_the_folder_is_refused(nested: Path, path: str) -> None:
    file = write(nested, {"data.path": path})
    line = next(i for i, text in enumerate(file.read_text().split("\n"), 1) if "path:" in text)
    with pytest.raises(SpecError) as refused:
        read_study(file, name="s.yaml")
    problem = f"leads out of the study file's folder, got '{path}'; move the word list there, or allow this with"
    assert one_line(str(refused.value)) == f"s.yaml:{line}: data.path: {problem} --data-anywhere"


@pytest.mark.parametrize("path", ["../secret.txt", "out.txt", "up/secret.txt"])
def test_a_word_list_outside_the_folder_is_read_when_that_is_allowed(nested: Path, path: str) -> None:
    spec = read_study(write(nested, {"data.path": path}), anywhere=True)
    assert words.load(spec.data, spec.folder) == words.load(load(nested).data, nested)


def test_an_absolute_path_is_as_good_as_where_it_leads(nested: Path) -> None:
    outside, inside = nested.parent / "secret.txt", nested / "lists" / "list.txt"
    assert "leads out of the study file's folder" in refusal(nested, {"data.path": str(outside)})
    assert read_study(write(nested, {"data.path": str(outside)}), anywhere=True)
    assert load(nested, {"data.path": str(inside)})


@pytest.mark.parametrize("path", ["tiny.txt", "lists/list.txt", "lists/../tiny.txt", "in.txt", "up/own/tiny.txt"])
def test_a_word_list_in_the_folder_is_read_however_it_is_reached(nested: Path, path: str) -> None:
    prepare(write(nested, {"data.path": path}))


def test_the_folder_is_that_in_which_the_study_file_is_found(nested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(nested)
    (nested.parent / "linked").symlink_to("own")
    (nested.parent / "tiny.yaml").symlink_to("own/tiny.yaml")
    prepare(nested.parent / "linked" / "tiny.yaml")
    with pytest.raises(SpecError, match=r"tiny\.txt: cannot be read"):  # beside the link there is none
        prepare(nested.parent / "tiny.yaml")
    monkeypatch.chdir(nested)
    prepare(Path("tiny.yaml"))


@pytest.mark.parametrize("anywhere", [False, True])
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("pipe", "expected a file"),
        ("lists", "expected a file"),
        (".", "expected a file"),
        ("circle", "cannot be followed"),
        ("a\x00b", "cannot be followed"),
        ("x" * 5000, "cannot be followed"),
    ],
)
def test_what_is_no_file_is_refused_unread(nested: Path, path: str, problem: str, anywhere: bool) -> None:
    with pytest.raises(SpecError, match=rf"s\.yaml:\d+: data\.path: {problem}"):
        read_study(write(nested, {"data.path": path}), name="s.yaml", anywhere=anywhere)


# -- anything at all ----------------------------------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.sampled_from([0.1, 1e-9, math.nan, math.inf, -math.inf, 10**30, 2**63])
    | st.sampled_from(
        ["none", "batch", "tanh", "baseline", "fixed", "calibrated", "loss.train", "log(vocabulary)", ".", ""]
    )
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5),
    lambda value: (
        st.lists(value, max_size=3)
        | st.dictionaries(
            st.sampled_from(["std", "gain", "from", "hidden", "steps", "lr", "weight", "norm", "of", "min", "max"])
            | st.integers(0, 30)
            | st.text("ab,.", max_size=2),
            value,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document, keys and entries alike."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in items for place in places(below, (*path, key)))]


PLACES = [path for path in places(tiny()) if path]


@given(
    st.lists(st.tuples(st.sampled_from(PLACES), anything), min_size=1, max_size=2), st.sampled_from(["full", "quick"])
)
@settings(max_examples=100, deadline=None)
def test_any_value_anywhere_is_a_spec_or_one_line_with_a_place(
    tmp_path_factory: Any, edits: list[tuple[tuple[Any, ...], Any]], profile: str
) -> None:
    study = tiny()
    for path, value in edits:
        entry: Any = study
        for key in path[:-1]:
            entry = entry[key] if isinstance(entry, dict) and key in entry else {}
        if isinstance(entry, dict):
            entry[path[-1]] = value
    folder = tmp_path_factory.getbasetemp()
    (folder / "tiny.txt").write_bytes((HERE / "tiny.txt").read_bytes())
    (folder / "fuzz.yaml").write_text(dump(study), encoding="utf-8")
    try:
        prepare(folder / "fuzz.yaml", profile)
    except SpecError as error:
        one_line(str(error))


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_damaged_study_file_is_a_spec_or_one_line_with_a_place(tmp_path_factory: Any, seed: int, cuts: int) -> None:
    """Pieces of the file are dropped, doubled or exchanged for marks of YAML."""
    draw, text = random.Random(seed), (HERE / "tiny.yaml").read_text("utf-8")
    for _ in range(cuts):
        a = draw.randrange(len(text))
        b = min(len(text), a + draw.randrange(1, 40))
        text = text[:a] + draw.choice(["", text[a:b] * 2, "\n", ": ", "[", "{", "&a ", "*a", "!!x ", '"']) + text[b:]
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        read_study(path, name="damaged.yaml")
    except SpecError as error:
        one_line(str(error))
