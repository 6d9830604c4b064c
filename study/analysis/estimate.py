"""Values over seeds as what can be said about them: estimates with intervals, paired differences, equivalence."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Method = Literal["t", "bca"]

RESAMPLES = 9_999  # of the BCa bootstrap
EXACT = 16  # seeds up to which every one of the 2ⁿ sign flips is tried
FLIPS = 19_999  # random sign flips beyond
NAN = math.nan


@dataclass(frozen=True)
class Estimate:
    """What n seeds say about one quantity. With diverged seeds only the median, which counts them as +inf, is known."""

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
    """What n pairs of seeds say about a - b. With diverged pairs: how many."""

    n: int
    diverged: int
    mean: float
    low: float
    high: float
    p: float  # two-sided, of the sign flips
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
    """Whether the mean difference is within ±margin at level alpha; None: cannot be told (one seed, a diverged one)."""

    n: int
    diverged: int
    margin: float
    alpha: float
    mean: float
    low: float  # of the 1 - 2·alpha interval, which lies within ±margin just when `equivalent`
    high: float
    p: float
    equivalent: bool | None
    method: str


def over_seeds(values: ArrayLike, level: float = 0.95, method: Method = "t") -> Estimate:
    """Mean over seeds with its `level` interval, and the median. NaN and inf are diverged seeds.

    "t": mean ± t · s / √n (Student 1908). "bca": bias-corrected and accelerated bootstrap of the mean (Efron 1987) with
    a fixed generator. Equal values have a zero-width interval, one value an unknown one (NaN), and so have those too few
    for BCa: when one resample in 2 / (1 - level) is all the smallest value, its quantiles are the extreme seeds. Where
    BCa is undefined otherwise the interval is t, and `method` says so. The seed is the unit: one value per seed, never per example or step.
    """
    x, diverged = _seeds(values)
    n, median = x.size, float(np.median(x))
    if diverged:
        return Estimate(n, diverged, NAN, NAN, NAN, median, "none: diverged seeds")
    if n == 1:
        return Estimate(n, 0, float(x[0]), NAN, NAN, median, "none: one seed")
    if np.ptp(x) == 0:  # its mean is the value itself, not a sum rounded n times
        return Estimate(n, 0, float(x[0]), float(x[0]), float(x[0]), median, "exact: all seeds equal")
    mean, text = float(x.mean()), f"t, {100 * level:g} %"
    if method == "bca":
        if float(n) ** -n > (1 - level) / 2:
            return Estimate(n, 0, mean, NAN, NAN, median, f"none: {n} seeds are too few for BCa")
        low, high = _bca(x, level)
        if math.isfinite(low) and math.isfinite(high):
            return Estimate(n, 0, mean, low, high, median, f"BCa bootstrap, B = {RESAMPLES:,}, {100 * level:g} %")
        text += " (BCa is undefined here)"
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * x.std(ddof=1) / math.sqrt(n))
    return Estimate(n, 0, mean, mean - half, mean + half, median, text)


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: without the lowest and highest ⌊n/4⌋ seeds (Agarwal et al. 2021); diverged ones are +inf."""
    return float(stats.trim_mean(_seeds(values)[0], 0.25))


def paired(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Difference:
    """Mean of a - b over pairs of equal seed, with t interval, two-sided sign-flip p and effect size.

    The effect size is mean / s of the differences (Cohen 1988's d_z), for zero variance 0 or ±inf. A pair with a
    diverged member is diverged; then there is no mean and no p. Two Series must have the same index.
    """
    if isinstance(a, pd.Series) and isinstance(b, pd.Series):
        assert a.index.equals(b.index), f"paired by seed, got seeds {list(a.index)} and {list(b.index)}"
    left, right = np.asarray(a, float), np.asarray(b, float)
    assert left.shape == right.shape, f"as many seeds on both sides, got {left.shape} and {right.shape}"
    with np.errstate(invalid="ignore"):  # inf - inf is NaN: diverged, as it should be
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
    """Two-sided p of differences (n,) under symmetry about 0: the share of sign flips whose |mean| reaches theirs.

    All 2ⁿ flips up to n = 16 (Fisher 1935); beyond, (k + 1) / (B + 1) over B random flips of a fixed generator
    (Phipson & Smyth 2010).
    """
    d, n = np.asarray(differences, float), len(differences)
    reached = abs(d.sum()) - 1e-12 * np.abs(d).sum()  # flips that tie but for the order of summation count as ties
    if n <= EXACT:
        # the last sign stays +: the other half of the flips mirrors this one
        bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n)
        return float(np.mean(np.abs((1 - 2.0 * (bits & 1)) @ d) >= reached))
    signs = 1 - 2.0 * np.random.default_rng(0).integers(0, 2, (FLIPS, n), dtype=np.int8)
    return float((np.abs(signs @ d) >= reached).sum() + 1) / (FLIPS + 1)


def smallest_p(n: int) -> float:
    """The smallest p that `sign_flip` can return for n pairs: 2 / 2ⁿ, or what its random flips resolve."""
    exact = 2.0 ** (1 - n)
    return exact if n <= EXACT else max(exact, 1 / (FLIPS + 1))


def holm(ps: ArrayLike) -> Floats:
    """p adjusted for the family, in the order given: running maximum of (m - rank) · p, at most 1 (Holm 1979).

    NaN (no test, for a diverged pair) stays NaN and still counts in m: the family is what was planned.
    """
    p = np.asarray(ps, float)
    order = np.argsort(p, kind="stable")  # NaN last
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate((p.size - np.arange(p.size)) * p[order]), 1)
    return adjusted


def can_reach(n: int, family: int, alpha: float = 0.05) -> bool:
    """Whether n pairs can be significant at all after Holm over `family` comparisons; if not, say nothing of it."""
    return smallest_p(n) * family <= alpha


def tost(differences: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided t tests that the mean difference is above -margin and below +margin (Schuirmann 1987).

    p is the larger of the two, so p < alpha just when the 1 - 2·alpha interval lies inside the margin. Zero variance:
    p is 0 when the one value lies inside the margin, else 1.
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
    """Values over seeds (n,) with the diverged ones as +inf, and how many those are."""
    x = np.asarray(values, float)
    assert x.ndim == 1 and x.size, f"one value per seed, got shape {x.shape}"
    lost = ~np.isfinite(x)
    return np.where(lost, np.inf, x), int(lost.sum())


def _bca(x: Floats, level: float) -> tuple[float, float]:
    """BCa interval of the mean; NaN where it is undefined (no resample on one side of the mean, say)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            (x,), np.mean, n_resamples=RESAMPLES, confidence_level=level, method="BCa", rng=np.random.default_rng(0)
        ).confidence_interval
    return float(interval.low), float(interval.high)
