"""Streamed measurements against all N examples in one piece."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from study.data.examples import Dataset
from study.measurement import evaluate, metrics
from study.measurement.histograms import BINS, Bins, Histogram, bins_of
from study.measurement.measure import activation_rows, gap_rows, gradient_rows, histogram_rows, picture_rows
from study.measurement.metrics import METRICS, saturated
from study.measurement.reducers import Extreme
from study.network.activations import in_torch, named_in_torch
from study.network.inits import Init
from study.network.layers import Layer
from study.network.mlp import cross_entropy, forward, initialise
from study.network.model import Activations, LayerTrace
from study.rng import streams
from study.spec.records import Spec
from tests.support.nets import model, network, params, split, statistics

# shares and means of float32 activations: the weighted sum over distinct contexts rounds otherwise than the plain one
CLOSE = 1e-6


def tanh_level(h: Tensor) -> LayerTrace:
    z = torch.atanh(h.double())
    return LayerTrace(z, None, z, h)


def relu_level(h: Tensor) -> LayerTrace:
    return LayerTrace(h, None, h, h)


TANH, RELU = (Layer(Init(std=1.0), None, "none", a) for a in ("tanh", "relu"))


# -- whole networks, streamed -------------------------------------------------------------------------------------


def in_one_piece(a: Activations, activation: str, layers: int) -> dict[tuple[int | None, str], float]:
    """Every registered figure of model 0, by its plain definition over all N examples. (layer, metric) -> value"""
    found: dict[tuple[int | None, str], float] = {}
    for i in range(layers):
        h, preact = a.layers[i].h[0].double().numpy(), a.layers[i].preact[0].double().numpy()
        found[i + 1, "preact_mean"], found[i + 1, "preact_std"] = preact.mean(), preact.std()
        found[i + 1, "normed_std"], found[i + 1, "h_std"] = a.layers[i].z[0].double().numpy().std(), h.std()
        if activation == "tanh":
            found[i + 1, "saturation_97"], found[i + 1, "saturation_99"] = (
                (np.abs(h) > 0.97).mean(),
                (np.abs(h) > 0.99).mean(),
            )
            found[i + 1, "dead"] = (np.abs(h) > 0.99).all(axis=0).mean()
            found[i + 1, "gradient_pass"] = (1 - h**2).mean()
        elif activation == "relu":
            found[i + 1, "dead"], found[i + 1, "gradient_pass"] = (h == 0).all(axis=0).mean(), (h > 0).mean()
        else:
            found[i + 1, "gradient_pass"] = 1.0
    logits = a.logits[0].double()
    p = torch.softmax(logits, dim=-1)
    found[None, "logit_min"], found[None, "logit_max"] = float(logits.min()), float(logits.max())
    found[None, "logit_std"] = float(logits.std(correction=0))
    found[None, "entropy"] = float(-(p * p.log()).sum(-1).mean())
    return found


@pytest.mark.parametrize("chunk", [1, 10**6])
@pytest.mark.parametrize(
    ("activation", "norm"),
    [("tanh", "none"), ("relu", "none"), ("linear", "none"), ("tanh", "batch"), ("relu", "batch")],
)
def test_streamed_metrics_are_those_of_all_examples_in_one_piece(
    activation: str, norm: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "CHUNK", chunk)
    setup, data = network((12, 9), norm, activation), split(examples=600)
    p = params(setup, 9)
    p.layers[0].W.mul_(6)  # wide pre-activations, so that units saturate and die
    p.layers[0].W[:, :, 0] = 0  # one unit saturated or dead whatever the example
    given_statistics = statistics(setup, 9) if norm == "batch" else None
    b, bn = p.layers[0].b, p.layers[0].norm.get("bnbias")
    assert b is not None
    b[:, :, 0] = 40 if activation == "tanh" else -40
    if bn is not None:
        bn[:, :, 0] = 0
    literal = in_one_piece(forward(p, setup, data.X, given_statistics), activation, 2)
    found = {
        (row.get("layer"), row["metric"]): row["value"] for row in activation_rows(p, setup, data, given_statistics, {})
    }
    assert found.keys() == literal.keys()
    for key, number in literal.items():
        assert found[key] == pytest.approx(number, rel=10 * CLOSE, abs=CLOSE), key
    if activation != "linear":
        assert found[1, "dead"] >= 1 / 12


def test_streamed_histograms_count_all_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    setup, data = network((12, 9), "batch"), split(examples=600)
    p, given_statistics = params(setup, 9), statistics(setup, 9)
    for chunk in (1, 10**6):
        monkeypatch.setattr(evaluate, "CHUNK", chunk)
        whole = forward(p, setup, data.X, given_statistics)
        for row in histogram_rows(p, setup, data, given_statistics, {}):
            layer = whole.layers[row["layer"] - 1]
            values = {"preact": layer.z, "h": layer.h, "logits": layer.h}[row["quantity"]][0].double().numpy()
            literal, _ = np.histogram(values.ravel(), row["edges"][1:-1])
            assert sum(row["counts"]) == values.size
            # a value within a rounding of an edge may fall on either side of it: hardly ever more than those of one
            # context
            assert np.abs(np.array(row["counts"][1:-1]) - literal).sum() <= 40
            assert row["counts"][0] == (values < row["edges"][1]).sum()


def test_metrics_apply_where_they_mean_something() -> None:
    assert "saturation_99" in metrics.names("layer", TANH)
    assert "saturation_99" not in metrics.names("layer", RELU)
    assert "dead" in metrics.names("layer", RELU)
    assert "dead" not in metrics.names("layer", Layer(Init(std=1.0), None, "none", "linear"))


@pytest.mark.parametrize(
    ("name", "share", "within"),
    [("baseline", 0.63, 0.03), ("scaled-w1", 0.018, 0.012), ("kaiming", 0.111, 0.04), ("batchnorm", 0.009, 0.006)],
)
def test_initial_saturation_is_that_of_the_reference(
    name: str, share: float, within: float, study: Spec, names: Dataset
) -> None:
    """Source: the study's reference points, |h| > 0.99 on the full split, ten seeds of torch's generator: 63, 1.8, 11.1,
    0.9 %. One seed lies off their mean by about a third of it at most (the spread over seeds of a saturated tail)."""
    setup, data = study.condition(name).network, names.splits["train"]
    p = initialise([setup], 27, [streams(0, "lecture")])
    given_statistics = evaluate.calibrate(p, setup, data) if setup.layers_with_statistics else None
    rows = activation_rows(p, setup, data, given_statistics, {})
    assert next(r["value"] for r in rows if r["metric"] == "saturation_99") == pytest.approx(share, abs=within)


# -- definitions --------------------------------------------------------------------------------------------------


def test_saturation_is_beyond_its_bound() -> None:
    h = torch.tensor([[[0.9699, -0.98, 0.9899, -0.995, 1.0]]])
    assert float(METRICS["saturation_97"].measure(tanh_level(h), TANH)) == 4 / 5
    assert float(METRICS["saturation_99"].measure(tanh_level(h), TANH)) == 2 / 5


@pytest.mark.parametrize("bound", ["0.97", "0.99"])
def test_the_first_saturated_number_is_the_first_beyond_artanh(bound: str) -> None:
    """Against mpmath, to 50 digits: that float32 saturates, the one below it does not."""
    with mpmath.workdps(50):
        exact = mpmath.atanh(mpmath.mpf(bound))
        z = torch.tensor(float(exact)) + torch.arange(-3, 4) * 2.0**-22  # neighbours in float32 at 2 to 4
        expected = [mpmath.mpf(float(number)) > exact for number in z]
    assert {True, False} == set(expected)
    for sign in (1, -1):
        layer = LayerTrace(sign * z, None, sign * z, torch.tanh(sign * z))
        assert saturated(layer, bound).tolist() == expected


def test_a_unit_is_dead_when_no_example_wakes_it() -> None:
    h = torch.tensor([[[1.0, 1.0, -1.0], [1.0, 0.5, 1.0]]])  # (1, 2 examples, 3 units)
    reducer = metrics.reducers(["dead"])["dead"]
    for n in (0, 1):  # one example at a time
        reducer.add(METRICS["dead"].measure(tanh_level(h[:, n : n + 1]), TANH), torch.ones(1))
    assert float(reducer.result()) == pytest.approx(2 / 3)
    zero = torch.tensor([[[0.0, 0.0], [0.0, 2.0]]])
    reducer = metrics.reducers(["dead"])["dead"]
    reducer.add(METRICS["dead"].measure(relu_level(zero), RELU), torch.ones(2))
    assert float(reducer.result()) == 1 / 2


def test_extremes_are_over_all_chunks_and_per_model() -> None:
    values = torch.randn(2, 10, 3, generator=torch.Generator().manual_seed(0))
    for what, literal in (("smallest", np.min), ("largest", np.max)):
        reducer = Extreme(what)  # type: ignore[arg-type]
        for n in range(10):
            reducer.add(values[:, n : n + 1], torch.ones(1))
        assert reducer.result().tolist() == [literal(values[m].numpy()) for m in (0, 1)]


def test_entropy_of_a_certain_and_of_a_uniform_prediction() -> None:
    def of(logits: Tensor) -> float:
        layer = LayerTrace(logits, None, logits, logits)
        return float(METRICS["entropy"].measure(Activations((layer,))))

    assert of(torch.tensor([[[0.0, -1e4, -1e4]]])) == 0
    assert of(torch.zeros(1, 1, 27)) == pytest.approx(math.log(27), rel=1e-12)  # float64


# -- gradients ----------------------------------------------------------------------------------------------------


def test_gradient_figures_are_those_of_the_plain_gradient() -> None:
    setup, data = network((12,), "batch"), split(examples=32)
    p, X, Y = params(setup, 9), data.X[None], data.Y[None]
    rows = gradient_rows(p, setup, X, Y, 0.1, {})
    names, tensors = zip(*p.named(), strict=True)
    for tensor in tensors:
        tensor.requires_grad_()
    gradients = torch.autograd.grad(cross_entropy(forward(p, setup, X).logits, Y)[0], tensors)
    found = {(row["parameter"], row["metric"]): row["value"] for row in rows}
    assert {name for name, _ in found} == set(names)
    for name, tensor, gradient in zip(names, tensors, gradients, strict=True):
        g, w = gradient.double().numpy(), tensor.detach().double().numpy()
        assert found[name, "grad_norm"] == pytest.approx(np.sqrt((g**2).sum()), rel=1e-12)  # float64
        assert found[name, "grad_std"] == pytest.approx(g.std(ddof=1), rel=1e-12)
        assert found[name, "update_ratio"] == pytest.approx(np.log10(0.1 * g.std(ddof=1) / w.std(ddof=1)), rel=1e-10)


def test_a_zero_gradient_and_a_constant_parameter_have_no_update_ratio() -> None:
    setup, data = network((12,), output=0.0), split(examples=32)  # W2 = 0: nothing flows back to W1; b2 is constant
    p = initialise([setup], 9, [streams(0, "paired")])
    found = {
        (r["parameter"], r["metric"]): r["value"] for r in gradient_rows(p, setup, data.X[None], data.Y[None], 0.1, {})
    }
    assert found["W1", "grad_norm"] == 0
    assert found["W1", "update_ratio"] is None
    assert found["b2", "update_ratio"] is None
    assert found["b2", "grad_norm"] > 0


@pytest.mark.filterwarnings("error")
def test_a_single_entry_has_no_std() -> None:
    setup, data = network((1,)), split(examples=8)
    rows = gradient_rows(params(setup, 9), setup, data.X[None], data.Y[None], 0.1, {})
    found = {(r["parameter"], r["metric"]): r["value"] for r in rows}
    assert found["b1", "grad_std"] is None
    assert found["b1", "update_ratio"] is None
    assert found["W1", "grad_std"] is not None


# -- histograms ---------------------------------------------------------------------------------------------------


def counted(bins: Bins, values: list[float], weights: list[float] | None = None) -> list[float]:
    """Counts of values of h, preact or logits."""
    histogram, x = Histogram(bins), torch.tensor(values, dtype=torch.float64).view(-1, 1)
    if bins.through:
        assert bool((x.isnan() | (x.abs() <= 1)).all()), "tanh gives nothing else"
        x = torch.atanh(x)
    histogram.add(x, torch.tensor(weights or [1.0] * len(values)).double())
    return histogram.counts.tolist()


def test_both_ends_of_tanh_are_inside() -> None:
    counts = counted(BINS["h"], [-1.0, 1.0, 1.0])
    assert counts[0] == counts[-1] == 0
    assert counts[1] == 1
    assert counts[-2] == 2


@pytest.mark.parametrize("name", [name for name, bins in BINS.items() if not bins.through])
def test_what_lies_outside_is_counted_at_the_ends(name: str) -> None:
    bins = BINS[name]
    counts = counted(
        bins,
        [-bins.reach * 1.01, -math.inf, bins.reach * 1.01, math.inf, -bins.reach, bins.reach, 0.0],
        [1, 2, 3, 4, 5, 6, 7],
    )
    assert counts[0] == 3
    assert counts[-1] == 7
    assert counts[1] == 5
    assert counts[-2] == 6
    assert counts[1 + bins.count // 2] == 7
    assert sum(counts) == 28


@pytest.mark.parametrize("name", BINS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_edge_opens_its_own_bin(name: str, dtype: torch.dtype) -> None:
    """The edge itself, the number before it and the number after it, in the space in which values are compared."""
    bins = BINS[name]
    bounds = bins.bounds(dtype)
    finite = bounds[bounds.isfinite()]
    below, above = (torch.nextafter(finite, torch.full_like(finite, end)) for end in (-math.inf, math.inf))
    first = int((bounds == finite[0]).nonzero()[0])  # through tanh the first bound is −inf
    for i, (a, b, c) in enumerate(zip(below, finite, above, strict=True), start=first):
        for value, place in ((a, i), (b, i + 1), (c, i + 1)):
            histogram = Histogram(bins)
            histogram.add(value.view(1, 1), torch.ones(1).double())
            closed = place == bins.count + 1 and bool(value == bounds[-1])
            assert histogram.counts.tolist().index(1.0) == place - closed


@pytest.mark.parametrize("name", ["preact", "h unbounded", "logits"])
def test_edges_are_rounded_once(name: str) -> None:
    """knee · sinh(u · asinh(reach / knee)) by mpmath to 50 digits, then as float64."""
    bins = BINS[name]
    with mpmath.workdps(50):
        end = mpmath.asinh(mpmath.mpf(bins.reach) / mpmath.mpf(bins.knee))
        places = [end * (2 * i - bins.count) / bins.count for i in range(bins.count + 1)]
        assert bins.edges()[1:-1] == [float(mpmath.mpf(bins.knee) * mpmath.sinh(place)) for place in places]
    assert (bins.edges()[1], bins.edges()[-2]) == (-bins.reach, bins.reach)


def test_nan_is_left_out() -> None:
    assert sum(counted(BINS["h"], [math.nan, 0.5, math.nan])) == 1


@pytest.mark.parametrize("name", BINS)
def test_edges_are_the_bins_that_are_counted(name: str) -> None:
    bins = BINS[name]
    edges = bins.edges()
    assert len(edges) == bins.count + 3
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (-math.inf, math.inf)
    assert edges[1:-1] == pytest.approx([-edge for edge in edges[-2:0:-1]], rel=1e-12, abs=1e-12)  # float64
    assert edges[-2] == pytest.approx(bins.reach, rel=1e-12)
    for i in range(1, bins.count + 1):
        middle = (edges[i] + edges[i + 1]) / 2
        assert counted(bins, [middle]).index(1.0) == i


def test_a_knee_is_fine_around_zero_and_wide_in_the_tails() -> None:
    """Widths follow x = knee · sinh(u): d x / d u = √(knee² + x²)."""
    bins = BINS["logits"]
    assert bins.knee is not None
    edges = np.array(bins.edges()[1:-1])
    slope = np.sqrt(bins.knee**2 + ((edges[1:] + edges[:-1]) / 2) ** 2)
    step = 2 * math.asinh(bins.reach / bins.knee) / bins.count
    # a chord against the slope at its middle: the error is of second order in the step
    assert np.diff(edges) == pytest.approx(slope * step, rel=step**2)


@given(st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=50), st.integers(1, 49))
@settings(deadline=None, max_examples=60)
def test_chunks_of_a_histogram_add_up(values: list[float], cut: int) -> None:
    whole, parts = Histogram(BINS["preact"]), Histogram(BINS["preact"])
    x, w = torch.tensor(values).view(-1, 1), torch.arange(1.0, len(values) + 1).double()
    whole.add(x, w)
    parts.add(x[:cut], w[:cut])
    parts.add(x[cut:], w[cut:])
    assert torch.equal(whole.counts, parts.counts)
    assert float(whole.counts.sum()) == float(w.sum())


def moved(function: Callable[..., Tensor], towards: float) -> Callable[..., Tensor]:
    """The function with every result one unit in the last place nearer to `towards`, as another make of CPU may have it."""

    def of(*arguments: Any, **named: Any) -> Tensor:
        found = function(*arguments, **named)
        return torch.nextafter(found, torch.full_like(found, towards))

    return of


@pytest.mark.parametrize("towards", [-math.inf, math.inf])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_last_bit_of_a_function_decides_no_bin_and_no_flag(
    towards: float, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grid of what tanh may see, on and beside every edge, so that each jump has numbers next to it."""
    setup, data = network((12,), norm), split(examples=600)
    p = params(setup, 9)
    p.layers[0].W.mul_(6)
    given_statistics = statistics(setup, 9) if norm == "batch" else None
    edges = BINS["h"].bounds(torch.float32)[1:-1]
    z = torch.cat([edges, torch.nextafter(edges, torch.full_like(edges, -9)), torch.linspace(2.6466, 2.6467, 999)])

    def figures() -> tuple[list[Any], list[Any]]:
        """(jumps, all that may follow the last bit)"""
        rows = activation_rows(p, setup, data, given_statistics, {})
        h = in_torch("tanh")(z)
        grid = LayerTrace(z[None, None], None, z[None, None], h[None, None])
        histogram = Histogram(BINS["h"])
        histogram.add(grid.z[0], torch.ones(1).double())
        flags = [
            *histogram_rows(p, setup, data, given_statistics, {}),
            *picture_rows(p, setup, data.X[None, :32], {}),
            *(row for row in rows if row["metric"].startswith(("saturation", "dead"))),
            saturated(grid, "0.97").tolist(),
            saturated(grid, "0.99").tolist(),
            histogram.counts.tolist(),
        ]
        return [flag for flag in flags if not isinstance(flag, dict) or flag.get("quantity") != "logits"], [
            rows,
            h.tolist(),
        ]

    before, follows = figures()
    for owner, name in (
        (torch, "tanh"),
        (torch, "log"),
        (torch.Tensor, "log"),
        (torch.Tensor, "log_"),
        (torch, "asinh"),
        (torch, "exp"),
    ):
        monkeypatch.setattr(owner, name, moved(getattr(owner, name), towards))
    named_in_torch.cache_clear()  # it keeps the functions that it has found
    try:
        jumps, other = figures()
    finally:
        named_in_torch.cache_clear()
    assert jumps == before
    assert other != follows  # the functions were moved


