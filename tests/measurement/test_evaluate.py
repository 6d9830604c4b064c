"""Readings of a trained model: streamed over distinct contexts, equal to the whole split in one piece."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from study.data.examples import Dataset, Split
from study.measurement import evaluate
from study.measurement.evaluate import (
    Moments,
    batch_statistics,
    calibrate,
    chunks,
    negative_log_likelihood,
    small_batch_loss,
    split_loss,
)
from study.network import mlp
from study.network.layers import Network
from study.network.mlp import Params, forward, initialise
from study.network.model import Activations
from study.network.norms import LayerStatistics, Statistics
from study.rng import streams
from study.spec.records import Spec
from tests.support.nets import cell, model, network, params, split, statistics, trained

# float32 activations of order one: a product of another shape adds in another order, some roundings of 6e-8
FLOAT32 = 2e-6

T = TypeVar("T")


def one_piece(p: Params, setup: Network, data: Split, given: Statistics | None) -> float:
    """Mean loss over all N examples at once, none of them merged."""
    return float(F.cross_entropy(forward(p, setup, data.X, given).logits[0].double(), data.Y))


def value(tensor: T | None) -> T:
    assert tensor is not None
    return tensor


# -- losses -------------------------------------------------------------------------------------------------------


@given(chunk=st.sampled_from([1, 3000, 10**6]), examples=st.integers(1, 400), normed=st.booleans())
@settings(deadline=None, max_examples=25)
def test_a_split_loss_is_the_mean_over_every_example_in_chunks_of_any_size(
    chunk: int, examples: int, normed: bool
) -> None:
    setup = network((12,), "batch" if normed else "none")
    p, data = params(setup, 9), split(examples=examples)
    statistic = statistics(setup, 9) if normed else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "CHUNK", chunk)
        found = split_loss(p, setup, data, statistic)
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(one_piece(p, setup, data, statistic), rel=FLOAT32)


def test_a_stack_is_read_model_by_model() -> None:
    setup, data = network((12,)), split()
    p = params(setup, 9, models=3)
    found = split_loss(p, setup, data)
    for m in range(3):
        assert float(found[m]) == pytest.approx(one_piece(model(p, m), setup, data, None), rel=FLOAT32)


def test_a_model_with_batchnorm_is_not_read_without_statistics() -> None:
    setup = network(norm="batch")
    with pytest.raises(ValueError, match="read with given statistics"):
        split_loss(params(setup, 9), setup, split())


def test_a_character_that_never_follows_costs_nothing() -> None:
    logits = torch.tensor([[[0.0, 0.0, -math.inf]]])
    counts = torch.tensor([[3.0, 1.0, 0.0]], dtype=torch.float64)
    assert float(negative_log_likelihood(logits, counts)) == pytest.approx(4 * math.log(2), rel=1e-7)  # float32 log
    assert float(negative_log_likelihood(logits, torch.tensor([[0.0, 0.0, 1.0]]).double())) == math.inf


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("baseline", 22.7, 30.7),
        ("fixed-output", 3.266, 3.346),
        ("scaled-w1", 3.278, 3.326),
        ("kaiming", 3.275, 3.331),
        ("batchnorm", 3.272, 3.328),
    ],
)
def test_initial_losses_of_the_full_split_are_in_the_range_of_the_reference(
    name: str, low: float, high: float, study: Spec, names: Dataset
) -> None:
    """Source: the study's reference points, ten seeds of torch's generator: 26.7 ± 1.0, 3.306 ± 0.010, 3.302 ± 0.006,
    3.303 ± 0.007, 3.300 ± 0.007; here each seed must lie within four of those deviations."""
    setup, data = study.condition(name).network, names.splits["train"]
    for seed in (0, 1, 2):
        one = cell(setup, seed, protocol="lecture")
        p = initialise([one.network], 27, [streams(seed, "lecture")])
        assert (
            low
            < float(split_loss(p, setup, data, calibrate(p, setup, data) if setup.layers_with_statistics else None))
            < high
        )


# -- calibration --------------------------------------------------------------------------------------------------


def concatenated(p: Params, setup: Network, data: Split) -> Statistics:
    """Mean and unbiased std of the pre-activations of all N examples, level after level, in one piece."""
    x = F.embedding(data.X, p.C[0]).flatten(1).double()
    found: list[LayerStatistics | None] = []
    for level, layer in zip(p.layers, setup.layers, strict=True):
        preact = x @ level.W[0].double() + (0 if level.b is None else level.b[0].double())
        found.append(None)
        if layer.norm == "batch":
            mu, sigma = preact.mean(0), preact.std(0)
            preact = level.norm["bngain"][0] * (preact - mu) / sigma + level.norm["bnbias"][0]
            found[-1] = LayerStatistics(mu.view(1, 1, -1), sigma.view(1, 1, -1))
        x = {"tanh": torch.tanh, "relu": torch.relu, "linear": lambda t: t}[layer.activation](preact)
    return tuple(found)


@pytest.mark.parametrize("chunk", [1, 1500, 10**6])
@pytest.mark.parametrize("widths", [(12,), (8, 11)])
def test_calibration_is_mean_and_std_of_all_preactivations(
    widths: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "CHUNK", chunk)
    setup, data = network(widths, norm="batch"), split(examples=700)
    p = params(setup, 9)
    found, literal = calibrate(p, setup, data), concatenated(p, setup, data)
    for i in setup.layers_with_statistics:
        torch.testing.assert_close(value(found[i]).mean.double(), value(literal[i]).mean.double(), rtol=0, atol=FLOAT32)
        torch.testing.assert_close(value(found[i]).std.double(), value(literal[i]).std.double(), rtol=FLOAT32, atol=0)


def test_calibrating_a_level_computes_none_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    setup, depths = network((8, 11, 5), norm="batch"), list[int]()
    p, data = params(setup, 9), split(examples=50)

    def counted(*args: Any, **more: Any) -> Activations:
        found = forward(*args, **more)
        depths.append(len(found.layers))
        return found

    monkeypatch.setattr(mlp, "forward", counted)
    calibrate(p, setup, data)
    assert depths == [1, 2, 3]


def test_calibration_of_a_trained_model_on_the_real_split_is_the_lectures(study: Spec, names: Dataset) -> None:
    """The lecture's cell: emb = C[Xtr]; hpreact = embcat @ W1; mean and std over all of it, unbiased."""
    setup, data = study.condition("batchnorm").network, names.splits["train"]
    trainer, _ = trained([cell(setup, 0, 60)], data)
    p = model(trainer.params, 0)
    hpreact = p.C[0][data.X].view(len(data.Y), -1) @ p.layers[0].W[0]
    found = calibrate(p, setup, data)
    # the literal one is a float32 mean of 182,625 values of order one
    torch.testing.assert_close(value(found[0]).mean[0], hpreact.mean(0, keepdim=True), rtol=0, atol=2e-5)
    torch.testing.assert_close(value(found[0]).std[0], hpreact.std(0, keepdim=True), rtol=2e-5, atol=0)


