"""A part of a study keeps the claims that can still be judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.errors import SpecError
from study.spec.claims import PROBES
from study.spec.subset import only_conditions
from tests.support.tiny import load


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
