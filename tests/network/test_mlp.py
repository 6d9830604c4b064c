"""The stacked network against torch's own modules, and the first numbers of the lecture."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.data.examples import Dataset
from study.network.activations import in_torch
from study.network.inits import Init
from study.network.layers import Network
from study.network.mlp import (
    LayerParams,
    Params,
    cross_entropy,
    embed,
    forward,
    fresh_statistics,
    initialise,
)
from study.rng import streams
from study.spec.records import Spec
from study.training.cells import Cell
from tests.support.nets import LECTURE, cell, network, params, split, statistics

KINDS: list[tuple[str, str, bool, tuple[int, ...]]] = [
    ("none", "tanh", True, (12,)),
    ("none", "relu", True, (7, 9)),
    ("none", "linear", False, (5,)),
    ("batch", "tanh", False, (12,)),
    ("batch", "relu", True, (6, 8)),
]


def start(cells: list[Cell], vocabulary: int) -> Params:
    return initialise([c.network for c in cells], vocabulary, [streams(c.seed, c.protocol) for c in cells])


# -- initialise ---------------------------------------------------------------------------------------------------


def test_a_twin_differs_by_one_unit_in_the_last_place_of_one_weight() -> None:
    """Against NumPy's nextafter."""
    setup = network((8,))
    draws = [streams(seed, "paired") for seed in (3, 3, 4)]
    p = initialise([setup] * 3, 9, draws, twins=[False, True, False])
    original, twin, other = p.layers[0].W.numpy()
    assert (original != twin).sum() == 1
    assert twin[0, 0] == np.nextafter(original[0, 0], np.float32(np.inf))
    assert (original != other).any()
    for tensor in (p.C, p.layers[1].W, p.layers[0].b, p.layers[1].b):
        assert tensor is not None
        assert torch.equal(tensor[0], tensor[1])


def test_w1_is_the_scaling_of_one_unscaled_draw_in_every_condition(study: Spec) -> None:
    draw = streams(3, "paired").normal("W1", (30, 200))
    for condition in study.conditions:
        W1 = start([cell(condition.network, seed=3)], 27).layers[0].W
        assert torch.equal(W1[0], condition.network.hidden[0].weight.settings.scaled(draw, 30, 200)), condition.name


def test_every_parameter_is_the_scaling_of_its_own_draw_in_every_condition(study: Spec) -> None:
    draws = streams(5, "paired")
    for condition in study.conditions:
        setup, found = condition.network, start([cell(condition.network, seed=5)], 27)
        assert torch.equal(found.C[0], setup.embedding.settings.scaled(draws.normal("C", (27, 10)), 27, 10))
        for i, (layer, shape) in enumerate(zip(setup.layers, setup.shapes(27), strict=True), start=1):
            level = found.layers[i - 1]
            assert torch.equal(level.W[0], layer.weight.settings.scaled(draws.normal(f"W{i}", shape), *shape))
            assert (level.b is None) == (layer.bias is None)
            if level.b is not None and layer.bias is not None:
                assert torch.equal(
                    level.b[0, 0], layer.bias.settings.scaled(draws.normal(f"b{i}", (shape[1],)), *shape)
                )


def test_the_lecture_protocol_draws_in_the_lectures_order_and_none_for_a_missing_bias() -> None:
    for bias in (True, False):
        g = torch.Generator().manual_seed(2147483647)
        C = torch.randn((27, 10), generator=g)
        W1 = torch.randn((30, 200), generator=g) * (5 / 3) / (30**0.5)
        b1 = torch.randn(200, generator=g) * 0.01 if bias else None
        W2 = torch.randn((200, 27), generator=g) * 0.1
        b2 = torch.randn(27, generator=g) * 0
        found = start([cell(network(LECTURE, bias=bias), 2147483647, protocol="lecture")], 27)
        first, second = found.layers
        assert torch.equal(found.C[0], C)
        assert torch.equal(first.W[0], W1)
        assert torch.equal(second.W[0], W2)
        assert second.b is not None
        assert torch.equal(second.b[0, 0], b2)
        assert (first.b is None) == (b1 is None)
        if first.b is not None and b1 is not None:
            assert torch.equal(first.b[0, 0], b1)


def test_batchnorm_starts_as_the_identity() -> None:
    setup = network((6, 8), norm="batch")
    found = start([cell(setup, seed=s) for s in range(3)], 9)
    for layer, width in zip(found.layers, (6, 8), strict=False):
        assert list(layer.norm) == ["bngain", "bnbias"]
        assert torch.equal(layer.norm["bngain"], torch.ones(3, 1, width))
        assert torch.equal(layer.norm["bnbias"], torch.zeros(3, 1, width))
    running = fresh_statistics(found, setup)
    assert running[2] is None
    assert running[0] is not None
    assert torch.equal(running[0].std, torch.ones(3, 1, 6))