def test_calibrated_is_the_split_as_one_batch() -> None:
    setup, data = network((8, 11), norm="batch"), split(examples=300)
    p = params(setup, 9)
    whole = F.cross_entropy(forward(p, setup, data.X).logits[0], data.Y)
    assert float(split_loss(p, setup, data, calibrate(p, setup, data))) == pytest.approx(float(whole), rel=1e-5)


# -- batch statistics ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 8, 32, 64])
@pytest.mark.parametrize("chunk", [1, 10**6])
def test_small_batch_loss_is_a_loop_over_batches(size: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "CHUNK", chunk)
    setup, data = network((8, 11), norm="batch"), split(examples=128)
    p = params(setup, 9)
    total = 0.0
    for start in range(0, 128, size):
        X, Y = data.X[start : start + size], data.Y[start : start + size]
        total += float(F.cross_entropy(literal(p, X), Y, reduction="sum"))
    # a std near √eps magnifies a rounding of 6e-8 up to 300 times
    assert float(small_batch_loss(p, setup, data, size)) == pytest.approx(total / 128, rel=3e-5)


def literal(p: Params, X: Tensor) -> Tensor:
    """Logits (N, V) of one batch, written out: tanh levels with BatchNorm, std from the unbiased variance plus eps."""
    x = p.C[0][X].flatten(1).double()
    for layer in p.layers:
        x = x @ layer.W[0].double() + value(layer.b)[0].double()
        if layer.norm:
            x = torch.tanh(
                layer.norm["bngain"][0] * (x - x.mean(0)) / (x.var(0) + 1e-5).sqrt() + layer.norm["bnbias"][0]
            )
    return x


