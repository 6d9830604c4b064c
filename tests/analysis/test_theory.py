"""The predictions are right: against closed forms, quadrature, limits, and random networks drawn literally."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, kstest, norm, ttest_1samp
from scipy.stats import t as student

from study.analysis import theory
from study.analysis.ledger import load_results
from study.analysis.predictions import predictions
from study.analysis.results import Results
from study.analysis.theory import (
    embedding_norm,
    growth,
    initial_loss,
    log_sum_exp,
    predict,
    repeats,
    saturation,
)
from study.data.examples import Dataset
from study.network.expectations import moments
from study.network.inits import Init
from study.network.layers import Layer, Network
from study.report.html.page import TableCell
from study.report.sections.theory import beside_theory, theory_section
from study.report.sections.theory import equal as equals
from study.spec.records import Spec
from tests.support.synthetic import UNJUDGED

V = 27
HOME = Path(__file__).parents[2]
NOBODY: Any = None  # a condition that nothing is asked of


def setup(
    w1: float | Init = 1.0,
    b1: float | None = 1.0,
    w2: float = 1.0,
    b2: float | None = 1.0,
    *,
    norm: str = "none",
    activation: str = "tanh",
    widths: tuple[int, ...] = (200,),
    size: int = 10,
) -> Network:
    """The study's network with other scales; the defaults are its baseline."""
    weight = w1 if isinstance(w1, Init) else Init(std=w1)
    hidden = Layer(weight, None if b1 is None else Init(std=b1), norm, activation)
    output = Layer(Init(std=w2), None if b2 is None else Init(std=b2), activation="linear")
    return Network(3, size, widths, Init(std=1.0), (hidden,) * len(widths), output)


def predicted(s: Network, metric: str) -> float:
    """The prediction for the first layer that has this metric."""
    return float(predict(s, V).set_index("metric")["predicted"].loc[[metric]].iloc[0])


