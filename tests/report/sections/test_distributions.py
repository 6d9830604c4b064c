"""Histograms as they are drawn, and the share in the outermost twentieth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from study.measurement.histograms import BINS
from study.report.sections import distributions
from tests.support.synthetic import tiny


@pytest.mark.parametrize("reach", [0.5, 7.0, 50.0])
def test_a_drawn_histogram_keeps_the_shares_of_the_bins_it_merges(reach):
    edges = np.array([edge for edge in BINS["logits"].edges() if math.isfinite(edge)])
    shares = np.diff([math.erf(edge / 2) for edge in edges]) / 2
    rows = pd.DataFrame({"left": edges[:-1], "right": edges[1:], "share": shares, "density": shares / np.diff(edges)})
    seen = distributions._seen(rows, reach)
    assert len(seen) <= 82
    assert (seen["left"].to_numpy()[1:] == seen["right"].to_numpy()[:-1]).all()
    drawn = rows[(rows["right"] > -reach) & (rows["left"] < reach)]
    assert (seen["density"] * (seen["right"] - seen["left"])).sum() == pytest.approx(drawn["share"].sum())


def test_the_outermost_twentieth_counts_on_both_sides():
    edges = [edge for edge in BINS["h"].edges() if math.isfinite(edge)]  # of which one is 0.8999999999999999
    condition = tiny().conditions[0]
    rows = pd.DataFrame(
        {"left": edges[:-1], "right": edges[1:], "share": 1 / 80, "quantity": "h", "layer": 1, "step": 0}
    )
    found = distributions._outer(rows.assign(condition=condition.name), condition, 0)
    assert found == pytest.approx(0.1)
