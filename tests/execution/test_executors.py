"""The same rows wherever shards run: in this process, in others, on Dask, and with a Dask worker killed on the way."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from study.data.examples import dataset
from study.data.word_source import WordExamples
from study.errors import SpecError
from study.execution import pool
from study.execution.cache import Cache, Store
from study.execution.executors import Dask, Inline, Local, backend
from study.execution.keys import keys_of
from study.execution.shard import train_shard
from study.execution.worker import Job
from study.measurement.rows import Request
from study.spec.schema import DataEntry
from tests.execution.test_pool import plain, quiet, shards
from tests.support.tiny import one_line

READING = Request((10,), (2,))


@pytest.fixture(scope="module")
def words() -> WordExamples:
    splits = {"train": 0.6, "dev": 0.2, "test": 0.2}
    return DataEntry(path="tiny.txt", splits=splits).record().load(Path(__file__).parents[1] / "support")  # type: ignore[arg-type]


def unseen() -> None:
    """Nobody looks at the progress."""


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


def test_this_process_gives_the_rows_of_others_and_shows_its_progress(words: WordExamples) -> None:
    seen: list[list[float]] = []
    job = Job(words, READING, "cpu")
    found = list(pool.run(shards(), job, Inline(), lambda done, _: seen.append(list(done))))
    assert plain(found) == plain(pool.run(shards(), job, Local(1), quiet))
    assert seen[-1] == [60, 0, 30, 60, 0]  # model-steps of every shard, at its first cell
    assert any(0 < done[0] < 60 for done in seen)


def test_this_process_is_left_as_it_was(words: WordExamples) -> None:
    def state() -> tuple[int, int]:
        return torch.get_num_threads(), torch.get_deterministic_debug_mode()

    seen: list[tuple[int, int]] = []
    before = state()
    torch.set_num_threads(2)
    torch.set_deterministic_debug_mode("warn")
    try:
        for _ in range(2):  # a second run finds nothing of the first
            list(pool.run(shards()[:1], Job(words, READING, "cpu"), Inline(), lambda *_: seen.append(state())))
            assert state() == (2, 1)
            assert seen[0] == (1, 2)  # one thread; 2 stands for "error"
            seen.clear()
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])


def test_an_interrupt_ends_the_work_of_this_process(words: WordExamples) -> None:
    with pytest.raises(KeyboardInterrupt):  # it would take hours
        list(
            pool.run(
                shards(10**7)[:1],
                Job(words, READING, "cpu"),
                Inline(),
                lambda *_: os.kill(os.getpid(), signal.SIGINT),
            )
        )


@pytest.mark.slow
def test_dask_gives_the_rows_of_one_process_and_a_killed_worker_changes_none(
    words: WordExamples, tmp_path: Path
) -> None:
    store = Store(Cache(tmp_path), keys_of(words.key(), READING, "cpu"))
    expected = plain(train_shard(shard, dataset(words, 2), READING) for shard in shards(6000))
    killed: list[int] = []
    with killer(killed, 1):
        found = list(pool.run(shards(6000), Job(words, READING, "cpu", store), Dask(2), quiet))
    assert plain(found) == expected
    assert len(killed) == 1
    again = list(pool.run(shards(6000), Job(words, READING, "cpu", store), Local(1), quiet))  # from what Dask kept
    assert plain(again) == expected


@pytest.mark.slow
def test_dask_says_once_a_shard_is_done_how_far_it_is(words: WordExamples) -> None:
    seen: list[list[float]] = []
    list(pool.run(shards(), Job(words, READING, "cpu"), Dask(1), lambda done, _: seen.append(list(done))))
    assert sum(seen[-1]) <= 150
    assert all(sum(a) <= sum(b) for a, b in itertools.pairwise(seen))


@pytest.mark.parametrize("wrong", ["slurm", "http://host:1", ""])
def test_an_unknown_executor_is_one_line(wrong: str) -> None:
    with pytest.raises(SpecError, match="--executor: expected local, dask or") as refused:
        backend(wrong, 1)
    one_line(str(refused.value))


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    real = distributed.Client

    def hasty(address: Any, timeout: str) -> Any:
        return real(address, timeout="1s")

    monkeypatch.setattr(distributed, "Client", hasty)
    with pytest.raises(SpecError, match="no Dask scheduler answers") as refused:
        Dask(1, "tcp://127.0.0.1:9").start(1, unseen)
    one_line(str(refused.value))


class Client:
    """A client of Dask's, as far as executors ask of one."""

    def __init__(self, *_: object, **__: object) -> None:
        self.status = "running"

    def get_executor(self, pure: bool) -> Any:
        return self

    def submit(self, *_: object) -> None:
        raise RuntimeError(f"Client is {self.status}. Can't send update-graph message.")

    def close(self, timeout: float) -> None:
        self.status = "closed"


@pytest.mark.parametrize("status", ["closing", "closed"])
def test_a_scheduler_that_is_gone_is_one_line(
    words: WordExamples, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr("distributed.Client", Client)
    dask, said = Dask(1, "tcp://127.0.0.1:9"), list[str]()
    client: Any = dask.start(1, unseen)
    assert dask.progress() is None
    client.status = status
    with pytest.raises(SpecError, match="is gone; start one, and the same command goes on") as refused:
        list(pool.run(shards(), Job(words, READING, "cpu"), dask, quiet, said.append))
    assert "tcp://127.0.0.1:9" in one_line(str(refused.value))
    assert said == []


def test_dask_starts_anew_after_it_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed.Client", Client)
    dask = Dask(1, "tcp://127.0.0.1:9")
    first: Any = dask.start(1, unseen)
    dask.stop()
    again: Any = dask.start(1, unseen)
    assert (first.status, again.status) == ("closed", "running")
    assert dask.progress() is None


@pytest.mark.slow
def test_a_scheduler_that_dies_is_one_line(words: WordExamples, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    file = tmp_path / "scheduler.json"
    scheduler = subprocess.Popen([*command, "--port", "0", "--scheduler-file", str(file)], env=environment)
    try:
        deadline = time.monotonic() + 30
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        killing = threading.Timer(5, scheduler.kill)  # there is no worker: the shards wait
        killing.start()
        with pytest.raises(SpecError, match="is gone; start one"):
            list(
                pool.run(shards(), Job(words, READING, "cpu"), Dask(1, json.loads(file.read_text())["address"]), quiet)
            )
    finally:
        scheduler.kill()
        scheduler.wait()


def test_dask_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SpecError, match="pip install") as refused:
        Dask(1).start(1, unseen)
    one_line(str(refused.value))
