"""A sweep yields a condition for every rate, which neither claims nor a part of a study name."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.errors import SpecError
from study.spec.subset import only_conditions
from study.training.cells import Schedule
from tests.support.tiny import load, refusal


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
