"""A published run changes a condition. Its numbers are comparable where a profile trains the run to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.network.inits import Init
from tests.support.tiny import load


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