def drawn(s: Network, contexts: np.ndarray, seeds: int, vocabulary: int = V) -> dict[tuple[int, str], np.ndarray]:
    """Every metric of literally drawn networks, one value per seed; stds as mean squares, which is what averages."""
    values: dict[tuple[int, str], list[float]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        C = rng.normal(0, s.embedding.scale(vocabulary, s.embedding_size), (contexts.max() + 1, s.embedding_size))
        h = C[contexts].reshape(len(contexts), -1)
        for number, layer in enumerate(s.layers, start=1):
            fan_in, fan_out = h.shape[1], ([*s.widths, vocabulary])[number - 1]
            x = h @ rng.normal(0, layer.weight.scale(fan_in, fan_out), (fan_in, fan_out))
            if layer.bias:
                x = x + rng.normal(0, layer.bias.scale(fan_in, fan_out), fan_out)
            found = {"preact_std": np.mean(x**2)}
            if layer.norm == "batch":
                x = (x - x.mean(0)) / x.std(0, ddof=1)
                found["normed_std"] = np.mean(x**2)
            if number == len(s.layers):
                y = rng.integers(0, vocabulary, len(x))
                loss = np.log(np.exp(x).sum(1)) - x[np.arange(len(x)), y]
                found = {"logit_std": np.mean(x**2), "initial_loss": loss.mean()}
            else:
                h = {"tanh": np.tanh(x), "relu": np.maximum(x, 0), "linear": x}[layer.activation]
                slope = {"tanh": 1 - h**2, "relu": x > 0, "linear": np.ones_like(x)}[layer.activation]
                found |= {"h_std": np.mean(h**2) - np.mean(h) ** 2, "gradient_pass": np.mean(slope)}
                if layer.activation == "tanh":
                    found |= {f"saturation_{t}": np.mean(np.abs(h) > t / 100) for t in (97, 99)}
            for metric, value in found.items():
                values.setdefault((number, metric), []).append(float(value))
    return {key: np.array(v) for key, v in values.items()}


def assert_agree(
    s: Network,
    contexts: np.ndarray,
    seeds: int,
    bias: float = 0.0,
    patterns: theory.Repeats | None = None,
    told: Network | None = None,
) -> None:
    """Prediction and mean over seeds differ by less than 4.5 standard errors and `bias` of the value, everywhere."""
    measured = drawn(s, contexts, seeds)
    table = predict(told or s, V, patterns)
    assert set(zip(table["layer"], table["metric"], strict=True)) == set(measured)
    for layer, metric, value in table[["layer", "metric", "predicted"]].itertuples(index=False):
        square = value**2 if metric.endswith("_std") else value
        x = measured[layer, metric]
        slack = 4.5 * x.std(ddof=1) / math.sqrt(seeds) + bias * square + 1e-12
        assert abs(x.mean() - square) < slack, f"{layer} {metric}: predicted {square}, drawn {x.mean()} ± {slack}"


def distinct(examples: int) -> np.ndarray:
    """Contexts (N, 3) that share no character, so that examples are independent given the weights."""
    return np.arange(3 * examples).reshape(examples, 3)


# --- integrals -------------------------------------------------


@pytest.mark.parametrize("q", [1e-6, 0.01, 0.5, 0.999, 1.001, 3.0, 31.0, 1000.0])
def test_tanh_moments_are_those_of_adaptive_quadrature(q: float) -> None:
    def density(x: float) -> float:
        return 2 * math.exp(-x * x / 2 / q) / math.sqrt(2 * math.pi * q)

    end = 9 * math.sqrt(q)
    passed = quad(lambda x: density(x) / math.cosh(x) ** 2, 0, min(end, 20), epsabs=1e-13)[0]
    squared = quad(lambda x: density(x) * math.tanh(x) ** 2, 0, end, epsabs=1e-13, points=[min(end, 3)], limit=500)[0]
    mean, second, slope = moments(np.array([q]), "tanh")
    assert (mean[0], second[0], slope[0]) == pytest.approx((0, squared, passed), rel=1e-9)


def test_tanh_moments_at_no_spread_and_at_enormous_spread_are_their_limits() -> None:
    _, squared, passed = moments(np.array([0.0, 1e-20, 1e20]), "tanh")
    assert squared[0] == 0 and passed[0] == pytest.approx(1, rel=1e-15)
    assert squared[1] == pytest.approx(1e-20, rel=1e-9, abs=0)  # relative precision where 1 - E[1 - h²] has none
    assert passed[2] == pytest.approx(2 / math.sqrt(2 * math.pi * 1e20))  # ∫ 1 - tanh² = 2 times the density at 0


def test_relu_halves_the_square_and_the_gradient_and_linear_keeps_both() -> None:
    q = np.array([0.5, 2.0])
    mean, squared, passed = moments(q, "relu")
    for i, std in enumerate(np.sqrt(q)):
        law = norm(scale=std)
        assert mean[i] == pytest.approx(law.expect(lambda x: max(x, 0)))
        assert squared[i] == pytest.approx(law.expect(lambda x: max(x, 0) ** 2))
    assert list(passed) == [0.5, 0.5]
    assert [list(v) for v in moments(q, "linear")] == [[0, 0], [0.5, 2.0], [1, 1]]
    assert moments(np.zeros(1), "relu")[2] == 0  # the derivative that autograd takes at the kink


def test_saturation_is_the_share_of_a_gaussian_beyond_artanh() -> None:
    for threshold in (0.97, 0.99):
        bound = math.atanh(threshold)
        assert saturation(np.array([4.0]), threshold)[0] == pytest.approx(2 * norm(scale=2).sf(bound))
    assert saturation(np.array([0.0, 1e12]), 0.99) == pytest.approx([0, 1], abs=1e-5)


def test_log_sum_exp_of_two_logits_is_a_one_dimensional_integral() -> None:
    for std in (0.01, 0.3, 0.999, 1.001, 3.0, 50.0):  # log(eᵃ + eᵇ) = a + softplus(b - a), b - a ~ N(0, 2 std²)
        law = norm(scale=std * math.sqrt(2))
        cut = 12 * law.std()
        oracle = quad(lambda x: np.logaddexp(0, x) * law.pdf(x), -cut, cut, epsabs=1e-12, points=[0], limit=500)[0]  # noqa: B023
        assert log_sum_exp(std, 2) == pytest.approx(oracle, rel=1e-9)


@pytest.mark.parametrize("std", [0.0, 0.5, 2.0, 1e4])
def test_log_sum_exp_of_one_logit_is_its_mean(std: float) -> None:
    assert log_sum_exp(std, 1) == pytest.approx(0, abs=1e-12 * (1 + std))


@pytest.mark.parametrize("std", [0.5, 1.0, 3.6, 13.1])
@pytest.mark.parametrize("classes", [27, 300])
def test_log_sum_exp_is_that_of_drawn_logits(std: float, classes: int) -> None:
    z = np.random.default_rng(0).normal(0, std, (5_000, classes))
    loss = np.logaddexp.reduce(z, axis=1)
    assert log_sum_exp(std, classes) == pytest.approx(loss.mean(), abs=4 * loss.std() / math.sqrt(5_000))  # 4 errors


def test_log_sum_exp_joins_its_small_and_its_enormous_limit() -> None:
    for std in (0.01, 0.1, 0.2):  # to the term behind the next one
        series = math.log(V) + (1 - 1 / V) * (std**2 / 2 - std**4 / 4 / V)
        assert log_sum_exp(std, V) == pytest.approx(series, abs=std**6)
    largest = quad(lambda x: x * V * norm.pdf(x) * norm.cdf(x) ** (V - 1), -9, 9)[0]  # mean of the largest of V normals
    assert log_sum_exp(1e6, V) == pytest.approx(1e6 * largest, rel=1e-5)
    assert log_sum_exp(1 - 1e-9, V) == pytest.approx(log_sum_exp(1.0, V), abs=1e-8)  # its two ways to integrate meet


# --- the mixture -----------------------------------------------


def test_embedding_norm_of_distinct_characters_is_chi_squared() -> None:
    for degrees in (1, 2, 3, 30, 1000):
        values, weights = embedding_norm(degrees, {(1,): 1.0})
        assert weights.sum() == pytest.approx(1)
        assert weights @ values == pytest.approx(degrees)
        assert weights @ (values - degrees) ** 2 == pytest.approx(2 * degrees)
        assert weights @ np.exp(-values / degrees) == pytest.approx((1 + 2 / degrees) ** (-degrees / 2))
    together, apart = embedding_norm(10, {(1, 1, 1): 1.0}), embedding_norm(30, {(1,): 1.0})
    assert np.array_equal(together, apart)


@pytest.mark.parametrize("towards", [-np.inf, np.inf])
def test_the_last_bit_of_log_decides_no_node(towards: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of the mixture are merged by their place in log value, which a floor finds."""
    patterns = {(1, 1, 1): 0.7, (2, 1): 0.2, (3,): 0.1}
    plain, before = np.log, embedding_norm(10, patterns)
    monkeypatch.setattr(np, "log", lambda x: np.nextafter(plain(x), towards))
    for a, b in zip(embedding_norm(10, patterns), before, strict=True):
        assert a.shape == b.shape
        assert a == pytest.approx(b, rel=1e-12)  # the ends of the rule move by the last bit as well


def test_repeated_characters_widen_the_embedding_norm_as_drawn() -> None:
    rng = np.random.default_rng(0)
    C = rng.normal(size=(20_000, 2, 4))  # two characters each
    context = np.concatenate([C[:, 0], C[:, 0], C[:, 1]], axis=1)  # (N, T·E), pattern (2, 1)
    values, weights = embedding_norm(4, {(2, 1): 1.0})
    order = np.argsort(values)
    cdf = np.cumsum(weights[order]) - weights[order] / 2
    assert kstest((context**2).sum(1), lambda x: np.interp(x, values[order], cdf)).pvalue > 0.001
    assert weights @ values == pytest.approx(12)
    assert weights @ (values - 12) ** 2 == pytest.approx(2 * 4 * (2**2 + 1**2), rel=1e-3)  # 2E Σ m²; bins merge nodes


def test_many_kinds_of_repeats_keep_mean_and_variance() -> None:
    values, weights = embedding_norm(2, {(4, 3, 2, 1): 1.0})
    assert len(values) < 1000
    assert weights @ values == pytest.approx(20)
    assert weights @ (values - 20) ** 2 == pytest.approx(2 * 2 * (4**2 + 3**2 + 2**2 + 1), rel=1e-3)  # bins merge nodes


def test_repeats_counts_contexts_by_their_pattern() -> None:
    contexts = np.array([[0, 0, 0], [0, 0, 5], [5, 13, 13], [13, 13, 1], [1, 2, 3]])
    assert repeats(contexts) == {(1, 1, 1): 0.2, (2, 1): 0.6, (3,): 0.2}


def test_saturation_is_a_mixture_over_embeddings_and_not_one_gaussian() -> None:
    s = setup(0.2, 0.01)
    one = saturation(np.array([30 * 0.2**2 + 0.01**2]), 0.99)[0]
    assert round(100 * one, 2) == 1.57
    assert round(100 * predicted(s, "saturation_99"), 2) == 1.80
    by_hand = chi2(30).expect(lambda r: saturation(np.array([r * 0.2**2 + 0.01**2]), 0.99)[0])
    assert predicted(s, "saturation_99") == pytest.approx(by_hand, rel=1e-6)


# --- growth ----------------------------------------------------


@pytest.mark.parametrize("fan_in", [10, 30, 100, 300, 1000])
def test_a_product_grows_with_the_root_of_fan_in_unless_divided_by_it(fan_in: int) -> None:
    assert growth(Init(std=1.0), fan_in) == pytest.approx(math.sqrt(fan_in))
    assert growth(Init(gain=5 / 3), fan_in) == pytest.approx(5 / 3)


@pytest.mark.parametrize(("activation", "gain"), [("tanh", 1.0), ("tanh", 5 / 3), ("relu", math.sqrt(2))])
def test_growth_through_an_activation_is_that_of_drawn_products(activation: str, gain: float) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(3_000, 10)) @ (rng.normal(size=(10, 3_000)) * gain / math.sqrt(10))
    h = np.tanh(y) if activation == "tanh" else np.maximum(y, 0)
    # 3,000 columns of w with 10 entries each: their lengths differ by √(2/10)/2, and average to 0.4 %
    assert growth(Init(gain=gain), 10, activation) == pytest.approx(h.std(), rel=0.015)
    assert growth(Init(gain=5 / 3), 1000, "tanh") > growth(Init(gain=1.0), 1000, "tanh")


# --- networks --------------------------------------------------

TANH = Init(gain=5 / 3)


@pytest.mark.parametrize(
    "s",
    [
        pytest.param(setup(), id="baseline"),
        pytest.param(setup(0.2, 0.01, 0.01, 0.0), id="scaled-w1"),
        pytest.param(setup(TANH, 0.01, 0.1, None), id="kaiming"),
        pytest.param(setup(0.3, 0.5, 0.1, 0.3, activation="linear"), id="linear"),
        pytest.param(setup(Init(gain=math.sqrt(2)), 0.5, 0.1, 0.3, activation="relu"), id="relu"),
        pytest.param(setup(1.0, 0.1, 0.1, 0.0, size=1), id="one number per character"),
    ],
)
def test_one_level_agrees_with_drawn_networks(s: Network) -> None:
    assert_agree(s, distinct(20), seeds=300, bias=1e-3)  # pooled means of 200 units, seen in std of h: 1 / (20 · 200)


def test_five_wide_levels_agree_with_drawn_networks() -> None:
    s = setup(TANH, 0.3, 0.1, 0.1, widths=(500,) * 5)
    assert_agree(s, distinct(20), seeds=40, bias=0.01)  # |h|² of 500 units fluctuates: a term of order 1/500 per layer


def test_batch_norm_makes_a_unit_gaussian_whatever_the_scale_before_it() -> None:
    for w1 in (0.01, 1.0):
        s = setup(w1, None, 0.1, 0.0, norm="batch")
        assert_agree(s, distinct(500), seeds=15, bias=0.02)  # tails of values standardised by 500 of their own
        assert predicted(s, "normed_std") == 1
        assert predicted(s, "saturation_99") == pytest.approx(2 * norm.sf(math.atanh(0.99)))


def test_a_second_batch_norm_is_unit_gaussian_as_far_as_the_input_has_many_dimensions() -> None:
    gaps = []
    for size in (10, 100):
        s = setup(1.0, None, 0.1, 0.0, norm="batch", widths=(200, 200), size=size)
        share = drawn(s, distinct(500), seeds=5)[2, "saturation_97"].mean()
        gaps.append(1 - share / predicted(s, "saturation_97"))
    assert 0.03 < gaps[0] < 0.10  # thinner tails, by a term of order 1 / (T · E)
    assert abs(gaps[1]) < 0.03  # of which 0.01 is that of 500 examples


def test_repeated_characters_agree_with_drawn_networks_only_if_told() -> None:
    contexts = np.array([[3 * i, 3 * i, 3 * i] for i in range(20)])
    s = setup(0.3, 0.01, 0.1, 0.0, size=2)
    assert_agree(s, contexts, seeds=300, bias=1e-3, patterns=repeats(contexts))
    with pytest.raises(AssertionError, match="predicted"):
        assert_agree(s, contexts, seeds=300, bias=1e-3)


@pytest.mark.parametrize("told", [setup(0.21, 0.01, 0.1, 0.0), setup(0.2, 0.01, 0.1, 0.3)])
def test_another_scale_does_not_agree_with_drawn_networks(told: Network) -> None:
    s = setup(0.2, 0.01, 0.1, 0.0)
    assert_agree(s, distinct(20), seeds=300, bias=1e-3)
    with pytest.raises(AssertionError, match="predicted"):
        assert_agree(s, distinct(20), seeds=300, bias=1e-3, told=told)


def real(names: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Distinct contexts (U, 3) of the training split and their shares (U,)."""
    unique, counts = np.unique(np.asarray(names.splits["train"].X), axis=0, return_counts=True)
    return unique, counts / counts.sum()


def over_the_names(s: Network, names: Dataset, seeds: int) -> dict[str, np.ndarray]:
    """What metrics.py measures, of literally drawn networks over every training example: one value per seed."""
    contexts, share = real(names)
    X, Y = (np.asarray(a) for a in (names.splits["train"].X, names.splits["train"].Y))
    place = {tuple(c): i for i, c in enumerate(contexts.tolist())}
    joint = np.zeros((len(contexts), V))  # of context and next character
    np.add.at(joint, ([place[tuple(x)] for x in X.tolist()], Y), 1 / len(X))
    hidden, output = s.layers
    values: dict[str, list[float]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(V, 10)).astype("f4")[contexts].reshape(-1, 30)
        x = x @ rng.normal(0, hidden.weight.scale(30, 200), (30, 200)).astype("f4")
        x += rng.normal(0, hidden.bias.scale(30, 200) if hidden.bias else 0, 200).astype("f4")
        found = {"preact_std": share @ (x**2).mean(1)}
        if hidden.norm == "batch":
            x -= share @ x
            x /= np.sqrt(share @ x**2)
        h = np.tanh(x).astype("f4")
        z = h @ rng.normal(0, output.weight.scale(200, V), (200, V)).astype("f4")
        z = (z + rng.normal(0, output.bias.scale(200, V) if output.bias else 0, V)).astype(float)
        found |= {f"saturation_{t}": share @ (np.abs(h) > t / 100).mean(1) for t in (97, 99)}
        found |= {"gradient_pass": 1 - share @ (h**2).mean(1), "logit_std": share @ (z**2).mean(1)}
        found["initial_loss"] = share @ np.logaddexp.reduce(z, axis=1) - (joint * z).sum()
        for metric, value in found.items():
            values.setdefault(metric, []).append(float(value))
    return {metric: np.array(v) for metric, v in values.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["baseline", "scaled-w1", "batchnorm"])
def test_networks_over_all_names_agree_except_in_the_tails_of_batch_norm(
    name: str, names: Dataset, study: Spec
) -> None:
    """27 characters in one table of embeddings per seed, as trained: 50 seeds, every prediction within three errors."""
    s = study.condition(name).network
    told = predict(s, V, repeats(np.asarray(names.splits["train"].X))).set_index("metric")["predicted"]
    for metric, x in over_the_names(s, names, seeds=50).items():
        expected = told[metric] ** 2 if metric.endswith("_std") else told[metric]
        if (name, metric) != ("batchnorm", "saturation_99"):
            assert abs(x.mean() - expected) < 3 * x.std(ddof=1) / math.sqrt(50), metric


def test_the_tails_of_batch_norm_are_heavier_because_there_are_27_characters(names: Dataset, study: Spec) -> None:
    """Over all names a unit is no Gaussian, as the study measured; with an embedding for every example it is one.

    Monte Carlo over units, since in expectation all units of a layer do what one does.
    """
    contexts, share = real(names)
    rng = np.random.default_rng(0)

    def beyond(characters: np.ndarray, weights: np.ndarray, alphabet: int, units: int) -> np.ndarray:
        """Share of examples with |h| > 0.99, unit by unit."""
        C, W = rng.normal(size=(units, alphabet, 10)), rng.normal(size=(units, 3, 10))
        seen = np.einsum("uce,ute->utc", C, W)  # what each character adds in each place
        x = sum(seen[:, place, characters[:, place]] for place in range(3))
        x -= (x @ weights)[:, None]
        x /= np.sqrt(x**2 @ weights)[:, None]
        return (np.abs(np.tanh(x)) > 0.99) @ weights

    gaussian = predict(study.condition("batchnorm").network, V).set_index("metric")["predicted"]["saturation_99"]
    few = np.concatenate([beyond(contexts, share, V, 500) for _ in range(8)])
    error = few.std(ddof=1) / math.sqrt(len(few))
    assert few.mean() > gaussian + 5 * error
    own = beyond(distinct(2000), np.full(2000, 1 / 2000), 6000, 100)
    assert abs(own.mean() - gaussian) < 3 * own.std(ddof=1) / 10
    metrics = pd.read_parquet(HOME / "reports" / "data" / "metrics.parquet")
    found = metrics[
        (metrics["metric"] == "saturation_99") & (metrics["condition"] == "batchnorm") & (metrics["step"] == 0)
    ]
    measured = found["value"].to_numpy(float)
    assert abs(measured.mean() - few.mean()) < 3 * measured.std(ddof=1) / math.sqrt(len(measured))


# --- beside the measurement ------------------------------------


def test_a_difference_is_in_standard_errors_over_seeds_and_of_squares_where_theory_averages_squares() -> None:
    x = pd.Series([1.0, 2.0, 4.0])
    plain = beside_theory(NOBODY, "saturation_99", 1, 2.0, x)
    assert plain.errors == pytest.approx(ttest_1samp(x, 2.0).statistic)
    assert plain.p == pytest.approx(ttest_1samp(x, 2.0).pvalue)
    assert (plain.n, plain.measured, plain.exact) == (3, pytest.approx(7 / 3), False)
    squares = beside_theory(NOBODY, "h_std", 1, 2.0, x)
    assert squares.errors == pytest.approx(ttest_1samp(x**2, 4.0).statistic)


@pytest.mark.parametrize(
    ("value", "predicted", "equal"),
    [(3.0, 3.0, True), (3.0 + 2e-7, 3.0, True), (3.0 + 1e-5, 3.0, False), (0.0, 0.0, True), (1e-30, 0.0, False)],
)
def test_what_no_seed_changes_is_compared_to_the_rounding_of_float32(
    value: float, predicted: float, equal: bool
) -> None:
    gap = beside_theory(NOBODY, "initial_loss", 2, predicted, pd.Series([value] * 10))
    assert gap.exact
    assert equals(gap) == equal and math.isnan(gap.p)


def test_one_seed_has_no_error_to_measure_a_difference_in() -> None:
    gap = beside_theory(NOBODY, "saturation_99", 1, 0.1, pd.Series([0.2]))
    assert math.isnan(gap.errors) and not gap.exact


@pytest.fixture(scope="module")
def results(study: Spec) -> Results:
    """The committed tables before the first step."""
    found = load_results(study, HOME / "reports")
    start = {name: found.tables[name][found.tables[name]["step"] == 0] for name in ("losses", "metrics")}
    return replace(found, tables={**found.tables, **start})


def test_the_section_counts_what_lies_in_the_interval_and_what_is_equal(results: Results) -> None:
    section = theory_section.make(results, UNJUDGED)
    assert section is not None
    rows = [dict(row) for row in section.figures[0].table.rows if isinstance(row, dict)]
    equal_ = [row for row in rows if isinstance(row["gap"], TableCell)]
    told = {
        (row["what"], f"{row['predicted']:.6g}", f"{row['measured'].mean:.6g}"): row
        for row in rows
        if row not in equal_
    }
    inside = sum(2 * student.sf(abs(row["gap"]), 9) > 0.05 for row in told.values())
    assert section.answer[0].startswith(f"{inside} of {len(told)} different predictions lie in the 95 % interval")
    assert len(told) > 40 and len(rows) > len(told) + len(equal_)  # equal first layers count once
    # zero weights and unit spread: what is known without a draw
    assert {row["what"] for row in equal_} >= {"initial loss", "std of what the activation sees", "std of the logits"}
    tails = next(row for row in rows if row["condition"].sort == "batchnorm" and "0.99" in row["what"])
    assert (
        f"({tails['measured'].mean:.2f} % of **BatchNorm** beyond 0.99, {tails['predicted']:.2f} % predicted)"
        in section.answer[3]
    )


def test_nothing_is_predicted_behind_an_activation_of_the_output(results: Results) -> None:
    """Theory ends with the logits before it; other quantities of the same condition stay."""
    kaiming = results.spec.condition("kaiming")
    bent = replace(kaiming, network=replace(kaiming.network, output=replace(kaiming.network.output, activation="tanh")))
    spec = replace(results.spec, conditions=tuple(bent if c is kaiming else c for c in results.spec.conditions))
    section = theory_section.make(replace(results, spec=spec), UNJUDGED)
    assert section is not None
    rows = [dict(row) for row in section.figures[0].table.rows if isinstance(row, dict)]
    told = {name: {row["what"] for row in rows if row["condition"].sort == name} for name in ("kaiming", "scaled-w1")}
    assert told["scaled-w1"] - told["kaiming"] == {"std of the logits", "initial loss"}
    assert told["kaiming"]


def test_a_prediction_that_is_wrong_is_listed_as_differing(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    def off(*arguments: Any) -> pd.DataFrame:
        table = predictions(*arguments)
        return table.assign(
            predicted=table["predicted"].where(table["metric"] != "logit_std", 1.2 * table["predicted"])
        )

    monkeypatch.setattr("study.report.sections.theory.predictions", off)
    section = theory_section.make(results, UNJUDGED)
    assert section is not None
    assert "none differs" not in section.answer[0] and "differ from it after Holm" in section.answer[0]
    assert "std of the logits" in section.answer[2]


def test_one_seed_is_shown_without_a_judgement(results: Results) -> None:
    tables = {name: results.tables[name][results.tables[name]["seed"] == 0] for name in ("losses", "metrics")}
    section = theory_section.make(replace(results, tables={**results.tables, **tables}), UNJUDGED)
    assert section is not None
    assert section.answer == [
        "With one seed a measurement has no standard error, so the table shows both figures without a judgement."
    ]


# --- limits and known numbers ----------------------------------


def test_zero_output_layer_starts_at_exactly_ln_v() -> None:
    table = predict(setup(w2=0.0, b2=0.0), 31).set_index("metric")
    assert table["predicted"]["initial_loss"] == math.log(31)
    assert table["error"]["initial_loss"] == table["predicted"]["logit_std"] == 0


def test_zero_first_level_has_no_signal_and_passes_every_gradient() -> None:
    table = predict(setup(0.0, 0.0, 1.0, 0.0), V).set_index("metric")["predicted"]
    assert table["gradient_pass"] == pytest.approx(1, rel=1e-15)
    assert table.drop(["gradient_pass", "initial_loss"]).eq(0).all()
    assert table["initial_loss"] == math.log(V)


def test_batch_norm_over_finitely_many_examples_leaves_less_than_unit_variance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    normed = (x / x.std(ddof=1)).std()
    table = predict(setup(norm="batch"), V, examples=50).set_index("metric")["predicted"]
    assert table["normed_std"] == pytest.approx(normed, rel=1e-12)
    assert table["normed_std"] == math.sqrt(49 / 50)
    assert table["h_std"] < predicted(setup(norm="batch"), "h_std")


def test_batch_norm_of_constant_values_has_no_prediction() -> None:
    table = predict(setup(0.0, 1.0, norm="batch"), V).set_index("metric")["predicted"]
    assert table.drop("preact_std").isna().all()


@pytest.mark.parametrize(
    ("s", "mean", "std"),
    [
        pytest.param(setup(), 26.7, 1.0, id="baseline"),
        pytest.param(setup(w2=0.1, b2=0.0), 4.09, 0.09, id="w2-tenth"),
        pytest.param(setup(w2=0.01, b2=0.0), 3.306, 0.010, id="fixed-output"),
        pytest.param(setup(0.2, 0.01, 0.01, 0.0), 3.302, 0.006, id="scaled-w1"),
        pytest.param(setup(TANH, 0.01, 0.01, 0.0), 3.303, 0.007, id="kaiming"),
        pytest.param(setup(TANH, None, 0.01, 0.0, norm="batch"), 3.300, 0.007, id="batchnorm"),
    ],
)
def test_initial_loss_is_near_that_of_ten_seeds_of_torchs_generator(s: Network, mean: float, std: float) -> None:
    # full training split of the names; the mean of ten seeds is known to std / √10
    assert abs(predicted(s, "initial_loss") - mean) < 3 * std / math.sqrt(10)


def test_small_logits_take_the_closed_form_and_its_error_covers_the_integral() -> None:
    for variance in (1e-4, 0.01, 0.09):
        value, error, method = initial_loss(np.array([variance]), np.ones(1), V)
        assert "s²/2" in method
        assert abs(value - log_sum_exp(math.sqrt(variance), V)) == pytest.approx(error, rel=0.1, abs=1e-10)
    assert "quadrature" in initial_loss(np.array([0.0901]), np.ones(1), V)[2]


@pytest.mark.parametrize("widths", [(200,), (30, 30, 30)])
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_stated_error_covers_that_of_the_quadrature(
    activation: str, widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    s = setup(0.3, activation=activation, widths=widths, size=2)
    patterns = {(2, 1): 0.5, (1, 1, 1): 0.5}
    table = predict(s, V, patterns)
    monkeypatch.setattr(theory, "NODES", 2 * theory.NODES)
    finer = predict(s, V, patterns)
    assert ((table["predicted"] - finer["predicted"]).abs() <= 2 * table["error"] + 1e-12 * table["predicted"]).all()
    assert (table["error"] <= 1e-3 * table["predicted"]).all()


def test_patterns_are_of_contexts_of_this_length_and_all_of_them() -> None:
    with pytest.raises(AssertionError, match="3 characters"):
        predict(setup(), V, {(2,): 1.0})
    with pytest.raises(AssertionError, match="add up to 1"):
        predict(setup(), V, {(2, 1): 0.5})


def test_table_has_a_row_per_level_and_metric() -> None:
    table = predict(setup(TANH, None, norm="batch", widths=(20, 20)), V)
    hidden = ["preact_std", "normed_std", "saturation_97", "saturation_99", "h_std", "gradient_pass"]
    assert list(table.columns) == ["layer", "metric", "predicted", "error", "method"]
    assert table.groupby("layer")["metric"].apply(list).to_dict() == {
        1: hidden,
        2: hidden,
        3: ["logit_std", "initial_loss"],
    }
