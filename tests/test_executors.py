"""The same rows wherever shards run: here, in processes, on Dask, and with a Dask worker killed on the way."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_pool import plain, quiet, shards
from tiny import one_line

from study import pool
from study.cache import Cache, Store
from study.data import dataset
from study.errors import SpecError
from study.executors import Dask, Local, place
from study.keys import keys
from study.rows import Reading
from study.schema import Data
from study.shard import train_shard
from study.words import Words, load
from study.worker import Job

READING = Reading((10,), (2,))


@pytest.fixture(scope="module")
def words() -> Words:
    splits = {"train": 0.6, "dev": 0.2, "test": 0.2}
    return load(Data(path="tiny.txt", splits=splits), Path(__file__).parent)  # type: ignore[arg-type]


@contextlib.contextmanager
def killer(done: list[int], kills: int) -> Iterator[None]:
    """Kills one of Dask's worker processes, `kills` times, each as it trains."""
    ended = threading.Event()

    def work() -> None:
        while len(done) < kills and not ended.is_set():
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    busy = "multiprocessing" in " ".join(process.cmdline()) and process.cpu_times().user > 6
                    if busy and len(done) < kills:
                        process.kill()
                        done.append(process.pid)
                        time.sleep(2)
            time.sleep(0.1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
def test_dask_gives_the_rows_of_one_process_and_a_killed_worker_changes_none(words: Words, tmp_path: Path) -> None:
    store = Store(Cache(tmp_path), keys(words, 42, READING, "cpu"))
    expected = plain(train_shard(shard, dataset(words, 2), READING) for shard in shards(6000))
    killed: list[int] = []
    with killer(killed, 1):
        found = list(pool.run(shards(6000), Job(words, READING, "cpu", store), Dask(2), quiet))
    assert plain(found) == expected
    assert len(killed) == 1
    again = list(pool.run(shards(6000), Job(words, READING, "cpu", store), Local(1), quiet))  # from what Dask kept
    assert plain(again) == expected


@pytest.mark.slow
def test_dask_says_once_a_shard_is_done_how_far_it_is(words: Words) -> None:
    seen: list[list[float]] = []
    list(pool.run(shards(), Job(words, READING, "cpu"), Dask(1), lambda done, _: seen.append(list(done))))
    assert sum(seen[-1]) <= 150
    assert all(sum(a) <= sum(b) for a, b in itertools.pairwise(seen))


@pytest.mark.parametrize("wrong", ["slurm", "http://host:1", ""])
def test_an_unknown_executor_is_one_line(wrong: str) -> None:
    with pytest.raises(SpecError, match="--executor: expected local, dask or") as refused:
        place(wrong, 1)
    one_line(str(refused.value))


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    real = distributed.Client

    def hasty(address: Any, timeout: str) -> Any:
        return real(address, timeout="1s")

    monkeypatch.setattr(distributed, "Client", hasty)
    with pytest.raises(SpecError, match="no Dask scheduler answers") as refused:
        Dask(1, "tcp://127.0.0.1:9").start(1)
    one_line(str(refused.value))


def test_dask_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SpecError, match="pip install") as refused:
        Dask(1).start(1)
    one_line(str(refused.value))
