"""Work of a run that needs torch besides training: the device, the kind of CPU, the draws, the probe.

Torch is loaded by whoever calls a function: a run does so in a process that ends with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from study import provenance
from study.data.source import Examples
from study.errors import SpecError
from study.execution.compute import one_thread
from study.measurement.probe import ProbeSizes, probe_growth
from study.spec.records import Condition, Spec


@dataclass(frozen=True)
class Preflight:
    """The facts that a run has before it trains."""

    cpu: dict[str, str]
    draws: dict[str, str]  # seed -> sha256 of its unscaled draws and of its first minibatches
    probe: list[dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """What these facts depend on. It holds no object of a user's own code, which another process could not read."""

    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...]
    probe: ProbeSizes | None
    classes: int  # V
    examples: int  # in train
    device: str


def asked(spec: Spec, found: Examples, device: str) -> Asked:
    """What the facts of a study depend on."""
    return Asked(spec.conditions, spec.seeds, spec.probe, len(found.classes), found.examples("train"), device)


def facts(study: Asked) -> Preflight:
    """Find all these facts. Raises SpecError unless torch sees the device."""
    with one_thread():
        check_device(study.device)
        probe = [] if study.probe is None else probe_growth(study.probe, study.seeds)
        return Preflight(provenance.cpu(), draws(study), probe)


def check_device(device: str) -> None:
    """Raise SpecError unless torch sees the device."""
    import torch

    try:
        torch.zeros(1, device=device).item()  # a meta tensor has no value
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        problem = f"--device {device}: torch has no such device here ({reason:.90}); use --device cpu"
        raise SpecError(problem) from None


def draws(study: Asked) -> dict[str, str]:
    """sha256 of every seed's unscaled draws and first 1,000 minibatches, by seed: equal numbers, equal draws."""
    from study.rng import blocks, streams

    V = study.classes
    wanted: dict[tuple[str, tuple[int, ...]], None] = {}
    sizes: dict[int, None] = {}
    for condition in study.conditions:
        network = condition.network
        if network.embedding is not None:
            wanted[("C", (V, network.embedding_size))] = None
        for i, (fan_in, fan_out) in enumerate(network.shapes(V), start=1):
            wanted[(f"W{i}", (fan_in, fan_out))] = None
            wanted[(f"b{i}", (fan_out,))] = None
        sizes[condition.schedule.batch_size] = None
    result = {}
    for seed in study.seeds:
        digest = hashlib.sha256()
        for name, shape in wanted:
            digest.update(streams(seed, "paired").normal(name, shape).numpy().tobytes())
        for size in sizes:
            stream = streams(seed, "paired")
            for steps in blocks(1000, size):
                digest.update(stream.indices(study.examples, steps, size).numpy().tobytes())
        result[str(seed)] = digest.hexdigest()
    return result
