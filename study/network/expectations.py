"""Expectations of an activation of Gaussian inputs, and the gains that follow from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import numpy as np

from study.errors import unknown
from study.network.activations import ACTIVATIONS, Floats, Moments

NODES = 96  # per panel; the panels are short enough that 64 give rounding for every entry of the project
NEAR, FAR = 40.0, 9.0  # |√q z| up to which an activation may bend, and |z| beyond which the Gaussian is below 1e-17

GainKind = Literal["torch", "second moment", "variance", "criticality"]
GAIN_KINDS: tuple[GainKind, ...] = ("torch", "second moment", "variance", "criticality")


def expectation(function: Callable[[Floats], Floats], q: Floats, kinks: tuple[float, ...] = ()) -> Floats:
    """E[f(√q Z)] for standard normal Z, at every q ≥ 0, (n,), to rounding where f is smooth between the kinks.

    The line is cut at the kinks and at ±40, where an activation bends no more, and every piece within |Z| ≤ 9 is
    integrated by the rule of Gauss and Legendre. A grid that straddles a kink would count it half on each side.
    """
    x, w = np.polynomial.legendre.leggauss(NODES)
    root = np.sqrt(np.asarray(q, float))[:, None]  # (n, 1)
    cuts = sorted({-NEAR, 0.0, NEAR, *kinks})
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.clip(np.nan_to_num(np.array(cuts) / root, nan=0.0, posinf=FAR, neginf=-FAR), -FAR, FAR)
    edges = np.hstack([np.full_like(root, -FAR), places, np.full_like(root, FAR)])  # (n, panels + 1)
    total = np.zeros(len(root))
    for left, right in zip(edges[:, :-1].T, edges[:, 1:].T, strict=True):
        half = ((right - left) / 2)[:, None]
        z = ((right + left) / 2)[:, None] + half * x  # (n, NODES)
        weight = half * w * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        total += (weight * function(root * z)).sum(1)
    return total


def moments(q: Floats, name: str) -> Moments:
    """E[h], E[h²] and E[φ'] of h = φ(√q Z) for the activation `name` and standard normal Z, at every q (n,).

    They are in closed form where the activation has one, otherwise by quadrature.
    """
    activation = ACTIVATIONS[name]
    if activation.moments is not None:
        return activation.moments(q)
    phi, slope, kinks = activation.phi, activation.slope, activation.kinks
    return (
        expectation(phi, q, kinks),
        expectation(lambda z: phi(z) ** 2, q, kinks),
        expectation(slope, q, kinks),
    )


@cache
def gain(name: str, kind: GainKind = "torch") -> float:
    """The gain of an activation by its name.

    "torch" is the value of torch.nn.init.calculate_gain, or that of "second moment" where torch knows no such name.
    "second moment" is 1/√E φ(Z)², "variance" is 1/std φ(Z), and "criticality" is 1/√E φ'(Z)². Computed values are
    rounded to 12 digits, since they are part of the identity of a cell and the last bits of a function of NumPy depend
    on the kind of CPU.
    """
    activation = ACTIVATIONS[name]
    if kind == "torch" and activation.gain is not None:
        return activation.gain
    one = np.ones(1)
    mean, square, _ = moments(one, name)
    match kind:
        case "torch" | "second moment":
            wanted = square
        case "variance":
            wanted = square - mean**2
        case "criticality":
            wanted = expectation(lambda z: activation.slope(z) ** 2, one, activation.kinks)
        case _:
            unknown(kind)
    return float(f"{1 / math.sqrt(float(wanted[0])):.12g}")
