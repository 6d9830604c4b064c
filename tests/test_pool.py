"""Shards in processes: the rows of one process, errors that surface, and nobody left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nets import cell, network

from study import pool
from study.data import dataset
from study.rows import Reading, Rows
from study.schema import Data
from study.setup import Stack
from study.shard import train_shard
from study.words import Words, load

HERE = Path(__file__).parent
PROC = Path("/proc/self/stat").exists()
needs_proc = pytest.mark.skipif(not PROC, reason="tells a dead process from a zombie by /proc")


@pytest.fixture(scope="module")
def words() -> Words:
    splits = {"train": 0.6, "dev": 0.2, "test": 0.2}
    return load(Data(path="tiny.txt", splits=splits), HERE)  # type: ignore[arg-type]


def shards(steps: int = 30) -> list[Stack]:
    """Three shards of two graphs."""
    setups = [network((8,), norm, context=2, embedding=3) for norm in ("none", "batch")]  # type: ignore[arg-type]
    stacks = [
        Stack(tuple(cell(setup, seed, steps, 8) for seed in seeds)) for setup in setups for seeds in ((0, 1), (2,))
    ]
    return stacks[:3]


def quiet(done: object, loss: object) -> None:
    """Watch nothing."""


# -- rows ---------------------------------------------------------------------------------------------------------


def test_two_processes_give_the_rows_of_one(words: Words) -> None:
    reading, seen = Reading((10,), (2,)), []
    serial = [train_shard(shard, dataset(words, 2), reading) for shard in shards()]
    found = dict(pool.run(shards(), pool.Job(words, reading, "cpu"), 2, lambda done, loss: seen.append(list(done))))
    assert {n: vars(rows) for n, rows in found.items()} == {n: vars(rows) for n, rows in enumerate(serial)}
    assert seen[-1] == [60, 30, 60]  # model-steps of every shard, as the parent saw them
    assert multiprocessing.active_children() == []


def test_an_error_in_a_worker_surfaces_and_leaves_no_process(words: Words) -> None:
    job = pool.Job(words, Reading((), (1,)), "cpu")  # batches of one: refused while measuring
    with pytest.raises(ValueError, match="a batch of 1 has no standard deviation"):
        list(pool.run(shards()[2:], job, 1, quiet))
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_an_error_not_a_hang(words: Words) -> None:
    def kill(done: object, loss: object) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(Exception, match="terminated abruptly"):
        list(pool.run(shards(10**7), pool.Job(words, Reading((), ()), "cpu"), 1, kill))
    assert multiprocessing.active_children() == []


def test_a_consumer_that_stops_stops_the_workers(words: Words) -> None:
    work = [*shards()[:1], *shards(10**7)[1:2]]
    results: Iterator[tuple[int, Rows]] = pool.run(work, pool.Job(words, Reading((), ()), "cpu"), 1, quiet)
    assert next(results)[0] == 0  # the other would take hours
    results.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


# -- the command --------------------------------------------------------------------------------------------------


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def workers_of(parent: int) -> list[int]:
    """Spawned workers of a process, from its children's command lines."""
    found = []
    for entry in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in entry.read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


@pytest.fixture
def training(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int], Path]]:
    """`study run` on the tiny study with hours of steps, its workers, and its output folder."""
    (tmp_path / "tiny.txt").write_bytes((HERE / "tiny.txt").read_bytes())
    text = (
        (HERE / "tiny.yaml")
        .read_text("utf-8")
        .replace("steps: 30, lr: {0: 0.1, 20: 0.01}", "steps: 100000000, lr: 0.1")
    )
    assert "100000000" in text
    (tmp_path / "long.yaml").write_text(text, "utf-8")
    command = [sys.executable, "-m", "study", "run", "long.yaml", "--workers", "2", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 30
    # two at once are workers in training; before them, single processes look at the study
    while len(workers := workers_of(process.pid)) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    yield process, workers, tmp_path / "out"
    for one in (process.pid, *workers):
        if alive(one):
            os.kill(one, signal.SIGKILL)
    process.communicate()


def threads(process: int) -> int:
    """Threads of a process."""
    return len(list(Path(f"/proc/{process}/task").glob("*")))


def wait_for(what: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.05)
    return what()


def deaf(process: int) -> bool:
    """Whether a process holds SIGINT back, by its mask."""
    status = Path(f"/proc/{process}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))
    return bool(int(mask, 16) >> (signal.SIGINT - 1) & 1)


def gone(processes: list[int], within: float) -> bool:
    return wait_for(lambda: not any(alive(p) for p in processes), within)


Training = tuple[subprocess.Popen[str], list[int], Path]


@needs_proc
def test_workers_do_not_outlive_a_killed_parent(training: Training) -> None:
    process, workers, _ = training
    assert len(workers) == 2
    assert wait_for(lambda: all(threads(w) > 1 for w in workers), 30)  # each has begun to watch its parent
    process.kill()
    assert gone(workers, within=5)


@needs_proc
@pytest.mark.parametrize("to", ["group", "parent"])
def test_an_interrupt_ends_all_and_leaves_no_file(to: str, training: Training) -> None:
    """Ctrl-C on a terminal goes to the whole process group; `kill -INT` to the parent alone."""
    process, workers, out = training
    assert len(workers) == 2
    assert all(deaf(w) for w in workers)  # from the first, before any of their own code could see to it
    time.sleep(0.5 if to == "group" else 2.0)  # while the workers import, and while they train
    (os.killpg if to == "group" else os.kill)(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert gone(workers, within=1)
    assert "Traceback" not in errors
    assert "interrupted" in errors
    assert [p for p in out.rglob("*") if p.is_file()] == []
    assert list(out.glob(".new-*")) == []
