"""A finished study that is made up from formulas.

Every table of tests/support/tiny.yaml has rows. Nothing is trained, and the tables are the same on every CPU.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

from study import tables
from study.analysis.ledger import Ledger
from study.analysis.results import Results
from study.execution.collect import measures
from study.measurement.probe import PROBES
from study.spec.records import Spec

V = 9
UNJUDGED = Ledger((), ())  # for what reads no ledger
METRICS = {
    "saturation_97": 0.3,
    "saturation_99": 0.2,
    "dead": 0.0,
    "gradient_pass": 0.5,
    "preact_mean": 0.0,
    "preact_std": 1.5,
    "normed_std": 1.0,
    "h_std": 0.7,
    "logit_min": -2.0,
    "logit_max": 2.0,
    "logit_std": 0.8,
    "entropy": 2.0,
}
WHOLE = ("logit_min", "logit_max", "logit_std", "entropy")  # of the logits, so of no layer


def results(spec: Spec, lost: tuple[str, int] | None = None) -> Results:
    """Results of a study whose losses fall with the place of a condition; seed `lost` = (condition, seed) has diverged."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in tables.TABLES}
    trainings = list(dict.fromkeys((c.network, c.schedule) for c in spec.conditions))
    for i, c in enumerate(spec.conditions):
        rows["conditions"].append(
            {
                "condition": c.name,
                "title": c.title,
                "parent": c.parent,
                "group": c.group,
                "statistics": c.statistics,
                "steps": c.schedule.steps,
            }
        )
        steps = sorted({0, *(s for s in spec.measure if s < c.schedule.steps), c.schedule.steps})
        for seed in spec.seeds[: c.seeds]:
            here = {"condition": c.name, "seed": seed}
            gone = lost == (c.name, seed)
            rows["cells"].append(
                {
                    **here,
                    "cell": f"{trainings.index((c.network, c.schedule)):02d}{seed:02d}" * 4,
                    "protocol": "paired",
                    "engine": "fused",
                    "twin": False,
                    "steps": c.schedule.steps,
                    "status": "diverged" if gone else "done",
                    "step": 1 if gone else None,
                    "sha256": "0" * 64,
                }
            )
            for step in steps:
                _read(rows, spec, c, here, step, i, seed, math.nan if gone and step else 0.0)
            for first in range(0, c.schedule.steps, 2):
                rows["curves"].append(
                    {
                        **here,
                        "first": first,
                        "step": first + 0.5,
                        "loss": 2.0 + (3 - 0.4 * i) / (1 + first) + 0.01 * seed,
                    }
                )
        for step, quantity in product((steps[0], steps[-1]), ("h", "preact", "logits")):
            _histogram(rows, c, step, quantity, i)
    for init, fan_in, seed in product(PROBES, spec.probe.fan_in if spec.probe else (), range(2)):
        grown = math.sqrt(fan_in) if init == "std 1" else 1.0
        rows["probe"].append(
            {"init": init, "fan_in": fan_in, "seed": seed, "std_x": 1.0, "std_y": grown * (1 + 0.01 * seed)}
        )
    for run in spec.published.runs if spec.published else ():
        for split, printed in (("train", run.train), ("dev", run.dev)):
            rows["published"].append(
                {
                    "condition": run.condition.name,
                    "title": run.condition.title,
                    "parent": run.condition.parent,
                    "origin": run.origin,
                    "source": spec.published.source if spec.published else "",
                    "split": split,
                    "statistics": "none",
                    "published": printed,
                    "reproduced": printed + 0.001,
                    "tolerance": run.tolerance,
                    "steps": 30,
                    "comparable": run.comparable,
                }
            )
    rows["measures"] = measures({name: tables.arrow(name, found) for name, found in rows.items()}).to_pylist()
    filled = {name: tables.frame(name, found) for name, found in rows.items()}
    return Results(spec, filled, facts(spec))


