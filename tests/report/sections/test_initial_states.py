"""The section on initial states: the spread over states, beside what theory predicts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from study import tables
from study.analysis.results import Results
from study.analysis.theory import predict
from study.report.html.page import Interval, TableCell
from study.report.sections.contents import SECTIONS
from tests.support.synthetic import UNJUDGED, results, tiny

STATES = 200


def values(place: int) -> Any:
    """The made-up first losses of the states of a condition, by its place in the file. Those of the last are equal."""
    return 2.2 + (4 - place) * np.linspace(-0.1, 0.1, STATES)


def with_states(lost: bool = False) -> Results:
    """The synthetic study with states of every condition; the first state of the first one may have no finite loss."""
    made, rows = results(tiny()), []
    for place, c in enumerate(made.spec.conditions):
        kind = "calibrated" if c.network.layers_with_statistics else "none"
        for seed, loss in enumerate(values(place).tolist()):
            here = {"condition": c.name, "seed": seed, "statistics": kind}
            value = None if lost and not seed and not place else loss
            rows.append({**here, "split": "train", "metric": "loss", "value": value})
            rows.append({**here, "layer": 1, "metric": "saturation_99", "value": 0.2 + seed / 1000})
            rows.append({**here, "metric": "entropy", "value": 2.0 + seed / STATES})
    return replace(made, tables={**made.tables, "states": tables.frame("states", rows)})


def section(made: Results) -> Any:
    return SECTIONS["initial-states"].make(made, UNJUDGED)


def test_a_study_without_states_has_no_such_section() -> None:
    assert section(results(tiny())) is None


def test_every_condition_has_its_spread_and_its_prediction() -> None:
    made = with_states()
    found = section(made)
    losses, saturated, others = found.tables
    for place, (c, row) in enumerate(zip(made.spec.conditions, losses.rows, strict=True)):
        name, mean, predicted, std, low, high = losses.cells[place]
        assert isinstance(name, TableCell) and name.sort == c.name
        assert isinstance(mean, Interval) and mean.n == STATES
        assert mean.mean == pytest.approx(values(place).mean())
        assert (std, low, high) == pytest.approx((values(place).std(ddof=1), values(place).min(), values(place).max()))
        theory = predict(c.network, made.vocabulary, {(1, 1): 0.75, (2,): 0.25}, 60)
        assert row["predicted"] == predicted
        assert predicted == theory.loc[theory["metric"] == "initial_loss", "predicted"].item()
    assert [row["saturation"].mean for row in saturated.rows] == pytest.approx([29.95] * 5)  # per cent
    assert others.folded
    assert {row["what"] for row in others.rows} == {"tanh outputs with |h| > 0.99", "mean entropy of the prediction"}
    assert "200 states of each condition" in found.answer[0]
    assert "**Baseline**: from 1.800 to 2.600 nats" in found.answer[0]


def test_a_condition_whose_states_are_all_equal_is_in_the_table_and_not_in_the_figure() -> None:
    found = section(with_states())
    (figure,) = found.figures
    assert "W2 = 0" not in figure.drawing.wide
    assert "Baseline" in figure.drawing.wide
    assert figure.table is found.tables[0]


def test_a_state_without_a_finite_loss_is_counted() -> None:
    found = section(with_states(lost=True))
    assert found.tables[0].rows[0]["loss"].text.startswith("1 of 200 diverged")
