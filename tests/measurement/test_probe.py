"""Gaussian x @ w: the growth of the std, within its sampling error."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from study.measurement.probe import PROBES, ProbeSizes, probe_growth
from study.rng import generator

SIZES = ProbeSizes(examples=400, units=60, fan_in=(10, 100, 300))
SEEDS = (0, 1, 2)


def test_the_std_grows_as_the_root_of_fan_in_within_its_sampling_error() -> None:
    """y_nu = Σ_i x_ni w_iu over n = 1 … N, u = 1 … U. Given x and w the entries are dependent: the mean of y² is
    Σ_ij (xᵀx/N)_ij (w wᵀ/U)_ij, whose relative variance is about 2/(f N) + 2/(f U) + 2/(N U) for fan_in f: xᵀx/N and
    w wᵀ/U have diagonals with variance 2/N and 2/U averaged over f of them, and the off-diagonal products, f² of
    variance 1/(N U), add the last term (counted twice to be safe). The std has half that relative error. Five standard
    errors."""
    for row in probe_growth(SIZES, SEEDS):
        if row["init"] not in ("std 1", "1 / √fan_in"):
            continue
        f, N, U = float(row["fan_in"]), SIZES.examples, SIZES.units  # type: ignore[arg-type]
        error = 0.5 * math.sqrt(2 / (f * N) + 2 / (f * U) + 2 / (N * U))
        expected = math.sqrt(f) if row["init"] == "std 1" else 1.0
        assert row["std_y"] == pytest.approx(expected, rel=5 * error), row
        assert row["std_x"] == pytest.approx(1, rel=5 / math.sqrt(2 * f * N))  # the std of f·N standard normals


def test_the_lectures_probe_gives_3_16_at_10() -> None:
    """The lecture's cell: x (1000, 10) @ w (10, 200) has std about √10 = 3.16; here over ten seeds."""
    found = [
        float(str(row["std_y"]))
        for row in probe_growth(ProbeSizes(1000, 200, (10,)), tuple(range(10)))
        if row["init"] == "std 1"
    ]
    error = 0.5 * math.sqrt(2 / (10 * 1000) + 2 / (10 * 200) + 2 / (1000 * 200)) / math.sqrt(10)  # of a mean of ten
    assert np.mean(found) == pytest.approx(math.sqrt(10), rel=5 * error)


def test_y_is_x_times_the_scaled_w_of_the_same_draw() -> None:
    rows = {(r["init"], r["fan_in"], r["seed"]): r for r in probe_growth(SIZES, SEEDS)}
    assert len(rows) == len(PROBES) * 3 * 3
    draw = generator(2, "probe.100")
    x, w = draw.standard_normal((400, 100)), draw.standard_normal((100, 60))
    # float32 products of 100 terms against float64
    assert rows["std 1", 100, 2]["std_y"] == pytest.approx((x @ w).std(ddof=1), rel=1e-5)
    assert rows["1 / √fan_in", 100, 2]["std_y"] == pytest.approx((x @ w / 10).std(ddof=1), rel=1e-5)
    assert rows["tanh after 1 / √fan_in", 100, 2]["std_y"] == pytest.approx(np.tanh(x @ w / 10).std(ddof=1), rel=1e-5)
    gained = np.tanh(x @ w * (5 / 3) / 10)
    assert rows["tanh after (5/3) / √fan_in", 100, 2]["std_y"] == pytest.approx(gained.std(ddof=1), rel=1e-5)


def test_other_fan_ins_and_seeds_do_not_change_a_row() -> None:
    part = probe_growth(replace(SIZES, fan_in=(100,)), (1,))
    assert part == [row for row in probe_growth(SIZES, SEEDS) if row["fan_in"] == 100 and row["seed"] == 1]
