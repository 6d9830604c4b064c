"""What sections share: cuts of the learning rate, and how far a histogram reaches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from study.report.sections import common
from study.training.cells import Schedule
from tests.support.synthetic import tiny


def test_cuts_of_the_learning_rate_are_those_of_the_trainings_shown():
    base = tiny().conditions[0]
    shown = [
        replace(base, schedule=Schedule(8, 30, lr)) for lr in (((0, 0.1), (20, 0.01)), ((0, 0.2), (20, 0.1), (25, 0.1)))
    ]
    assert common.cuts(shown[:1]) == {20: "learning rate 0.1 → 0.01"}
    assert common.cuts(shown) == {20: "learning rate 0.1 → 0.01, 0.2 → 0.1"}  # at 25 nothing changes
    assert common.told_cuts(shown[:1]) == " Upright: the learning rate changes at step 20 (0.1 → 0.01)."
    assert common.told_cuts([replace(base, schedule=Schedule(8, 30, ((0, 0.1),)))]) == ""


@pytest.mark.parametrize(("scale", "reach"), [(1.0, 2), (1.2, 3), (0.1, 0.2), (3.5, 7), (100.0, 40)])
def test_a_panel_reaches_as_far_as_99_percent_of_its_histogram(scale, reach):
    edges = np.linspace(-40, 40, 8001)
    shares = np.diff([math.erf(edge / scale) for edge in edges]) / 2  # std scale / √2: 99 % within 1.82 scale
    inner = pd.DataFrame({"left": edges[:-1], "right": edges[1:], "share": shares, "density": shares})
    outer = pd.DataFrame(
        {"left": [-math.inf, 40.0], "right": [-40.0, math.inf], "share": (1 - shares.sum()) / 2, "density": math.nan}
    )
    rows = pd.concat([inner, outer])
    assert common.central(rows) == pytest.approx(reach)
    assert common.within(rows, 1.0) == pytest.approx(math.erf(1 / scale), abs=1e-4)
    assert common.beyond(rows, reach) == ("57\u00a0%" if scale == 100 else "")
