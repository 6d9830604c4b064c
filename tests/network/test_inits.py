"""Initialisers: the scale, the moments and the shape of every draw, and how they are written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from study.network.inits import (
    INITIALISERS,
    SCHEMES,
    Facts,
    Init,
    Place,
    Scheme,
    log_frequencies,
    orthonormal,
    read_init,
)
from study.network.options import OptionError
from study.rng import Streams, streams

PROTOCOLS = ("paired", "lecture")
FANS = (400, 600)
DRAW = torch.randn((30, 200), generator=torch.Generator().manual_seed(0))


def drawn(words: Any, shape: tuple[int, ...] = FANS, protocol: str = "paired", facts: Facts = Facts()) -> Any:  # noqa: B008
    """The parameter W1 of seed 0, (*shape) float64."""
    init = read_init(words)
    assert isinstance(init, Init)
    place = Place("W1", shape, shape[0], shape[-1])
    return init.draw(streams(0, protocol), place, facts).double().numpy()


# -- scale ------------------------------------------------------------------------------------------------------------


def test_a_gain_is_multiplied_then_divided_with_one_rounding_each() -> None:
    scaled = Init(gain=5 / 3).settings.scaled(DRAW, 30, 200)
    # the lecture writes randn(...) * (5/3) / ((30)**0.5)
    assert torch.equal(scaled, DRAW * (5 / 3) / (30**0.5))
    assert not torch.equal(scaled, DRAW * ((5 / 3) / 30**0.5))
    assert not torch.equal(scaled, DRAW / 30**0.5 * (5 / 3))


def test_a_std_is_multiplied_whatever_the_fans() -> None:
    assert torch.equal(Init(std=0.2).settings.scaled(DRAW, 30, 200), DRAW * 0.2)
    assert torch.equal(Init(std=0.0).settings.scaled(DRAW, 7, 8), torch.zeros(30, 200))


MODES = {"fan_in": 400, "fan_out": 600, "fan_avg": 500}
# the fourth moment of a draw of std 1, which gives the standard error of its std
KURTOSIS = {"normal": 3.0, "uniform": 9 / 5, "truncated": float(stats.truncnorm(-2, 2).stats("k")) + 3}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("distribution", KURTOSIS)
def test_a_gain_has_the_std_of_its_fan_in_every_distribution(distribution: str, mode: str, protocol: str) -> None:
    W = drawn({"gain": 2, "mode": mode, "distribution": distribution}, protocol=protocol)
    error = math.sqrt((KURTOSIS[distribution] - 1) / 4 / W.size)  # the relative standard error of a std
    assert W.std() == pytest.approx(2 / math.sqrt(MODES[mode]), rel=5 * error)
    init = Init(gain=2.0, mode=mode, distribution=distribution)  # type: ignore[arg-type]
    assert init.scale(*FANS) == pytest.approx(2 / math.sqrt(MODES[mode]), rel=1e-15)
    assert abs(W.mean()) < 5 * init.scale(*FANS) / math.sqrt(W.size)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_uniform_draw_fills_its_interval_evenly(protocol: str) -> None:
    W = drawn({"std": 0.1, "distribution": "uniform"}, protocol=protocol)
    edge = 0.1 * math.sqrt(3)
    assert np.abs(W).max() <= edge * (1 + 1e-6)
    assert stats.kstest(W.ravel(), "uniform", args=(-edge, 2 * edge)).pvalue > 1e-4


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_truncated_draw_is_a_normal_of_a_larger_std_cut_at_two_of_it(protocol: str) -> None:
    """As JAX and Keras have it: the result has the std that was asked for."""
    W = drawn({"std": 0.1, "distribution": "truncated"}, protocol=protocol)
    larger = 0.1 / 0.87962566  # the std of a standard normal cut at ± 2, to eight digits
    assert np.abs(W).max() <= 2 * larger * (1 + 1e-6)
    assert np.abs(W).max() > 1.99 * larger
    assert stats.kstest(W.ravel() / larger, stats.truncnorm(-2, 2).cdf).pvalue > 1e-4


def test_torchs_default_for_linear_is_uniform_within_one_over_the_root_of_fan_in() -> None:
    scheme = read_init("pytorch")
    assert isinstance(scheme, Scheme)
    W = scheme.of(1.0).draw(streams(0, "paired"), Place("W1", FANS, *FANS), Facts()).double().numpy()
    theirs = torch.nn.Linear(*FANS).weight.detach().double().numpy()
    bound = 1 / math.sqrt(400)
    for weights in (W, theirs):
        assert np.abs(weights).max() == pytest.approx(bound, rel=1e-3)
        assert weights.std() == pytest.approx(bound / math.sqrt(3), rel=5 * math.sqrt(0.2 / W.size))


# -- orthogonal, constant, log frequencies ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25), (7, 1), (1, 7)])
def test_an_orthogonal_draw_has_one_singular_value(shape: tuple[int, int]) -> None:
    W = drawn({"orthogonal": 1.5}, shape)
    # entries rounded to float32: relative 6e-8 each
    assert np.linalg.svd(W, compute_uv=False) == pytest.approx([1.5] * min(shape), rel=1e-6)
    scale = Init(kind="orthogonal", options=(("gain", 1.5),)).scale(*shape)
    assert math.sqrt((W**2).mean()) == pytest.approx(scale, rel=1e-6)


def test_an_orthogonal_draw_is_torchs_up_to_the_signs_of_its_columns() -> None:
    """torch takes Q of a QR decomposition of the same kind of draw and makes the diagonal of R positive."""
    draw = np.random.default_rng(0).standard_normal((40, 30))
    Q, R = np.linalg.qr(draw)
    np.testing.assert_allclose(orthonormal(draw), Q * np.sign(np.diag(R)), atol=1e-12)


def test_orthonormal_columns_stay_orthonormal_where_the_draw_is_nearly_dependent() -> None:
    draw = np.random.default_rng(0).standard_normal((50, 4))
    draw[:, 3] = draw[:, 2] + 1e-9 * draw[:, 3]
    Q = orthonormal(draw)
    np.testing.assert_allclose(Q.T @ Q, np.eye(4), atol=1e-14)


class Counted:
    """Streams that count how many numbers were asked for."""

    def __init__(self, own: Streams) -> None:
        self.own, self.numbers = own, 0

    def normal(self, name: str, shape: Any) -> Any:
        self.numbers += math.prod(shape)
        return self.own.normal(name, shape)


@pytest.mark.parametrize(("words", "numbers"), [({"constant": 0.1}, 8), ({"constant": 0.1, "draws": False}, 0)])
def test_a_constant_takes_numbers_from_the_generator_unless_it_is_told_not_to(words: Any, numbers: int) -> None:
    counted, init = Counted(streams(0, "lecture")), read_init(words)
    assert isinstance(init, Init)
    b = init.draw(counted, Place("b1", (8,), 3, 8), Facts())  # type: ignore[arg-type]
    assert torch.equal(b, torch.full((8,), 0.1))
    assert counted.numbers == numbers


def test_log_frequencies_are_those_of_the_targets_with_half_an_example_more_for_each() -> None:
    counts = (7, 0, 2, 91)
    expected = [math.log((n + 0.5) / (100 + 2)) for n in counts]
    assert log_frequencies(counts) == pytest.approx(expected, rel=1e-15)
    assert sum(map(math.exp, log_frequencies(counts))) == pytest.approx(1, rel=1e-15)  # they are probabilities
    b = drawn("log frequencies", (4,), facts=Facts(counts))
    assert b == pytest.approx(expected, rel=1e-7)


# -- reading ----------------------------------------------------------------------------------------------------------

READ: list[tuple[Any, Init]] = [
    ({"std": 0.2}, Init(std=0.2)),
    ({"std": 1}, Init(std=1.0)),
    ({"std": 0.2, "distribution": "uniform"}, Init(std=0.2, distribution="uniform")),
    ({"gain": "tanh"}, Init(gain=5 / 3)),
    ({"gain": {"gelu": "variance"}}, Init(gain=1.70092624336)),
    ({"gain": {"gelu": "criticality"}}, Init(gain=1.48111441271)),
    ({"gain": "gelu", "mode": "fan_avg"}, Init(gain=1.5335304412, mode="fan_avg")),
    ({"gain": {"gain": 2, "mode": "fan_out"}}, Init(gain=2.0, mode="fan_out")),
    ({"orthogonal": 1}, Init(kind="orthogonal", options=(("gain", 1.0),))),
    ({"orthogonal": {"gain": 2}}, Init(kind="orthogonal", options=(("gain", 2.0),))),
    ("orthogonal", Init(kind="orthogonal")),
    ({"constant": 0.1, "draws": False}, Init(kind="constant", options=(("constant", 0.1), ("draws", False)))),
    ("log frequencies", Init(kind="log frequencies")),
]


@pytest.mark.parametrize(("words", "init"), READ, ids=[str(words) for words, _ in READ])
def test_an_initialiser_is_read(words: Any, init: Init) -> None:
    assert read_init(words).scale(2, 3) == pytest.approx(init.scale(2, 3), nan_ok=True)  # type: ignore[union-attr]
    found = read_init(words)
    if not (isinstance(words, dict) and words.get("orthogonal") == 1):  # a gain of 1 is the default, and not written
        assert found == init


REFUSED: list[tuple[Any, str, str]] = [
    ({"stdd": 1}, "unknown key 'stdd'; did you mean 'std'?", "stdd"),
    ({}, "expected an initialiser such as {std: 0.2}, got an empty mapping", ""),
    ({"std": 1, "gain": 1}, "expected either std or gain, got both", ""),
    ({"std": -1}, "expected 0 or more, got -1", "std"),
    ({"std": "a"}, "expected a number, got 'a'", "std"),
    ({"std": True}, "expected a number, got True", "std"),
    ({"std": math.inf}, "expected a number, got inf", "std"),
    ({"std": 1, "mode": "fan_in"}, "unknown key 'mode'; known: std, distribution", "mode"),
    ({"gain": "tan"}, "expected a number or the name of an activation, got 'tan'; did you mean 'tanh'?", "gain"),
    ({"gain": {"gelu": "variances"}}, "expected one of torch, second moment, variance, criticality", "gain"),
    ({"gain": 1, "mode": "fan"}, "expected fan_in, fan_out, fan_avg, got 'fan'", "mode"),
    ({"gain": 1, "distribution": "cauchy"}, "expected normal, uniform, truncated, got 'cauchy'", "distribution"),
    ({"constant": 1, "draw": False}, "unknown key 'draw'; did you mean 'draws'?", "draw"),
    ({"constant": 1, "draws": 0}, "expected true or false, got 0", "draws"),
    ("xavir", "no initialiser 'xavir'; did you mean 'xavier'?", ""),
    (3, "expected an initialiser such as {std: 0.2}, {gain: tanh} or xavier, got 3", ""),
    ({"log frequencies": 1}, "log frequencies has no options, got 1", "log frequencies"),
]


@pytest.mark.parametrize(("words", "message", "at"), REFUSED, ids=[str(words) for words, *_ in REFUSED])
def test_what_is_no_initialiser_is_refused_with_the_place_and_the_remedy(words: Any, message: str, at: str) -> None:
    with pytest.raises(OptionError) as refusal:
        read_init(words)
    assert str(refusal.value).startswith(message)
    assert refusal.value.at == at


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_is_its_literatures(name: str) -> None:
    scheme = read_init(name)
    assert isinstance(scheme, Scheme)
    std = {"xavier": math.sqrt(2 / 1000), "kaiming": 2 / 20, "lecun": 1 / 20, "pytorch": 1 / 20 / math.sqrt(3)}
    assert scheme.of(2.0).scale(*FANS) == pytest.approx(std[name], rel=1e-12)


def test_an_init_is_of_one_kind() -> None:
    for wrong in ({}, {"std": 1.0, "gain": 1.0}, {"std": 1.0, "kind": "constant"}):
        with pytest.raises(AssertionError):
            Init(**wrong)  # type: ignore[arg-type]


def test_every_initialiser_says_itself_in_words() -> None:
    words = {key: Init(**_given(key)).words for key in INITIALISERS}
    assert words == {
        "std": "std 0.5",
        "gain": "gain 0.5 / √fan_in",
        "orthogonal": "orthogonal, gain 1",
        "constant": "constant 0.5",
        "log frequencies": "log frequencies of the targets",
    }
    assert Init(gain=5 / 3, mode="fan_avg", distribution="uniform").words == "gain tanh / √fan_avg, uniform"


def _given(key: str) -> dict[str, Any]:
    if key in ("std", "gain"):
        return {key: 0.5}
    return {"kind": key, "options": (("constant", 0.5),) if key == "constant" else ()}
