"""Curves as steps wasted: smoothed losses, the step that reaches a level, and what the section says of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study.analysis.curves import curve, levels
from study.analysis.ledger import load_results
from study.analysis.quantities import needed, steps_share
from study.analysis.results import Results
from study.report.sections.waste import waste_section
from study.spec.read import read_study
from tests.support.synthetic import UNJUDGED

HOME = Path(__file__).parents[2]


def binned(losses: list[float], width: int = 1, seed: int = 0) -> pd.DataFrame:
    """Minibatch losses as rows of the table `curves`, in bins of equal width."""
    means = np.array(losses).reshape(-1, width).mean(1)
    return pd.DataFrame({"seed": seed, "first": np.arange(0, len(losses), width), "loss": means})


def test_the_smoothed_loss_is_the_mean_over_the_last_fifth() -> None:
    losses = list(np.random.default_rng(0).random(100))
    c = curve(binned(losses).sample(frac=1, random_state=0), 100)  # rows in any order
    for steps in (5, 10, 50, 100):
        assert c.smoothed(np.array([float(steps)]))[0] == pytest.approx(np.mean(losses[steps - steps // 5 : steps]))


def test_bins_of_any_width_give_the_same_at_their_ends() -> None:
    losses = [3.0] * 50 + [1.0] * 50
    fine, coarse = curve(binned(losses), 100), curve(binned(losses, 10), 100)
    ends = np.array([50.0, 100.0])
    assert list(coarse.smoothed(ends)) == pytest.approx(list(fine.smoothed(ends)))


def test_a_level_is_reached_at_the_end_of_the_bin_from_which_the_loss_stays_as_low() -> None:
    c = curve(binned([3.0] * 50 + [1.0] * 50), 100)
    assert c.reaches(3.0) == 1
    # a fifth of n, of which n - 50 are at 1: all of it from n = 62.5 on
    assert c.reaches(1.0) == 63
    assert c.reaches(2.0) == 56  # half of a fifth: n - 50 >= n / 10
    assert c.reaches(0.9) == math.inf
    lucky = curve(binned([1.0, *[3.0] * 49, *[1.0] * 50]), 100)
    assert lucky.reaches(1.0) == 63  # not the first bin, low by chance
    assert curve(binned([1.0] * 99 + [9.0]), 100).reaches(1.0) == math.inf  # what is lost again was not reached


@pytest.mark.parametrize(
    ("steps", "found"), [(200_000, [1000, 10_000, 100_000]), (400, [20, 200]), (30, [15]), (10, [])]
)
def test_levels_are_a_200th_a_20th_and_half_of_a_training(steps: int, found: list[int]) -> None:
    assert levels(steps) == found


@pytest.fixture(scope="module")
def results() -> Results:
    return load_results(read_study(HOME / "experiments.yaml"), HOME / "reports")


def cut(results: Results, losses: dict[str, dict[int, list[float]]]) -> Results:
    """The study with these minibatch losses instead of its own, in 1,000 bins of 200 steps."""
    rows = [binned(x, seed=s).assign(condition=name) for name, seeds in losses.items() for s, x in seeds.items()]
    curves = pd.concat(rows)
    return replace(results, tables={**results.tables, "curves": curves.assign(first=200 * curves["first"])})


def falls(at: int, to: float = 1.0) -> list[float]:
    """A loss of 3 that falls after so many of 1,000 bins."""
    return [3.0] * at + [to] * (1000 - at)


def test_the_section_counts_a_seed_that_never_gets_there_as_infinitely_late(results: Results) -> None:
    """Two of three seeds never: the median is not that of the one, and another condition is the best."""
    found = cut(
        results,
        {
            "baseline": {s: falls(20) for s in range(3)},
            "fixed-output": {0: falls(1), 1: falls(1000), 2: falls(1000)},
            "scaled-w1": {s: falls(10) for s in range(3)},
        },
    )
    fixed = results.spec.condition("fixed-output")
    assert [steps for _, steps in needed(found, fixed, 10_000).values()] == [2 * 200, math.inf, math.inf]
    share = steps_share(found, fixed, 200_000)
    assert share is not None and list(share) == [400 / 10_000, math.inf, math.inf]
    section = waste_section.make(found, UNJUDGED)
    assert section is not None
    assert section.answer[0].endswith("after: **Scaled W1** 2,600.")  # Fixed output layer: never, for most
    rows = [r for r in section.tables[0].rows if isinstance(r, dict) and r["condition"].sort == "fixed-output"]  # type: ignore[union-attr]
    assert any("2 of 3 never" in str(r["range"]) for r in rows)
