"""Turn values over seeds into estimates with intervals, paired differences and tests of equivalence."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Method = Literal["t", "bca"]

RESAMPLES = 9_999  # the resamples of the BCa bootstrap
EXACT = 16  # the largest number of seeds for which all 2ⁿ sign flips are tried
FLIPS = 19_999  # the number of random sign flips for more seeds
NAN = math.nan


@dataclass(frozen=True)
class Estimate:
    """The estimate of a quantity from n seeds. If seeds have diverged, only the median is known: they count as +inf."""

    n: int
    diverged: int
    mean: float
    low: float
    high: float
    median: float
    method: str

    def text(self, spec: str = ".4f", lost: str = "diverged") -> str:
        """`2.1034 [2.1021, 2.1047], n = 10`, or `3 of 10 diverged, median 2.1102`."""
        if self.diverged:
            return f"{self.diverged} of {self.n} {lost}, median {self.median:{spec}}"
        interval = "" if math.isnan(self.low) else f" [{self.low:{spec}}, {self.high:{spec}}]"
        return f"{self.mean:{spec}}{interval}, n = {self.n}"


@dataclass(frozen=True)
class Difference:
    """The estimate of a - b from n pairs of seeds. If pairs have diverged, only their number is known."""

    n: int
    diverged: int
    mean: float
    low: float
    high: float
    p: float  # two-sided, by sign flips
    effect: float  # Cohen's d_z
    method: str

    def text(self, spec: str = ".4f") -> str:
        """`-0.0310 [-0.0340, -0.0280], n = 10, p = 0.00195, d_z = -5.1`, or `1 of 10 pairs diverged`."""
        if self.diverged:
            return f"{self.diverged} of {self.n} pairs diverged"
        interval = "" if math.isnan(self.low) else f" [{self.low:+{spec}}, {self.high:+{spec}}]"
        effect = "" if math.isnan(self.effect) else f", d_z = {self.effect:.1f}"
        return f"{self.mean:+{spec}}{interval}, n = {self.n}, p = {self.p:.3g}{effect}"


@dataclass(frozen=True)
class Equivalence:
    """The test whether the mean difference is within ±margin, at significance level alpha.

    `equivalent` is None where it cannot be told: there is one seed alone, or a diverged one.
    """

    n: int
    diverged: int
    margin: float
    alpha: float
    mean: float
    low: float  # the ends of the 1 - 2·alpha interval, which is within ±margin exactly if `equivalent`
    high: float
    p: float
    equivalent: bool | None
    method: str


def over_seeds(values: ArrayLike, level: float = 0.95, method: Method = "t") -> Estimate:
    """The mean over seeds with its confidence interval, and the median. NaN and inf are diverged seeds.

    The unit is the seed: there is one value per seed, never one per example or per step. `level` is the confidence
    level. The method "t" gives mean ± t · s / √n (Student 1908). The method "bca" is the bias-corrected and accelerated
    bootstrap of the mean (Efron 1987), with a fixed generator. If all values are equal, the interval has width zero.
    For one value it is unknown (NaN). It is also unknown where there are too few values for BCa: when more than one
    resample in 2 / (1 - level) consists of the smallest value alone, the quantiles of the bootstrap are the extreme
    seeds. Where BCa is undefined for another reason, the interval is that of t, and `method` says so.
    """
    x, diverged = _seeds(values)
    n, median = x.size, float(np.median(x))
    if diverged:
        return Estimate(n, diverged, NAN, NAN, NAN, median, "none: diverged seeds")
    if n == 1:
        return Estimate(n, 0, float(x[0]), NAN, NAN, median, "none: one seed")
    if np.ptp(x) == 0:  # the mean is the value itself, not a sum that is rounded n times
        return Estimate(n, 0, float(x[0]), float(x[0]), float(x[0]), median, "exact: all seeds equal")
    mean, text = float(x.mean()), f"t, {100 * level:g} %"
    if method == "bca":
        if float(n) ** -n > (1 - level) / 2:
            return Estimate(n, 0, mean, NAN, NAN, median, f"none: {n} seeds are too few for BCa")
        low, high = _bca(x, level)
        if math.isfinite(low) and math.isfinite(high):
            return Estimate(n, 0, mean, low, high, median, f"BCa bootstrap, B = {RESAMPLES:,}, {100 * level:g} %")
        text += " (BCa is undefined here)"
    half = float(_quantile((1 + level) / 2, n - 1) * x.std(ddof=1) / math.sqrt(n))
    return Estimate(n, 0, mean, mean - half, mean + half, median, text)


@cache  # a page asks thousands of times for a few numbers of seeds
def _quantile(p: float, freedom: int) -> float:
    """The quantile of Student's t."""
    return float(stats.t.ppf(p, freedom))


def iqm(values: ArrayLike) -> float:
    """The interquartile mean: that without the lowest and the highest ⌊n/4⌋ seeds (Agarwal et al. 2021).

    A diverged seed counts as +inf.
    """
    return float(stats.trim_mean(_seeds(values)[0], 0.25))


