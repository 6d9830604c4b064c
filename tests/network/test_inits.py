"""The scale of a draw."""

from __future__ import annotations

import pytest
import torch

from study.network.inits import GAINS, Init


@pytest.mark.parametrize("name", ["tanh", "relu", "linear"])
def test_gains_are_those_of_torch(name: str) -> None:
    assert GAINS[name] == torch.nn.init.calculate_gain(name)  # type: ignore[arg-type]


def test_a_gain_is_multiplied_then_divided_with_one_rounding_each() -> None:
    draw = torch.randn((30, 200), generator=torch.Generator().manual_seed(0))
    scaled = Init(gain=5 / 3).apply(draw, 30)
    # the lecture writes randn(...) * (5/3) / ((30)**0.5)
    assert torch.equal(scaled, draw * (5 / 3) / (30**0.5))
    assert not torch.equal(scaled, draw * ((5 / 3) / 30**0.5))
    assert not torch.equal(scaled, draw / 30**0.5 * (5 / 3))


def test_a_std_is_multiplied_whatever_the_fan_in() -> None:
    draw = torch.randn((30, 200), generator=torch.Generator().manual_seed(0))
    assert torch.equal(Init(std=0.2).apply(draw, 30), draw * 0.2)
    assert torch.equal(Init(std=0.0).apply(draw, 7), torch.zeros(30, 200))


def test_scale_is_the_std_of_what_apply_gives() -> None:
    draw = torch.randn((1000, 1000), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for init in (Init(std=0.2), Init(gain=5 / 3), Init(gain=1.0)):
        # the std of n draws has a relative standard error of 1/√2n = 7e-4; five of them
        assert float(init.apply(draw, 30).std()) == pytest.approx(init.scale(30), rel=5 * 2e6**-0.5)


def test_std_and_gain_exclude_each_other() -> None:
    with pytest.raises(AssertionError):
        Init()
    with pytest.raises(AssertionError):
        Init(std=1.0, gain=1.0)
