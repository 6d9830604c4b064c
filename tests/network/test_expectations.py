"""Expectations under a Gaussian: against closed forms, adaptive quadrature and published values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf

from study.network.activations import ACTIVATIONS
from study.network.expectations import GAIN_KINDS, expectation, gain, moments
from study.network.words import gain_words

QS = [1e-6, 0.01, 0.5, 1.0, 3.0, 31.0, 1000.0]


@pytest.mark.parametrize("q", QS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_moments_are_those_of_adaptive_quadrature(name: str, q: float) -> None:
    activation, root = ACTIVATIONS[name], math.sqrt(q)

    def adaptive(power: int, slope: bool = False) -> float:
        function = activation.slope if slope else activation.phi

        def integrand(z: float) -> float:
            value = float(function(np.array([root * z]))[0])
            return value**power * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

        halves = [(-9.5, -min(8 / root, 9)), (-min(8 / root, 9), 0), (0, min(8 / root, 9)), (min(8 / root, 9), 9.5)]
        return sum(quad(integrand, a, b, epsabs=1e-15, epsrel=1e-12, limit=500)[0] for a, b in halves)

    found = [float(one[0]) for one in moments(np.array([q]), name)]
    # the means of odd functions are 0 up to roundings of their size, √q at most
    assert found == pytest.approx([adaptive(1), adaptive(2), adaptive(1, slope=True)], rel=1e-8, abs=1e-15 * root)


@pytest.mark.parametrize("q", [1e-3, 0.3, 1.0, 10.0, 1e4])
def test_erf_has_its_closed_forms(q: float) -> None:
    """E erf² = (2/π) asin(2q/(1+2q)), E erf'² = (4/π)/√(1+4q) (Williams 1997)."""
    at = np.array([q])
    square = expectation(lambda z: erf(z) ** 2, at)
    slope = expectation(lambda z: (2 / math.sqrt(math.pi) * np.exp(-z * z)) ** 2, at)
    assert square[0] == pytest.approx(2 / math.pi * math.asin(2 * q / (1 + 2 * q)), rel=1e-12)
    assert slope[0] == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-12)


def test_a_kink_counts_on_its_own_side() -> None:
    at = np.array([1.0])
    step = expectation(lambda z: np.where(z > 1, 1.0, 0.0), at, kinks=(1.0,))
    assert step[0] == pytest.approx(0.5 * math.erfc(1 / math.sqrt(2)), rel=1e-12)


def test_nothing_varies_at_q_0() -> None:
    for name, activation in ACTIVATIONS.items():
        mean, square, slope = moments(np.zeros(1), name)
        at_0 = float(activation.phi(np.zeros(1))[0])
        assert (mean[0], square[0]) == pytest.approx((at_0, at_0**2), rel=1e-12), name
        assert slope[0] == pytest.approx(float(activation.slope(np.zeros(1))[0]), rel=1e-12), name


# E φ, E φ², E φ'² at q = 1, to the six digits of the reference table, which was computed by another quadrature
REFERENCE = {
    "tanh": (0, 0.394294, 0.464403),
    "elu": (0.160521, 0.644945, 0.668102),
    "selu": (0, 1, 1.071575),
    "gelu": (0.282095, 0.425221, 0.455851),
    "silu": (0.206621, 0.355776, 0.379482),
    "relu": (1 / math.sqrt(2 * math.pi), 0.5, 0.5),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_moments_at_unit_variance_are_the_reference_values(name: str) -> None:
    one, activation = np.ones(1), ACTIVATIONS[name]
    mean, square, _ = moments(one, name)
    slope = expectation(lambda z: activation.slope(z) ** 2, one, activation.kinks)
    assert (mean[0], square[0], slope[0]) == pytest.approx(REFERENCE[name], abs=6e-7)


GAINS = {
    # relu has closed forms: √(2π/(π − 1)) for unit variance
    ("relu", "variance"): math.sqrt(2 * math.pi / (math.pi - 1)),
    ("tanh", "variance"): 1.592537,
    ("gelu", "variance"): 1.700926,
    ("silu", "variance"): 1.787187,
    ("selu", "variance"): 1.0,
    ("elu", "variance"): 1.270843,
    ("sigmoid", "variance"): 4.801313,
    ("softplus", "variance"): 1.919126,
    ("leaky_relu", "variance"): 1.70483,
    ("relu", "second moment"): math.sqrt(2),
    ("gelu", "second moment"): 1.5335,
    ("silu", "second moment"): 1.6765,
    ("elu", "second moment"): 1.2452,
    ("softplus", "second moment"): 1.0419,
    ("relu", "criticality"): math.sqrt(2),
    ("tanh", "criticality"): 1.4674,
    ("gelu", "criticality"): 1.4811,
    ("silu", "criticality"): 1.6233,
    ("elu", "criticality"): 1.2234,
    ("selu", "criticality"): 0.9660,
}


@pytest.mark.parametrize(("name", "kind"), GAINS)
def test_gains_are_the_reference_values(name: str, kind: str) -> None:
    value = GAINS[name, kind]
    digits = 5e-5 if value == round(value, 4) else 6e-7
    assert gain(name, kind) == pytest.approx(value, abs=max(digits, 5e-6 * (name == "leaky_relu")))  # type: ignore[arg-type]


def test_a_gain_is_torchs_where_torch_has_one_and_that_of_the_second_moment_elsewhere() -> None:
    assert (gain("tanh"), gain("sigmoid"), gain("selu")) == (5 / 3, 1.0, 0.75)
    for name in ("gelu", "silu", "elu", "softplus"):
        assert gain(name) == gain(name, "second moment")


def test_the_words_of_a_gain_say_which_one_it_is() -> None:
    assert gain_words(5 / 3) == "tanh"
    assert gain_words(gain("gelu")) == "gelu, 1/√E φ(Z)²"
    assert gain_words(gain("gelu", "variance")) == "gelu, variance"
    assert gain_words(gain("tanh", "criticality")) == "tanh, criticality"
    assert gain_words(1.0) == "1"
    assert gain_words(1.25) == "1.25"
    assert len(GAIN_KINDS) == 4