def paired(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Difference:
    """The mean of a - b over pairs of equal seed, with t interval, two-sided p by sign flips, and effect size.

    The effect size is mean / s of the differences (d_z of Cohen 1988); for zero variance it is 0 or ±inf. A pair with a
    diverged member is diverged, and then there is no mean and no p. If a and b are Series, they must have the same
    index.
    """
    if isinstance(a, pd.Series) and isinstance(b, pd.Series):
        assert a.index.equals(b.index), f"paired by seed, got seeds {list(a.index)} and {list(b.index)}"
    left, right = np.asarray(a, float), np.asarray(b, float)
    assert left.shape == right.shape, f"as many seeds on both sides, got {left.shape} and {right.shape}"
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, so that the pair counts as diverged
        d = left - right
    e, p, method = over_seeds(d, level), NAN, "none: diverged pairs"
    if not e.diverged:
        p = sign_flip(d)
        flips = f"all {2**e.n:,}" if e.n <= EXACT else f"B = {FLIPS:,} random"
        method = f"{flips} sign flips; interval: {e.method}"
    effect = NAN
    if e.n > 1 and not e.diverged:
        s = 0.0 if np.ptp(d) == 0 else float(d.std(ddof=1))
        effect = e.mean / s if s else math.copysign(math.inf, e.mean) if e.mean else 0.0
    return Difference(e.n, e.diverged, e.mean, e.low, e.high, p, effect, method)


def sign_flip(differences: Floats) -> float:
    """The two-sided p of differences (n,) under symmetry about 0.

    It is the share of sign flips whose |mean| is not smaller than that of the differences. Up to n = 16 all 2ⁿ flips
    are tried (Fisher 1935). For larger n it is (k + 1) / (B + 1), where k of B random flips of a fixed generator have
    such a |mean| (Phipson & Smyth 2010).
    """
    d, n = np.asarray(differences, float), len(differences)
    reached = abs(d.sum()) - 1e-12 * np.abs(d).sum()  # flips that differ by rounding alone are ties
    if n <= EXACT:
        # The last sign stays +, since the other half of the flips has the same values of |mean|.
        bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n)
        return float(np.mean(np.abs((1 - 2.0 * (bits & 1)) @ d) >= reached))
    signs = 1 - 2.0 * np.random.default_rng(0).integers(0, 2, (FLIPS, n), dtype=np.int8)
    return float((np.abs(signs @ d) >= reached).sum() + 1) / (FLIPS + 1)


def smallest_p(n: int) -> float:
    """The smallest p that `sign_flip` can return for n pairs: 2 / 2ⁿ, or the resolution of its random flips."""
    exact = 2.0 ** (1 - n)
    return exact if n <= EXACT else max(exact, 1 / (FLIPS + 1))


def holm(ps: ArrayLike) -> Floats:
    """Adjust the p of a family, in the order given: the running maximum of (m - rank) · p, at most 1 (Holm 1979).

    NaN (no test, because of a diverged pair) stays NaN, and still counts in m: the family is the one that was planned.
    """
    p = np.asarray(ps, float)
    order = np.argsort(p, kind="stable")  # NaN last
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate((p.size - np.arange(p.size)) * p[order]), 1)
    return adjusted


def can_reach(n: int, family: int, alpha: float = 0.05) -> bool:
    """Whether n pairs can be significant at all after Holm's adjustment over `family` comparisons."""
    return smallest_p(n) * family <= alpha


def tost(differences: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided t tests: the mean difference is above -margin, and it is below +margin (Schuirmann 1987).

    p is the larger of the two, so that p < alpha exactly if the 1 - 2·alpha interval is inside the margin. If all
    values are equal, p is 0 where the value is inside the margin, otherwise 1.
    """
    assert margin > 0, f"an equivalence margin is positive, got {margin}"
    d, _ = _seeds(differences)
    e = over_seeds(differences, 1 - 2 * alpha)
    if e.diverged or e.n == 1:
        return Equivalence(e.n, e.diverged, margin, alpha, e.mean, e.low, e.high, NAN, None, e.method)
    if e.low == e.high:
        p = 0.0 if abs(e.mean) < margin else 1.0
    else:  # the nearer bound has the larger p
        p = float(stats.t.sf((margin - abs(e.mean)) / d.std(ddof=1) * math.sqrt(e.n), e.n - 1))
    return Equivalence(e.n, 0, margin, alpha, e.mean, e.low, e.high, p, p < alpha, f"TOST; interval: {e.method}")


def _seeds(values: ArrayLike) -> tuple[Floats, int]:
    """The values over seeds (n,), with diverged ones as +inf, and the number of diverged ones."""
    x = np.asarray(values, float)
    assert x.ndim == 1 and x.size, f"one value per seed, got shape {x.shape}"
    lost = ~np.isfinite(x)
    return np.where(lost, np.inf, x), int(lost.sum())


def _bca(x: Floats, level: float) -> tuple[float, float]:
    """The BCa interval of the mean. It is NaN where it is undefined (for example, no resample is above the mean)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            (x,), np.mean, n_resamples=RESAMPLES, confidence_level=level, method="BCa", rng=np.random.default_rng(0)
        ).confidence_interval
    return float(interval.low), float(interval.high)
