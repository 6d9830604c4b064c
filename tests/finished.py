"""Studies that were trained to the end in this process: tables and manifest in seconds, no workers, nothing compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from study import apart, pool
from study.data import dataset
from study.rows import Rows
from study.run import run
from study.setup import Stack
from study.shard import train_shard
from study.spec import Spec


def finished(spec: Spec, out: Path) -> Path:
    """Tables and manifest of the study in `out`."""

    def here(
        shards: Sequence[Stack], job: pool.Job, workers: int, watch: Callable[..., None]
    ) -> Iterator[tuple[int, Rows]]:
        for number, shard in enumerate(shards):
            data = dataset(job.words, shard.setup.context)
            yield number, train_shard(shard, data, job.reading, job.device, lambda done, loss: None)

    def called(function: str, *arguments: Any) -> Any:
        return getattr(apart, function)(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "run", here)
        patch.setattr(pool, "apart", called)
        return run(spec, out, workers=1, engine="autograd")