def _read(rows: Any, spec: Spec, c: Any, here: dict[str, Any], step: int, i: int, seed: int, gone: float) -> None:
    kinds = ("calibrated", "running", "batch") if c.network.layers_with_statistics else (c.statistics,)
    for kind, split in product(kinds, ("train", "dev", "test")):
        loss = (math.log(V) + max(0.0, 2 - 1.99 * i) if step == 0 else 2.0 - 0.1 * i) + 0.01 * seed
        rows["losses"].append(
            {
                **here,
                "step": step,
                "split": split,
                "statistics": kind,
                "examples": 40,
                "loss": loss + gone + {"running": 1e-4, "batch": 2e-4}.get(kind, 0.0),
            }
        )
    if step and c.network.layers_with_statistics:
        for size in spec.batch_sizes:
            rows["losses"].append(
                {
                    **here,
                    "step": step,
                    "split": "dev",
                    "statistics": "batch",
                    "batch_size": size,
                    "examples": 40,
                    "loss": 2.0 + 1 / size + 0.01 * seed,
                }
            )
    for kind, (name, value) in product(kinds, METRICS.items()):
        layers = [None] if name in WHOLE else range(1, len(c.network.hidden) + 1)
        for layer in layers:
            rows["metrics"].append(
                {
                    **here,
                    "step": step,
                    "layer": layer,
                    "statistics": kind,
                    "metric": name,
                    "value": value / (1 + i) + 0.01 * seed,
                }
            )
    for kind, name in product(kinds if c.network.layers_with_statistics and step else (), ("gap_mean", "gap_std")):
        rows["metrics"].append(
            {**here, "step": step, "layer": 1, "statistics": kind, "metric": name, "value": 0.01 + 0.001 * seed}
        )
    for name, parameter in product(("grad_norm", "grad_std", "update_ratio"), ("C", "W1", "W2")):
        value = {"grad_norm": 1.0, "grad_std": 0.1, "update_ratio": -3.0}[name] + 0.1 * i
        rows["metrics"].append({**here, "step": step, "parameter": parameter, "metric": name, "value": value})
    if step == 0 and seed == spec.seeds[0]:
        for example in range(4):
            rows["pictures"].append(
                {**here, "step": 0, "layer": 1, "example": example, "units": "10010010" if i == 0 else "00000001"}
            )


def _histogram(rows: Any, c: Any, step: int, quantity: str, i: int) -> None:
    edges = [-math.inf, -3.0, -1.0, -0.9, 0.0, 0.9, 1.0, 3.0, math.inf]
    shares = [0.05, 0.1, 0.15, 0.2, 0.2, 0.15, 0.1, 0.05]
    layer = len(c.network.layers) if quantity == "logits" else 1
    for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True):
        width = right - left
        rows["histograms"].append(
            {
                "condition": c.name,
                "step": step,
                "layer": layer,
                "quantity": quantity,
                "left": left,
                "right": right,
                "share": share,
                "density": None if math.isinf(width) else share / width,
            }
        )


def facts(spec: Spec) -> dict[str, Any]:
    """A manifest with everything that the page reads of one."""
    return {
        "format": 1,
        "profile": spec.profile,
        "chosen": {},
        "seeds": list(spec.seeds),
        "study_file": spec.name,
        "title": spec.title,
        "cells": 10,
        "model_steps": 260,
        "device": "cpu",
        "engines": {"fused": {"cells": 10, "reasons": []}},
        "cpu": {
            "architecture": "any",
            "model": "none",
            "capability": "none",
            "blas": "none",
            "threads_per_process": "1",
        },
        "data": {
            "file": "tiny.txt",
            "sha256": "1" * 64,
            "vocabulary": list(".abcdefgh"),
            "character_entropy": {"train": 2.1, "dev": 2.1, "test": 2.1},
            "words": {"train": 12, "dev": 4, "test": 4},
            "examples": {"train": 60, "dev": 20, "test": 20},
            "targets": [15, 9, 9, 8, 7, 6, 4, 2],
            "words_twice": 3,
            "shared_with_train": {"dev": 1, "test": 1},
            "repeats": {"2": {"1 1": 0.75, "2": 0.25}},
        },
        "spec_sha256": spec.digest(),
        "document_sha256": spec.document_sha256,
        "source_sha256": "2" * 64,
        "versions": {"study": "0"},
        "tables": {name: "3" * 64 for name in tables.TABLES},
        "draws": {str(s): "4" * 64 for s in spec.seeds},
    }


def tiny(file: Path | None = None) -> Spec:
    """tests/support/tiny.yaml, or another study file, under profile full."""
    from study.spec.read import read_study

    path = file or Path(__file__).parent / "tiny.yaml"
    return read_study(path, name=path.name)
