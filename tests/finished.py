"""Studies that were trained to the end in this process: tables and manifest in seconds, no workers, nothing compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from study import apart
from study import run as module
from study.data import dataset
from study.plan import split
from study.pool import Failure
from study.rows import Rows
from study.setup import Cell, Stack
from study.shard import train_shard
from study.spec import Spec
from study.worker import Job


def finished(spec: Spec, out: Path, failing: Callable[[Cell], bool] = lambda cell: False) -> Path:
    """Tables and manifest of the study in `out`; shards with a failing cell fail."""

    def here(shards: Sequence[Stack], job: Job, *_: Any) -> Iterator[dict[Cell, Rows] | Failure]:
        for part in [part for shard in shards for part in split(shard, 1)]:
            if any(map(failing, part.cells)):
                yield Failure(part.cells, "Traceback\nRuntimeError: broken")
                continue
            yield train_shard(part, dataset(job.words, part.setup.context), job.reading, job.device)

    def called(function: str, *arguments: Any) -> Any:
        return getattr(apart, function)(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_shards", here)
        patch.setattr(module, "apart", called)
        module.run(spec, out, module.How(workers=1, engine="autograd", cache=out / "cache"))
    return out
