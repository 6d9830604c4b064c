"""Every norm against torch in float64, its statistics, and how it is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.errors import SpecError
from study.network.inits import Init
from study.network.layers import Layer
from study.network.mlp import LayerParams, normalise
from study.network.norms import NORMS, BatchOptions, LayerStatistics, Norm, Parameter, read_norm, register
from study.network.options import OptionError
from tests.support.nets import cell, flat, network, split, trained

N, H = 32, 50
G = torch.Generator().manual_seed(0)
X = 3 * torch.randn((1, N, H), generator=G, dtype=torch.float64) + torch.randn((1, 1, H), generator=G).double()
GAIN, BIAS = (torch.randn((1, 1, H), generator=G).double() for _ in range(2))
PARAMS = {"gain": GAIN, "bias": BIAS}
DEFINITIONS = ("lecture", "second half", "torch")


def normed(words: Any, given: LayerStatistics | None = None, x: Tensor = X) -> tuple[Tensor, LayerStatistics | None]:
    chosen = read_norm(words)
    entry = NORMS[chosen.name]
    return entry.normalise(x, PARAMS, given, entry.options(**dict(chosen.options)))


def close(ours: Tensor, theirs: Tensor) -> None:
    """Equal to 16 units in the last place of the largest value."""
    ours, theirs = ours.detach(), theirs.detach()
    largest = float(torch.maximum(ours.abs(), theirs.abs()).max())
    assert float((ours - theirs).abs().max()) <= 16 * np.spacing(largest)


def test_layer_norm_is_torchs() -> None:
    z, used = normed("layer")
    close(z, F.layer_norm(X, (H,), GAIN.flatten(), BIAS.flatten(), eps=1e-5))
    assert used is None


def test_rms_norm_is_torchs_with_its_default_eps() -> None:
    z, used = normed("rms")
    close(z, F.rms_norm(X, (H,), GAIN.flatten(), eps=torch.finfo(torch.float32).eps))
    assert used is None


@pytest.mark.parametrize("words", ["layer", "rms"])
def test_a_norm_over_units_looks_at_each_example_alone(words: str) -> None:
    together, _ = normed(words)
    for n in range(N):
        alone, _ = normed(words, x=X[:, n : n + 1])
        assert torch.equal(alone[:, 0], together[:, n])


def test_batch_norm_by_torchs_definition_is_torchs() -> None:
    z, used = normed({"batch": {"definition": "torch"}})
    module = nn.BatchNorm1d(H, dtype=torch.float64)
    module.weight.data, module.bias.data = GAIN.flatten(), BIAS.flatten()
    close(z[0], module(X[0]))
    assert used is not None
    close(0.1 * used.mean.flatten(), module.running_mean)  # type: ignore[arg-type]
    close(0.9 + 0.1 * used.spread.flatten(), module.running_var)  # type: ignore[arg-type]
    given = LayerStatistics(used.mean / 2, used.spread * 2, "var")
    theirs = F.batch_norm(X[0], given.mean.flatten(), given.spread.flatten(), GAIN.flatten(), BIAS.flatten(), eps=1e-5)
    close(normed({"batch": {"definition": "torch"}}, given)[0][0], theirs)


class SecondHalf:
    """The class BatchNorm1d of the lecture's second half, written out."""

    def __init__(self) -> None:
        self.running_mean, self.running_var = torch.zeros(H).double(), torch.ones(H).double()

    def __call__(self, x: Tensor, training: bool = True) -> Tensor:
        xmean, xvar = (x.mean(0), x.var(0)) if training else (self.running_mean, self.running_var)
        if training:
            self.running_mean = 0.9 * self.running_mean + 0.1 * xmean
            self.running_var = 0.9 * self.running_var + 0.1 * xvar
        return GAIN[0] * (x - xmean) / torch.sqrt(xvar + 1e-5) + BIAS[0]


def test_batch_norm_by_the_second_half_is_that_class() -> None:
    z, used = normed({"batch": {"definition": "second half"}})
    literal = SecondHalf()
    close(z[0], literal(X[0]))
    assert used is not None
    running = LayerStatistics(0.1 * used.mean, 0.9 + 0.1 * used.spread, "var")
    close(normed({"batch": {"definition": "second half"}}, running)[0][0], literal(X[0], training=False))


