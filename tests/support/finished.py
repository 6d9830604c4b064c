"""Train studies to the end in this process: tables and manifest in seconds, without workers and without compiling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from study.execution import pool
from study.execution.prepare import prepare
from study.execution.run import RunOptions, run_study
from study.spec.records import Spec
from study.training.cells import Cell
from study.training.identity import sha256

ENGINE = "autograd"  # needs no compiler


def block(spec: Spec, cache: Path, failing: Callable[[Cell], bool]) -> None:
    """Have cells fail in a run by ENGINE that uses the cache: a folder lies where their rows would be kept."""
    made = prepare(spec, ENGINE, "cpu", cache)
    for cell, engine in made.plan.engines.items():
        if failing(cell):
            key = sha256(made.store.keys.measuring(cell, engine))
            (cache / "rows" / key[:2] / f"{key}.bin").mkdir(parents=True)


def finished(spec: Spec, out: Path, failing: Callable[[Cell], bool] = lambda cell: False) -> Path:
    """Tables and manifest of the study in `out`; shards with a failing cell fail."""
    block(spec, out / "cache", failing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "BACKOFF", (0.0, 0.0))  # no waiting between tries
        run_study(spec, out, RunOptions(workers=0, engine=ENGINE, cache=out / "cache"))
    return out
