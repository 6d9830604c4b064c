"""The activations that a layer may have: each is an entry that knows everything about itself. No torch is loaded here.

A new activation is one call of `register`, here or in a file that a study file names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from study.codehash import Origin, origin
from study.errors import check_name, refused

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]
Moments = tuple[Floats, Floats, Floats]  # E[φ], E[φ²] and E[φ'] of √q Z, for standard normal Z


@dataclass(frozen=True)
class Activation:
    """An activation φ, which works on every number by itself."""

    name: str
    # How torch computes it: a dotted name such as "torch.tanh", or a function of a tensor of any shape.
    torch: str | Callable[[Any], Any]
    phi: Function  # φ(z) in float64
    slope: Function  # φ'(z) in float64
    gain: float | None = None  # the gain that torch.nn.init.calculate_gain recommends; None: it knows no such name
    bounded: bool = False  # whether |φ(z)| ≤ 1 for every z, so that its histogram fills [−1, 1]
    exact: bool = False  # whether products and comparisons alone give φ, so that every CPU gives it to the last bit
    kinks: tuple[float, ...] = (0.0,)  # the places at which φ or a derivative of it jumps, besides ±∞
    moments: Callable[[Floats], Moments] | None = None  # closed forms, of q; None: they are found by quadrature
    origin: Origin = field(default_factory=lambda: origin(__name__), compare=False, repr=False)


ACTIVATIONS: dict[str, Activation] = {}


def register(entry: Activation) -> Activation:
    """Make an activation known by its name. Raises SpecError for an entry that cannot serve."""
    check_name(entry, entry.name, ACTIVATIONS)
    if not callable(entry.torch) and not str(entry.torch).startswith("torch."):
        raise refused(entry, f"torch: expected a name such as 'torch.tanh', or a function, got {entry.torch!r:.60}")
    for what in ("phi", "slope"):
        _check_at_zero(entry, what)
    ACTIVATIONS[entry.name] = entry
    return entry


def _check_at_zero(entry: Activation, what: str) -> None:
    """Raise SpecError unless φ, or φ', gives a finite number at 0."""
    function = getattr(entry, what)
    if not callable(function):
        raise refused(entry, f"{what}: expected a function of a NumPy array, got {function!r:.60}")
    try:
        value = np.asarray(function(np.zeros(1)), float)
    except Exception as error:  # whatever a user's function raises
        raise refused(entry, f"{what}: raises {type(error).__name__} at 0 ({error!s:.100})") from None
    if value.shape != (1,) or not np.isfinite(value).all():
        got = f"{value.tolist()!r:.60}"
        raise refused(entry, f"{what}: expected a finite number at 0 for an array of one number, got {got}")


def in_torch(name: str) -> Callable[[Any], Any]:
    """The function by which torch computes an activation: a tensor of any shape → one of the same shape."""
    function = ACTIVATIONS[name].torch
    return named_in_torch(function) if isinstance(function, str) else function


@cache  # every forward pass asks for it
def named_in_torch(name: str) -> Callable[[Any], Any]:
    """The function of torch with a dotted name, such as torch.nn.functional.gelu."""
    import torch

    found: Callable[[Any], Any] = attrgetter(name.removeprefix("torch."))(torch)
    return found


# -- the entries ------------------------------------------------------------------------------------------------------


def _relu_moments(q: Floats) -> Moments:
    """The closed forms of He et al. (2015). At q = 0 every unit is at the kink, where torch takes the slope as 0."""
    return np.sqrt(q / (2 * math.pi)), q / 2, np.where(q > 0, 0.5, 0.0)


def _leaky_moments(q: Floats) -> Moments:
    """The closed forms of leaky_relu: those of relu for z > 0, and with the slope 0.01 for z < 0."""
    return 0.99 * np.sqrt(q / (2 * math.pi)), (1 + LEAK**2) * q / 2, np.where(q > 0, (1 + LEAK) / 2, LEAK)


LEAK = 0.01  # the slope of leaky_relu below 0, torch's default
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, as torch has them
CUBE, ROOT = 0.044715, math.sqrt(2 / math.pi)  # the constants of the tanh form of GELU (Hendrycks & Gimpel 2016)


def _density(z: Floats) -> Floats:
    """The density of the standard normal."""
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _elu(z: Floats) -> Floats:
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


def _elu_slope(z: Floats) -> Floats:
    return np.where(z > 0, 1.0, np.exp(np.minimum(z, 0)))


def _selu(z: Floats) -> Floats:
    return SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0)))


def _selu_slope(z: Floats) -> Floats:
    return SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0)))


def _gelu_tanh(z: Floats) -> Floats:
    return z / 2 * (1 + np.tanh(ROOT * (z + CUBE * z**3)))


def _gelu_tanh_slope(z: Floats) -> Floats:
    t = np.tanh(ROOT * (z + CUBE * z**3))
    return (1 + t) / 2 + z / 2 * (1 - t * t) * ROOT * (1 + 3 * CUBE * z * z)


def _gelu_tanh_torch(z: Any) -> Any:
    import torch

    return torch.nn.functional.gelu(z, approximate="tanh")


def _silu_slope(z: Floats) -> Floats:
    return expit(z) * (1 + z * expit(-z))


register(
    Activation(
        "tanh",
        "torch.tanh",
        phi=np.tanh,
        slope=lambda z: 4 * expit(2 * z) * expit(-2 * z),
        gain=5 / 3,
        bounded=True,
        kinks=(),
    )
)
register(
    Activation(
        "relu",
        "torch.relu",
        exact=True,
        phi=lambda z: np.maximum(z, 0.0),
        slope=lambda z: np.where(z > 0, 1.0, 0.0),
        gain=math.sqrt(2),
        moments=_relu_moments,
    )
)
register(
    Activation(
        "linear",
        lambda z: z,
        exact=True,
        phi=lambda z: z,
        slope=np.ones_like,
        gain=1.0,
        kinks=(),
        moments=lambda q: (np.zeros_like(q), q, np.ones_like(q)),
    )
)
register(
    Activation(
        "sigmoid",
        "torch.sigmoid",
        phi=expit,
        slope=lambda z: expit(z) * expit(-z),
        gain=1.0,
        bounded=True,
        kinks=(),
    )
)
register(
    Activation(
        "leaky_relu",
        "torch.nn.functional.leaky_relu",
        exact=True,
        phi=lambda z: np.where(z > 0, z, LEAK * z),
        slope=lambda z: np.where(z > 0, 1.0, LEAK),
        gain=math.sqrt(2 / (1 + LEAK**2)),
        moments=_leaky_moments,
    )
)
register(Activation("elu", "torch.nn.functional.elu", phi=_elu, slope=_elu_slope))
register(Activation("selu", "torch.selu", phi=_selu, slope=_selu_slope, gain=3 / 4))
register(
    Activation(
        "gelu",
        "torch.nn.functional.gelu",
        phi=lambda z: z * ndtr(z),
        slope=lambda z: ndtr(z) + z * _density(z),
        kinks=(),
    )
)
register(Activation("gelu_tanh", _gelu_tanh_torch, phi=_gelu_tanh, slope=_gelu_tanh_slope, kinks=()))
register(Activation("silu", "torch.nn.functional.silu", phi=lambda z: z * expit(z), slope=_silu_slope, kinks=()))
register(
    Activation("softplus", "torch.nn.functional.softplus", phi=lambda z: np.logaddexp(0.0, z), slope=expit, kinks=())
)
