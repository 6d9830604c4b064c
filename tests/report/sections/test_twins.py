"""The section on twins tells what its table holds, also where nothing moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from study.report.sections.twins import twins_section
from tests.support import synthetic
from tests.support.tiny import load

TWINS = {"of": ["baseline"], "seeds": 1, "short": {"seeds": 2, "steps": 10}}


def answer(folder: Path, distance: float) -> str:
    """The answer of the section where every pair ends `distance` apart."""
    found = synthetic.results(load(folder, {"twins": TWINS}))
    ends = [(0, 30, 0), (0, 30, 30), (1, 10, 0), (1, 10, 10)]  # seed, steps, step
    twins = pd.DataFrame([("baseline", *end, distance, distance / 10) for end in ends])
    twins.columns = pd.Index(["condition", "seed", "steps", "step", "distance", "loss_gap"])
    content = twins_section.find(replace(found, tables={**found.tables, "twins": twins}), synthetic.UNJUDGED)
    assert content is not None
    return " ".join(content.answer)


def test_pairs_that_end_apart_have_a_geometric_mean(tmp_path: Path) -> None:
    said = answer(tmp_path, 1e-3)
    assert "the parameters are 1.0×10⁻³ of their size apart at the end (geometric mean of 1 pair)" in said


def test_pairs_that_end_equal_are_said_to_be_equal(tmp_path: Path) -> None:
    said = answer(tmp_path, 0.0)
    assert said.endswith("Every pair that was trained to the end has equal parameters there, to the last bit.")
    assert "geometric" not in said