def test_batch_norm_by_the_lectures_first_half_has_the_unbiased_std_and_no_eps() -> None:
    z, used = normed("batch")
    mean, std = X[0].mean(0, keepdim=True), X[0].std(0, keepdim=True)
    assert torch.equal(z[0], GAIN[0] * (X[0] - mean) / std + BIAS[0])
    assert used is not None
    assert used.measure == "std"
    assert torch.equal(used.std, std[None])


def test_the_three_definitions_differ() -> None:
    z = [normed({"batch": {"definition": name}})[0] for name in DEFINITIONS]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        # eps beside a variance of 9, and √(1 − 1/32) for the biased one
        assert float((z[a] - z[b]).abs().max()) > 1e-7


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_running_statistics_of_a_training_are_the_definitions_moving_average(definition: str) -> None:
    """Against a second pass over the same steps, whose batch statistics are averaged in NumPy's float64."""
    setup = network((12,), norm="batch")
    chosen = read_norm({"batch": {"definition": definition}})
    hidden = Layer(setup.hidden[0].weight, setup.hidden[0].bias, "batch", "tanh", chosen.options)
    setup = type(setup)(3, 10, (12,), setup.embedding, (hidden,), setup.output)
    data, steps = split(), 20
    trainer, _ = trained([cell(setup, steps=steps)], data)
    momentum = 0.001 if definition == "lecture" else 0.1
    mean, spread = np.zeros(12), np.ones(12)
    for step in range(steps):
        before, _ = trained([cell(setup, steps=step)], data) if step else (_untrained(setup, data), None)
        rows = before.upcoming()[0]
        p = flat(before, 0)
        preact = (p["C"][data.X[rows]].flatten(1) @ p["W1"] + p["b1"]).double().numpy()
        measured = preact.std(0, ddof=1) if definition == "lecture" else preact.var(0, ddof=1)
        mean = (1 - momentum) * mean + momentum * preact.mean(0)
        spread = (1 - momentum) * spread + momentum * measured
    found = flat(trainer, 0)
    name = "std1" if definition == "lecture" else "var1"
    # float32 averages of twenty terms of order one
    np.testing.assert_allclose(found["mean1"][0].numpy(), mean, atol=2e-6)
    np.testing.assert_allclose(found[name][0].numpy(), spread, rtol=1e-5)


def _untrained(setup: Any, data: Any) -> Any:
    from study.training.autograd import Trainer
    from study.training.cells import Stack

    return Trainer(Stack((cell(setup),)), data, data.vocabulary)


# -- readings in small batches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_small_batches_are_normalised_one_by_one(definition: str) -> None:
    layer = Layer(Init(std=1.0), None, "batch", norm_options=read_norm({"batch": {"definition": definition}}).options)
    own = LayerParams(X, None, {"bngain": GAIN, "bnbias": BIAS})
    z, used = normalise(X, own, layer, None, 8)
    biased = definition == "torch"
    for start in range(0, N, 8):
        part = X[0, start : start + 8]
        literal = GAIN[0] * (part - part.mean(0)) / (part.var(0, correction=not biased) + 1e-5).sqrt() + BIAS[0]
        close(z[0, start : start + 8], literal)
    assert used is not None
    close(used.std[0, 1], X[0, 8:16].std(0))


def test_a_norm_without_a_way_of_its_own_for_small_batches_uses_its_own_rule(dummy: Norm) -> None:
    layer = Layer(Init(std=1.0), None, dummy.name)
    own = LayerParams(X, None, {"centregain": GAIN})
    z, used = normalise(X, own, layer, None, 8)
    for start in range(0, N, 8):
        part = X[0, start : start + 8]
        close(z[0, start : start + 8], GAIN[0] * (part - part.mean(0)))
    assert used is not None
    close(used.mean[0, 2], X[0, 16:24].mean(0))


# -- reading and registering ------------------------------------------------------------------------------------------

READ: list[tuple[Any, tuple[str, Any, Any]]] = [
    (None, ("none", (), ())),
    ("none", ("none", (), ())),
    ("batch", ("batch", (), ())),
    ({"batch": {}}, ("batch", (), ())),
    ({"batch": {"definition": "lecture"}}, ("batch", (), ())),
    ({"batch": {"definition": "torch"}}, ("batch", (("definition", "torch"),), ())),
    (
        {"layer": {"gain": {"constant": 0.1}, "bias": {"std": 0}}},
        ("layer", (), (("gain", Init(kind="constant", options=(("constant", 0.1),))), ("bias", Init(std=0.0)))),
    ),
]