def test_parameters_have_the_lectures_names_in_order() -> None:
    found = start([cell(network((6, 8), norm="batch"))], 9)
    assert [n for n, _ in found.named()] == [
        "C",
        "W1",
        "b1",
        "bngain1",
        "bnbias1",
        "W2",
        "b2",
        "bngain2",
        "bnbias2",
        "W3",
        "b3",
    ]
    shapes = {name: tuple(tensor.shape) for name, tensor in found.named()}
    assert shapes["W2"] == (1, 6, 8)
    assert shapes["b2"] == shapes["bngain2"] == (1, 1, 8)


# -- forward ------------------------------------------------------------------------------------------------------


def test_embed_is_a_lookup_per_model() -> None:
    C, X = torch.randn(3, 9, 4), torch.randint(0, 9, (3, 20, 2))
    literal = torch.stack([torch.cat([C[m][X[m, :, t]] for t in range(2)], dim=1) for m in range(3)])
    assert torch.equal(embed(C, X), literal)
    shared = torch.stack([torch.cat([C[m][X[0, :, t]] for t in range(2)], dim=1) for m in range(3)])
    assert torch.equal(embed(C, X[0]), shared)


def modules(p: Params, m: int, setup: Network, X: Tensor) -> Tensor:
    """Logits of model m by torch's own modules, layers with a norm in training mode. (N, V)

    nn.BatchNorm1d divides by √(biased variance + eps), the lecture by the unbiased std: n/(n−1) of the variance.
    Scaling the gain by √((n−1)/n) makes the two the same function; torch refuses an eps of 0, 1e-30 changes no bit.
    """
    n = X.shape[0]
    x = F.embedding(X, p.C[m]).flatten(1)
    for level, layer in zip(p.layers, setup.layers, strict=True):
        fan_in, fan_out = level.W.shape[1:]
        linear = nn.Linear(fan_in, fan_out, bias=level.b is not None, dtype=level.W.dtype)
        linear.weight.data = level.W[m].T
        if level.b is not None:
            linear.bias.data = level.b[m, 0]
        x = linear(x)
        if level.norm:
            norm = nn.BatchNorm1d(fan_out, eps=1e-30, dtype=x.dtype)
            norm.weight.data, norm.bias.data = (
                level.norm["bngain"][m, 0] * math.sqrt((n - 1) / n),
                level.norm["bnbias"][m, 0],
            )
            x = norm(x)
        x = {"tanh": nn.Tanh(), "relu": nn.ReLU(), "linear": nn.Identity()}[layer.activation](x)
    return x


@pytest.mark.parametrize(("norm", "activation", "bias", "widths"), KINDS)
def test_forward_is_what_torchs_modules_compute(
    norm: str, activation: str, bias: bool, widths: tuple[int, ...]
) -> None:
    setup = network(widths, norm, activation, bias)
    p = params(setup, 9, dtype=torch.float64, models=3)
    X = torch.stack([split(seed=m, examples=25).X for m in range(3)])
    logits = forward(p, setup, X).logits
    for m in range(3):
        # float64 and sums of at most 30 terms of order one: a hundred roundings of 1e-16
        torch.testing.assert_close(logits[m], modules(p, m, setup, X[m]), rtol=1e-12, atol=1e-12)


def test_batchnorm_is_f_batch_norm_with_the_unbiased_variance() -> None:
    setup = network((12,), norm="batch")
    p, X = params(setup, 9), split(examples=32).X
    layer = forward(p, setup, X).layers[0]
    (gain, bias), n = p.layers[0].norm.values(), 32
    theirs = F.batch_norm(
        layer.preact[0], None, None, gain[0, 0] * math.sqrt((n - 1) / n), bias[0, 0], training=True, eps=1e-30
    )
    # values of order one in float32 (spacing 1e-7) after about ten roundings
    torch.testing.assert_close(layer.z[0], theirs, rtol=1e-5, atol=1e-6)
    uncorrected = F.batch_norm(layer.preact[0], None, None, gain[0, 0], bias[0, 0], training=True)
    # what the difference of definitions is worth at n = 32: 1.6 % of the deviation from the bias
    assert float((layer.z[0] - uncorrected).abs().max()) > 1e-2


def test_given_statistics_are_f_batch_norm_in_evaluation() -> None:
    setup = network((12,), norm="batch")
    p, X, given = params(setup, 9), split(examples=32).X, statistics(setup, 9)
    layer = forward(p, setup, X, given).layers[0]
    (gain, bias), own = p.layers[0].norm.values(), given[0]
    assert own is not None
    theirs = F.batch_norm(
        layer.preact[0], own.mean[0, 0], own.std[0, 0] ** 2, gain[0, 0], bias[0, 0], training=False, eps=0
    )
    # values of order one in float32 (spacing 1e-7) after about ten roundings
    torch.testing.assert_close(layer.z[0], theirs, rtol=1e-5, atol=1e-6)


def test_given_statistics_judge_every_example_by_itself() -> None:
    setup = network((12,), norm="batch")
    p, X, given = params(setup, 9), split(examples=32).X, statistics(setup, 9)
    together = forward(p, setup, X, given).logits
    alone = torch.cat([forward(p, setup, x[None], given).logits for x in X], dim=1)
    # a product of another shape adds in another order: last bits of values of order one
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    batch = forward(p, setup, X).logits
    assert not torch.allclose(batch[:, :16], forward(p, setup, X[:16]).logits, atol=1e-2)


