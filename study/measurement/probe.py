"""The probe: the std of Gaussian x @ w by fan_in, with and without the division by √fan_in, and after tanh."""

from __future__ import annotations

from dataclasses import dataclass

from study.measurement import metrics
from study.network.expectations import gain
from study.network.inits import Init

# name -> the scale of the Gaussian w, and the activation that is applied to x @ w
PROBES: dict[str, tuple[Init, str]] = {
    "std 1": (Init(std=1.0), "linear"),
    "1 / √fan_in": (Init(gain=1.0), "linear"),
    "tanh after 1 / √fan_in": (Init(gain=1.0), "tanh"),
    "tanh after (5/3) / √fan_in": (Init(gain=gain("tanh")), "tanh"),
}


@dataclass(frozen=True)
class ProbeSizes:
    """The sizes of x (examples, fan_in) and w (fan_in, units). Every fan_in is probed by itself."""

    examples: int
    units: int
    fan_in: tuple[int, ...]


def probe_growth(sizes: ProbeSizes, seeds: tuple[int, ...]) -> list[dict[str, object]]:
    """Rows of the table `probe`: the std of x (examples, fan_in) and of the activation of x @ w, per scale and seed.

    w is (fan_in, units).
    """
    import numpy as np
    import torch

    from study.network.activations import in_torch
    from study.rng import generator

    rows: list[dict[str, object]] = []
    for fan_in in sizes.fan_in:
        for seed in seeds:
            draw = generator(seed, f"probe.{fan_in}")
            x = torch.from_numpy(draw.standard_normal((sizes.examples, fan_in)).astype(np.float32))
            w = torch.from_numpy(draw.standard_normal((fan_in, sizes.units)).astype(np.float32))
            for name, (init, activation) in PROBES.items():
                # as the weights of the models are scaled, rounding by rounding
                y = in_torch(activation)(x @ init.settings.scaled(w, fan_in, sizes.units))  # (examples, units)
                rows.append(
                    {
                        "init": name,
                        "fan_in": fan_in,
                        "seed": seed,
                        "std_x": float(x.std()),
                        "std_y": float(metrics.probe(y)),
                    }
                )
    return rows
