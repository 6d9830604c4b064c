"""Studies that were trained to the end in this process: tables and manifest in seconds, no workers, nothing compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from study.data.examples import dataset
from study.execution import run as module
from study.execution.plan import split
from study.execution.pool import Failure
from study.execution.shard import train_shard
from study.execution.worker import Job
from study.measurement.rows import Rows
from study.spec.records import Spec
from study.training.cells import Cell, Stack


def in_process(shards: Sequence[Stack], job: Job, *_: Any) -> Iterator[dict[Cell, Rows]]:
    """What the pool does, in this process."""
    for shard in shards:
        yield train_shard(shard, dataset(job.words, shard.network.context), job.reading, job.device, store=job.store)


def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a process of its own would be asked."""
    return function(*arguments)


def quick_run(spec: Spec, out: Path, how: module.RunOptions) -> module.Done:
    """study.execution.run.run_study in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_shards", in_process)
        patch.setattr(module, "call_apart", called)
        return module.run_study(spec, out, how)


def finished(spec: Spec, out: Path, failing: Callable[[Cell], bool] = lambda cell: False) -> Path:
    """Tables and manifest of the study in `out`; shards with a failing cell fail."""

    def some(shards: Sequence[Stack], job: Job, *_: Any) -> Iterator[dict[Cell, Rows] | Failure]:
        for part in [part for shard in shards for part in split(shard, 1)]:
            if any(map(failing, part.cells)):
                yield Failure(part.cells, "Traceback\nRuntimeError: broken")
            else:
                yield from in_process([part], job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_shards", some)
        patch.setattr(module, "call_apart", called)
        module.run_study(spec, out, module.RunOptions(workers=1, engine="autograd", cache=out / "cache"))
    return out
