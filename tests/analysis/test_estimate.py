"""What is said about seeds is right: against scipy, statsmodels and algebra, in ordinary and in degenerate cases."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from study.analysis.estimate import (
    EXACT,
    FLIPS,
    can_reach,
    holm,
    iqm,
    over_seeds,
    paired,
    sign_flip,
    smallest_p,
    tost,
)

# the same examples in every run, none kept on disk, no time limit per example on a busy machine
repeatable = settings(derandomize=True, database=None, deadline=None, max_examples=50)

# losses and their differences: far from overflow, and not so small that squares vanish
VALUE = st.floats(-100, 100).map(lambda x: round(x, 6))
SEEDS = st.lists(VALUE, min_size=2, max_size=10).map(np.array)
CLOSE = 1e-9  # relative; the same float64 formula in another order


def draws(n: int, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, n)


# --- one quantity --------------------------------------------------


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_t_interval_is_that_of_scipy(level: float) -> None:
    x = draws(10, 2.1)
    e = over_seeds(x, level)
    assert (e.low, e.high) == pytest.approx(stats.ttest_1samp(x, 0).confidence_interval(level), rel=CLOSE)
    assert (e.n, e.diverged, e.mean, e.median) == (10, 0, pytest.approx(x.mean()), np.median(x))
    assert e.method == f"t, {100 * level:g} %"


def test_t_interval_of_normal_seeds_covers_their_mean_as_often_as_it_says() -> None:
    covered = [e.low < 3 < e.high for e in (over_seeds(draws(5, 3, seed)) for seed in range(2000))]
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2000))  # 4 standard errors


def test_bca_interval_is_reproducible_near_t_for_normal_seeds_and_leans_with_skewed_ones() -> None:
    x = draws(40, 2.1)
    e, t = over_seeds(x, method="bca"), over_seeds(x)
    assert e == over_seeds(x, method="bca")
    assert "BCa" in e.method and "B = 9,999" in e.method
    assert (e.low, e.high) == pytest.approx((t.low, t.high), abs=0.1 * (t.high - t.low))
    skewed = over_seeds(np.exp(x), method="bca")
    assert skewed.high - skewed.mean > skewed.mean - skewed.low


def test_a_bootstrap_of_three_seeds_has_no_interval_and_says_so() -> None:
    """One resample in 27 is three times the smallest seed: its 2.5 % quantile is that seed, whatever the others are."""
    e = over_seeds([0.001, 0.4, 0.3], method="bca")
    assert math.isnan(e.low) and math.isnan(e.high)
    assert e.method == "none: 3 seeds are too few for BCa"
    assert e.text(".1f") == "0.2, n = 3"
    assert over_seeds([0.001, 0.4, 0.3, 0.2], method="bca").low > 0.001
    assert over_seeds([0.001, 0.4, 0.3], level=0.9, method="bca").low > 0.001  # one in 27 is less than a 20th


@pytest.mark.parametrize("method", ["t", "bca"])
def test_equal_seeds_have_an_interval_of_no_width_at_their_very_value(method: str) -> None:
    e = over_seeds([math.log(27)] * 10, method=method)  # type: ignore[arg-type]
    assert e.low == e.mean == e.high == e.median == math.log(27)
    assert e.text() == "3.2958 [3.2958, 3.2958], n = 10"


@pytest.mark.parametrize("method", ["t", "bca"])
def test_one_seed_has_a_mean_and_no_interval(method: str) -> None:
    e = over_seeds([2.5], method=method)  # type: ignore[arg-type]
    assert e.mean == e.median == 2.5
    assert math.isnan(e.low) and math.isnan(e.high)
    assert e.text(".1f") == "2.5, n = 1"


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_a_diverged_seed_is_counted_never_averaged_and_infinitely_bad_in_the_median(lost: float) -> None:
    e = over_seeds([1.0, lost, 2.0, lost, 3.0])
    assert (e.n, e.diverged, e.median) == (5, 2, 3.0)
    assert all(math.isnan(v) for v in (e.mean, e.low, e.high))
    assert e.text(".1f") == "2 of 5 diverged, median 3.0"
    assert over_seeds([1.0, lost]).median == math.inf
    assert over_seeds([lost]).text() == "1 of 1 diverged, median inf"


def test_no_seeds_at_all_are_refused() -> None:
    with pytest.raises(AssertionError, match="one value per seed"):
        over_seeds([])


@repeatable
@given(SEEDS, st.sampled_from([0.5, 2.0, 4.0]), VALUE)
def test_estimate_follows_a_change_of_unit_and_ignores_order(x: np.ndarray, scale: float, shift: float) -> None:
    e, moved = over_seeds(x), over_seeds(np.flip(x) * scale + shift)
    assert e.low <= e.mean <= e.high
    for name in ("low", "mean", "high", "median"):
        assert getattr(moved, name) == pytest.approx(getattr(e, name) * scale + shift, rel=1e-6, abs=1e-6)


@repeatable
@given(st.lists(VALUE, min_size=1, max_size=20))
def test_interquartile_mean_is_the_mean_without_a_quarter_at_either_end(x: list[float]) -> None:
    cut = len(x) // 4
    assert iqm(x) == pytest.approx(np.mean(sorted(x)[cut : len(x) - cut]), abs=1e-9)


def test_interquartile_mean_forgives_as_many_diverged_seeds_as_it_trims() -> None:
    assert iqm([1, 2, 3, 4, 5, 6, math.nan, math.inf]) == pytest.approx(4.5)
    assert iqm([1, 2, 3, 4, 5, math.nan, math.nan, math.inf]) == math.inf


# --- pairs --------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 10])
@pytest.mark.parametrize("mean", [0.0, 0.7, -3.0])
def test_sign_flip_p_is_that_of_scipys_exact_permutation_test(n: int, mean: float) -> None:
    a, b = draws(n, mean, seed=1), draws(n, seed=2)
    # "samples" exchanges the members of a pair: a sign flip of their difference
    oracle = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert paired(a, b).p == pytest.approx(oracle.pvalue, rel=CLOSE)


def test_sign_flips_that_tie_are_counted_whatever_the_rounding() -> None:
    assert (
        sign_flip(np.array([0.1, 0.2, 0.3, -0.4])) == 14 / 16
    )  # of the sums ±1 ±2 ±3 ±4, two are 0 and no other is < 2
    assert sign_flip(np.zeros(5)) == 1


def test_random_sign_flips_agree_with_all_of_them_and_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    d = draws(14, 0.5)
    exact = sign_flip(d)
    monkeypatch.setattr("study.analysis.estimate.EXACT", 10)
    assert sign_flip(d) == sign_flip(d) != exact
    assert sign_flip(d) == pytest.approx(exact, abs=4 * math.sqrt(exact / FLIPS))  # 4 standard errors
    # no random flip reaches this one, and yet p is not 0: the differences as they are count as a flip
    assert sign_flip(np.arange(1.0, 31)) == smallest_p(30) == 1 / (FLIPS + 1)


@repeatable
@given(SEEDS, st.data())
def test_a_difference_changes_sign_and_nothing_else_when_its_sides_change_places(x: np.ndarray, data) -> None:  # type: ignore[no-untyped-def]
    y = np.array(data.draw(st.lists(VALUE, min_size=len(x), max_size=len(x))))
    ab, ba = paired(x, y), paired(y, x)
    assert (ab.mean, ab.low, ab.high, ab.effect) == pytest.approx((-ba.mean, -ba.high, -ba.low, -ba.effect))
    assert ab.p == ba.p >= smallest_p(len(x)) == 2 / 2 ** len(x)
    assert ab.p * 2 ** len(x) == round(ab.p * 2 ** len(x))


def test_a_difference_of_one_sign_has_the_smallest_p_and_its_effect_size() -> None:
    d = np.arange(1.0, 11)
    difference = paired(d, np.zeros(10))
    assert difference.p == smallest_p(10) == 2 / 1024
    assert difference.effect == pytest.approx(stats.ttest_1samp(d, 0).statistic / math.sqrt(10))
    assert difference.text(".2f") == "+5.50 [+3.33, +7.67], n = 10, p = 0.00195, d_z = 1.8"
    assert difference.method == "all 1,024 sign flips; interval: t, 95 %"


@pytest.mark.parametrize(("shift", "effect", "p"), [(0.0, 0.0, 1.0), (0.5, math.inf, 0.25), (-0.5, -math.inf, 0.25)])
def test_a_difference_equal_in_all_seeds_has_no_width_and_effect_zero_or_infinite(
    shift: float, effect: float, p: float
) -> None:
    d = paired([1 + shift, 2 + shift, 3 + shift], [1, 2, 3])
    assert (d.mean, d.low, d.high, d.effect, d.p) == (shift, shift, shift, effect, p)


def test_one_pair_tells_a_difference_and_nothing_about_it() -> None:
    d = paired([1.5], [1.0])
    assert (d.mean, d.p, smallest_p(1)) == (0.5, 1.0, 1.0)
    assert math.isnan(d.low) and math.isnan(d.effect)
    assert d.text(".1f") == "+0.5, n = 1, p = 1"


@pytest.mark.parametrize(("a", "b"), [(math.nan, 1.0), (1.0, math.inf), (math.inf, math.inf)])
def test_a_pair_with_a_diverged_member_leaves_a_count_and_no_p(a: float, b: float) -> None:
    d = paired([1.0, a, 2.0], [1.0, b, 1.0])
    assert (d.n, d.diverged) == (3, 1)
    assert all(math.isnan(v) for v in (d.mean, d.low, d.high, d.p, d.effect))
    assert d.text() == "1 of 3 pairs diverged"


def test_series_of_other_seeds_or_another_order_are_not_paired() -> None:
    with pytest.raises(AssertionError, match="paired by seed"):
        paired(pd.Series([1.0, 2.0], index=[0, 1]), pd.Series([1.0, 2.0], index=[1, 0]))
    with pytest.raises(AssertionError, match="as many seeds"):
        paired([1.0, 2.0], [1.0])


# --- families --------------------------------------------------


@settings(repeatable, max_examples=15)  # statsmodels takes 50 ms for each
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1], rel=CLOSE)


def test_holm_keeps_a_missing_p_missing_and_in_the_family() -> None:
    adjusted = holm([0.01, math.nan, 0.02])
    assert adjusted[[0, 2]] == pytest.approx([0.03, 0.04])  # 3 · 0.01 and 2 · 0.02: the family is three
    assert math.isnan(adjusted[1])
    assert holm([]).size == 0


def test_five_seeds_never_reach_significance_and_ten_carry_a_family_of_25() -> None:
    assert not can_reach(5, 1)
    assert can_reach(6, 1)
    assert can_reach(10, 25) and not can_reach(10, 26)
    assert can_reach(100, 1000) and not can_reach(100, 1001)  # random flips resolve 1 / 20,000
    for n in (5, 6, 10):
        d = np.arange(1.0, n + 1)
        assert can_reach(n, 1) == (sign_flip(d) <= 0.05)
    assert EXACT == 16 and smallest_p(17) == 1 / (FLIPS + 1)


# --- equivalence --------------------------------------------------


@pytest.mark.parametrize("margin", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("mean", [0.0, 0.5, -1.5])
def test_tost_is_that_of_statsmodels(margin: float, mean: float) -> None:
    a, b = draws(10, mean, seed=3), draws(10, seed=4)
    p, _, _ = ttost_paired(a, b, -margin, margin)
    assert tost(a - b, margin).p == pytest.approx(p, rel=CLOSE)


@repeatable
@given(SEEDS, st.floats(0.01, 200), st.sampled_from([0.01, 0.05, 0.1]))
def test_equivalent_means_that_the_interval_lies_inside_the_margin(d: np.ndarray, margin: float, alpha: float) -> None:
    e = tost(d, margin, alpha)
    assume(min(abs(e.high - margin), abs(e.low + margin)) > 1e-9 * margin)  # on the very edge rounding decides
    assert e.equivalent == (-margin < e.low and e.high < margin)
    assert tost(-d, margin, alpha).p == pytest.approx(e.p)
    assert tost(d, 2 * margin, alpha).p <= e.p


@pytest.mark.parametrize(("value", "equivalent"), [(0.0, True), (0.09, True), (0.1, False), (-0.2, False)])
def test_equal_differences_are_equivalent_just_when_they_lie_inside_the_margin(value: float, equivalent: bool) -> None:
    e = tost([value] * 3, 0.1)
    assert (e.equivalent, e.p, e.low, e.high) == (equivalent, 1.0 - equivalent, value, value)


@pytest.mark.parametrize("differences", [[0.0], [0.0, math.nan, 0.1]])
def test_equivalence_cannot_be_told_from_one_seed_or_a_diverged_one(differences: list[float]) -> None:
    e = tost(differences, 1.0)
    assert e.equivalent is None and math.isnan(e.p) and math.isnan(e.low)


def test_a_margin_is_positive() -> None:
    with pytest.raises(AssertionError, match="margin is positive"):
        tost([0.0, 0.1], 0.0)