def test_identical_examples_in_a_batch_give_a_finite_loss() -> None:
    setup, data = network((8,), norm="batch"), split(examples=2)
    alike = Split(data.X[:1].repeat(4, 1), data.Y[:1].repeat(4), 9)
    loss = small_batch_loss(params(setup, 9), setup, alike, 2)
    assert bool(torch.isfinite(loss).all())


def test_a_batch_of_one_is_an_explained_error() -> None:
    setup, data = network(norm="batch"), split(examples=8)
    with pytest.raises(ValueError, match="a batch of 1 has no standard deviation; batch statistics need 2 examples"):
        small_batch_loss(params(setup, 9), setup, data, 1)
    with pytest.raises(AssertionError, match="8 contexts do not fill batches of 3"):
        batch_statistics(params(setup, 9), setup, data.X, 3)


def test_batch_statistics_are_those_of_each_batch() -> None:
    setup, data = network((8,), norm="batch"), split(examples=12)
    p = params(setup, 9)
    found, preact = (
        batch_statistics(p, setup, data.X, 4),
        forward(p, setup, data.X, statistics(setup, 9)).layers[0].preact,
    )
    for n in range(12):
        batch = preact[0, n // 4 * 4 : n // 4 * 4 + 4]
        torch.testing.assert_close(value(found[0]).mean[0, n], batch.mean(0), rtol=0, atol=FLOAT32)
        torch.testing.assert_close(value(found[0]).std[0, n], batch.std(0), rtol=FLOAT32, atol=FLOAT32)


# -- moments ------------------------------------------------------------------------------------------------------


@given(
    weights=st.lists(st.integers(1, 6), min_size=2, max_size=40),
    cuts=st.lists(st.integers(1, 39), max_size=4),
    offset=st.sampled_from([0.0, 1e6]),
)
@settings(deadline=None, max_examples=60)
def test_moments_merge_to_those_of_the_repeated_values(weights: list[int], cuts: list[int], offset: float) -> None:
    g = torch.Generator().manual_seed(len(weights))
    values = torch.randn(2, len(weights), 3, generator=g, dtype=torch.float64) + offset
    w = torch.tensor(weights, dtype=torch.float64)
    moments = Moments()
    ends = sorted({c for c in cuts if c < len(weights)})
    for a, b in zip([0, *ends], [*ends, len(weights)], strict=True):
        moments.add(Moments.of(values[:, a:b], w[a:b]))
    repeated = values.repeat_interleave(w.long(), dim=1)
    # float64: an offset of 1e6 leaves ten digits of a spread of order one
    torch.testing.assert_close(moments.mean, repeated.mean(1, keepdim=True), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(moments.std(), repeated.std(1, keepdim=True), rtol=1e-9, atol=1e-12)


def test_chunks_cover_every_example_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = split(examples=900)
    for chunk in (1, 2000, 10**7):
        monkeypatch.setattr(evaluate, "CHUNK", chunk)
        pieces = list(chunks(data, network()))
        assert sum(float(counts.sum()) for _, counts in pieces) == 900
        assert torch.equal(torch.cat([X for X, _ in pieces]), data.distinct[0])
