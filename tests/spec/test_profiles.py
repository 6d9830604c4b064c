"""A profile is the study with the same values written in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.errors import SpecError
from study.spec.read import read_study
from tests.support.tiny import GONE, load, refusal, tiny, write


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


def test_a_profile_that_is_not_used_is_checked_too(tmp_path: Path) -> None:
    assert "unknown key 'seed'; did you mean 'seeds'?" in refusal(tmp_path, {"profiles.quick.seed": 3})
    assert "expected 0 or more, got -1" in refusal(tmp_path, {"profiles.quick.training.steps": -1})


def test_an_error_in_a_profile_points_to_the_profile(tmp_path: Path) -> None:
    path = write(tmp_path, {"profiles.quick.conditions": {"fixed": {"output": {"weight": {"gian": 1}}}}})
    line = next(i for i, text in enumerate(path.read_text().split("\n"), start=1) if "gian" in text)
    with pytest.raises(SpecError) as refused:
        read_study(path, "quick", name="s.yaml")
    expected = "conditions.fixed.output.weight.gian: unknown key 'gian'; did you mean 'gain'?"
    assert str(refused.value) == f"s.yaml:{line}: {expected}"


@pytest.mark.parametrize("name", ["a/../../b", "/tmp", "a\\b", "../c"])
def test_a_profiles_name_leads_to_no_other_folder(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, {"profiles": {name: {"seeds": 1}}})
    assert "part of a folder's name; got" in message


def test_no_such_profile(tmp_path: Path) -> None:
    assert refusal(tmp_path, {}, profile="quik").endswith("profiles: no profile 'quik'; did you mean 'quick'?")
    assert refusal(tmp_path, {"profiles": GONE}, profile="x").endswith("no profile 'x'; known: full")