def test_only_tanh_has_bounded_bins() -> None:
    assert bins_of("h", TANH) == BINS["h"]
    assert bins_of("h", RELU) == BINS["h unbounded"]
    assert bins_of("preact", TANH) == BINS["preact"]


# -- pictures and gaps --------------------------------------------------------------------------------------------


def test_a_picture_marks_saturated_units_example_by_example() -> None:
    setup, data = network((12, 9)), split(examples=16)
    p = params(setup, 9)
    p.layers[0].W.mul_(10)
    rows, layers = picture_rows(p, setup, data.X[None], {}), forward(p, setup, data.X[None]).layers
    assert [(row["layer"], row["example"]) for row in rows] == [(i, n) for i in (1, 2) for n in range(16)]
    for row in rows:
        saturated = layers[row["layer"] - 1].h[0, row["example"]].abs() > 0.99
        assert row["units"] == "".join("1" if on else "0" for on in saturated.tolist())
    assert any("1" in row["units"] for row in rows)
    assert picture_rows(p, network((12, 9), activation="relu"), data.X[None], {}) == []


def test_gaps_are_the_largest_over_units() -> None:
    setup, data = network((8, 11), "batch"), split(examples=200)
    p = params(setup, 9)
    running, calibrated = statistics(setup, 9), evaluate.calibrate(p, setup, data)
    rows = gap_rows(p, setup, {"running": running, "calibrated": calibrated}, data.X[:32], {})
    found = {(r["layer"], r["statistics"], r["metric"]): r["value"] for r in rows}
    assert len(found) == 2 * 2 * 2
    for i in (0, 1):
        one, other = running[i], calibrated[i]
        assert one is not None
        assert other is not None
        for name, a, b in (("gap_mean", one.mean, other.mean), ("gap_std", one.std, other.std)):
            assert found[i + 1, "running", name] == max(
                abs(x - y) for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
            ) or (
                found[i + 1, "running", name]
                == pytest.approx(float((a - b).abs().max()), rel=1e-6)  # float32 difference
            )
    first = model(p, 0).layers[0]
    assert first.b is not None
    preact = p.C[0][data.X[:32]].flatten(1) @ first.W[0] + first.b[0]
    assert calibrated[0] is not None
    mean = calibrated[0].mean
    # float32 means of order one
    assert found[1, "batch", "gap_mean"] == pytest.approx(float((preact.mean(0) - mean[0, 0]).abs().max()), abs=1e-5)
