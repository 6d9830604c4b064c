"""Smoothed training curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from study.report.sections import curves


@pytest.mark.parametrize("steps", [20_000, 20_050, 20_300])
def test_the_end_of_a_smoothed_curve_is_a_mean_over_as_many_steps_as_the_rest(steps):
    first = np.array([*range(0, 1000, 10), *range(1000, steps, 50)])
    widths = np.diff([*first, steps])
    rows = pd.DataFrame(
        {"condition": "a", "seed": 0, "first": first, "step": first + (widths - 1) / 2, "loss": np.sqrt(first)}
    )
    found = curves._smoothed(rows)
    assert len(found) == 50
    gaps = np.diff(found["step"])
    assert gaps.min() > 0.85 * gaps.max()
    total = (rows["loss"] * widths).sum() / steps  # blocks of equal length, but for rounding to whole bins
    assert found["loss"].mean() == pytest.approx(total, rel=0.01)