@pytest.mark.parametrize(("norm", "activation", "bias", "widths"), KINDS)
def test_gradients_are_finite_differences(norm: str, activation: str, bias: bool, widths: tuple[int, ...]) -> None:
    setup = network(widths, norm, activation, bias, embedding=3)
    p = params(setup, 5, dtype=torch.float64, models=2)
    data = split(5, examples=16)
    X, Y = data.X.view(2, 8, 3), data.Y.view(2, 8)
    names = [name for name, _ in p.named()]
    norms = [list(layer.norm) for layer in p.layers]

    def loss(*tensors: Tensor) -> Tensor:
        given = dict(zip(names, tensors, strict=True))
        layers = [
            LayerParams(given[f"W{i}"], given.get(f"b{i}"), {name: given[f"{name}{i}"] for name in own})
            for i, own in enumerate(norms, start=1)
        ]
        return cross_entropy(forward(Params(given["C"], tuple(layers)), setup, X).logits, Y)

    inputs = p.tensors()
    for tensor in inputs:
        tensor.requires_grad_()
    # gradcheck's own float64 tolerances; a kink of relu within its 1e-6 step has probability about 1e-4
    assert torch.autograd.gradcheck(loss, inputs)


def test_activations_are_torchs() -> None:
    x = torch.linspace(-3, 3, 50)
    assert torch.equal(in_torch("tanh")(x), torch.tanh(x))
    assert torch.equal(in_torch("relu")(x), x.clamp(min=0))
    assert torch.equal(in_torch("linear")(x), x)


def test_models_of_a_stack_share_nothing() -> None:
    setup = network((12,), norm="batch")
    p = params(setup, 9, models=3)
    for _, tensor in p.named():
        tensor.requires_grad_()
    data = split(examples=24)
    loss = cross_entropy(forward(p, setup, data.X.view(3, 8, 3)).logits, data.Y.view(3, 8))
    for gradient in torch.autograd.grad(loss[1], p.tensors()):
        assert bool((gradient[[0, 2]] == 0).all())
        assert bool((gradient[1] != 0).any())


# -- the lecture's first numbers -----------------------------------------------------------------------------------


FIRST = {"baseline": 27.8817, "fixed-output": 3.3221, "scaled-w1": 3.3135, "kaiming": 3.3179, "batchnorm": 3.3239}


@pytest.mark.parametrize("name", FIRST)
def test_first_losses_are_the_lectures(name: str, study: Spec, names: Dataset) -> None:
    """Initial loss on the first minibatch, seed 2147483647, the lecture's generator.

    Source: the reference points that the study was specified with: step 0 of the lecture's code
    (makemore_part3_bn.ipynb of karpathy/nn-zero-to-hero), printed to four digits. BatchNorm reads the minibatch's own
    statistics.
    """
    one = cell(study.condition(name).network, 2147483647, protocol="lecture")
    draws, train = streams(one.seed, "lecture"), names.splits["train"]
    p = initialise([one.network], 27, [draws])
    rows = draws.indices(len(train.Y), 1, 32)[0]
    loss = cross_entropy(forward(p, one.network, train.X[rows]).logits, train.Y[rows][None])
    assert f"{float(loss):.4f}" == f"{FIRST[name]:.4f}"


def test_zero_output_is_a_uniform_guess_for_any_vocabulary() -> None:
    for vocabulary in (2, 9, 27, 61):
        setup = network(output=0.0)
        data = split(vocabulary, examples=64)
        p = start([cell(setup)], vocabulary)
        loss = cross_entropy(forward(p, setup, data.X).logits, data.Y[None])
        # float32 log and a mean of equal terms: two roundings of about 1e-7
        assert float(loss) == pytest.approx(math.log(vocabulary), rel=1e-6)


def test_statistics_may_be_taken_from_the_batch_itself() -> None:
    setup = network((6, 8), norm="batch")
    p, X = params(setup, 9), split(examples=32).X
    layers = forward(p, setup, X).layers
    own = tuple(v.statistics for v in layers)
    assert torch.equal(forward(p, setup, X, own).logits, forward(p, setup, X).logits)


def test_a_condition_may_norm_its_output_level(names: Dataset) -> None:
    setup = network((12,))
    setup = replace(setup, output=replace(setup.output, norm="batch", weight=Init(gain=1.0)))
    p = start([cell(setup)], 27)
    logits = forward(p, setup, names.splits["train"].X[:64]).logits
    # normalised logits: mean 0 and unbiased std 1 per character, in float32
    torch.testing.assert_close(logits.mean(1), torch.zeros(1, 27), atol=1e-5, rtol=0)
    torch.testing.assert_close(logits.std(1), torch.ones(1, 27), atol=1e-5, rtol=0)
    assert setup.layers_with_statistics == (1,)
