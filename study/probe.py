"""Gaussian x @ w: how the std grows with fan_in, with and without the division, and what tanh leaves of it."""

from __future__ import annotations

import numpy as np
import torch

from study.model import activate
from study.rng import generator
from study.schema import Probe
from study.setup import PROBES


def probe(spec: Probe, seeds: tuple[int, ...]) -> list[dict[str, object]]:
    """Rows of the table `probe`: std of x (examples, fan_in) and of y = x @ w, w (fan_in, units), per init and seed."""
    rows: list[dict[str, object]] = []
    for fan_in in spec.fan_in:
        for seed in seeds:
            draw = generator(seed, f"probe.{fan_in}")
            x = torch.from_numpy(draw.standard_normal((spec.examples, fan_in)).astype(np.float32))
            w = torch.from_numpy(draw.standard_normal((fan_in, spec.units)).astype(np.float32))
            # the draws pass through the same Init.apply as the models' weights
            for name, (init, activation) in PROBES.items():
                y = activate(x @ init.apply(w, fan_in), activation)  # (examples, units)
                rows.append(
                    {
                        "init": name,
                        "fan_in": fan_in,
                        "seed": seed,
                        "std_x": float(x.std()),
                        "std_y": float(y.std()),
                    }
                )
    return rows
