"""The quantities of whole trainings: what a study file may name is what can be computed."""

from __future__ import annotations

from study.analysis.quantities import QUANTITIES
from study.spec.quantities import QUANTITY_LABELS


def test_every_quantity_that_a_claim_may_name_can_be_computed_and_the_other_way_round() -> None:
    assert set(QUANTITY_LABELS) == set(QUANTITIES)