@pytest.mark.parametrize(("words", "norm"), READ, ids=[str(words) for words, _ in READ])
def test_a_norm_is_read(words: Any, norm: tuple[str, Any, Any]) -> None:
    found = read_norm(words)
    assert (found.name, found.options, found.inits) == norm


REFUSED: list[tuple[Any, str]] = [
    ("layr", "no norm 'layr'; did you mean 'layer'?"),
    (3, "no norm 3"),
    ({"batch": {}, "layer": {}}, "expected one norm, such as {batch: {definition: torch}}, got {"),
    ({"batch": "torch"}, "expected the options of batch as a mapping, got 'torch'"),
    ({"batch": {"definition": "tensor"}}, "expected lecture, second half, torch, got 'tensor'"),
    ({"batch": {"defintion": "torch"}}, "batch: unknown key 'defintion'; did you mean 'definition'?"),
    ({"rms": {"bias": {"std": 0}}}, "rms: unknown key 'bias'"),
    ({"layer": {"gain": {"gain": 1}}}, "gain of layer: it has no fan_in; expected {std: …} or {constant: …}, got {"),
    ({"layer": {"gain": "kaiming"}}, "gain of layer: it has no fan_in; expected {std: …} or {constant: …}, got"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[str(words) for words, _ in REFUSED])
def test_what_is_no_norm_is_refused_with_the_remedy(words: Any, message: str) -> None:
    with pytest.raises(OptionError) as refusal:
        read_norm(words)
    assert str(refusal.value).startswith(message)


def centred(x: Tensor, params: dict[str, Tensor], given: LayerStatistics | None, _: Any) -> Any:
    used = given or LayerStatistics(x.mean(1, keepdim=True), x.std(1, keepdim=True))
    return params["gain"] * (x - used.mean), used


@pytest.fixture
def dummy(monkeypatch: pytest.MonkeyPatch) -> Norm:
    one = Init(kind="constant", options=(("constant", 1.0),))
    entry = Norm("centre", "Centring", centred, (Parameter("gain", "centregain", one),), needs_statistics=True)
    monkeypatch.setitem(NORMS, "centre", entry)
    return entry


def test_an_entry_that_cannot_serve_is_refused_with_its_line() -> None:
    before = dict(NORMS)
    one = Init(std=1.0)
    for entry, message in (
        (Norm("batch", "B", centred), "'batch': the name is taken; choose another one"),
        (Norm("none", "B", centred), "expected a name of printable characters that is not none, got 'none'"),
        (Norm("mine", "B", None), "normalise: expected a function, got None"),  # type: ignore[arg-type]
        (
            Norm("mine", "B", centred, (Parameter("gain", "lngain", one),)),
            "another norm has a parameter 'lngain'; choose another name",
        ),
    ):
        with pytest.raises(SpecError) as refusal:
            register(entry)
        assert str(refusal.value).startswith(f"{__file__}:")
        assert message in str(refusal.value)
    assert before == NORMS


def test_the_variance_behind_a_norm_is_that_of_its_output() -> None:
    """With wide normal values, to the standard error of the variance of 32 · 50 values."""
    x = 0.05 * torch.randn((1, 400, 500), generator=G, dtype=torch.float64)
    ones = {"gain": torch.ones(1, 1, 500).double(), "bias": torch.zeros(1, 1, 500).double()}
    for words in ("layer", "rms", *({"batch": {"definition": name}} for name in DEFINITIONS)):
        chosen = read_norm(words)
        entry = NORMS[chosen.name]
        options = entry.options(**dict(chosen.options))
        z, _ = entry.normalise(x, ones, None, options)
        assert entry.variance is not None
        # the variance of 500 (or 400) values is known to 6 %, its mean over 400 (or 500) to 0.3 %; eps takes 0.4 %
        assert float(z.square().mean()) == pytest.approx(float(entry.variance(0.05**2, 400, options)), rel=1e-4)
    assert BatchOptions().definition == "lecture"
