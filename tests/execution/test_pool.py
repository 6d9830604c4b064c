"""Shards in processes: the rows of one process, errors that surface, and nobody left behind."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.data.examples import dataset
from study.data.word_source import WordExamples
from study.errors import ShardError, SpecError
from study.execution import pool
from study.execution.cache import Cache, Store
from study.execution.executors import Local
from study.execution.keys import keys_of
from study.execution.shard import train_shard
from study.execution.worker import Job
from study.measurement.rows import SCHEMAS, Request, Rows
from study.spec.records import sha256
from study.spec.schema import DataEntry
from study.training.cells import Cell, Stack
from tests.support.nets import cell, network
from tests.support.tiny import one_line

HERE = Path(__file__).parents[1]
PROC = Path("/proc/self/stat").exists()
needs_proc = pytest.mark.skipif(not PROC, reason="tells a dead process from a zombie by /proc")


@pytest.fixture(scope="module")
def words() -> WordExamples:
    splits = {"train": 0.6, "dev": 0.2, "test": 0.2}
    return DataEntry(path="tiny.txt", splits=splits).record().load(HERE / "support")  # type: ignore[arg-type]


def shards(steps: int = 30) -> list[Stack]:
    """Three shards of two graphs."""
    setups = [network((8,), norm, context=2, embedding=3) for norm in ("none", "batch")]  # type: ignore[arg-type]
    stacks = [
        Stack(tuple(cell(setup, seed, steps, 8) for seed in seeds)) for setup in setups for seeds in ((0, 1), (2,))
    ]
    return stacks[:3]


def quiet(done: object, loss: object) -> None:
    """Watch nothing."""


Result = dict[Cell, Rows] | pool.Failure


def results(
    shards: list[Stack],
    words: WordExamples,
    reading: Request,
    workers: int = 2,
    watch: Any = quiet,
    store: Any = None,
    **more: Any,
) -> list[Result]:
    """What the shards give in processes."""
    return list(pool.run(shards, Job(words, reading, "cpu", store), Local(workers), watch, **more))


def plain(found: Iterable[Result]) -> dict[Cell, str]:
    """The rows of every cell as text: a NaN equals a NaN."""
    return {
        cell: repr({name: rows.listed(name) for name in SCHEMAS})
        for result in found
        if isinstance(result, dict)
        for cell, rows in result.items()
    }


# -- rows ---------------------------------------------------------------------------------------------------------


def test_two_processes_give_the_rows_of_one(words: WordExamples) -> None:
    reading, seen = Request((10,), (2,)), []
    serial = [train_shard(shard, dataset(words, 2), reading) for shard in shards()]
    found = results(shards(), words, reading, watch=lambda done, loss: seen.append(list(done)))
    assert plain(found) == plain(serial)
    assert seen[-1] == [60, 0, 30, 60, 0]  # model-steps of every shard, as the parent saw them, at its first cell
    assert multiprocessing.active_children() == []


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(pool, "BACKOFF", (0.0, 0.0))


@pytest.mark.slow
def test_a_shard_that_fails_is_tried_again_then_cell_by_cell_then_given_up(words: WordExamples, prompt: None) -> None:
    said: list[str] = []
    found = results(shards(), words, Request((), (1,)), say=said.append)  # batches of one: refused while measuring
    whole = [result for result in found if not isinstance(result, pool.Failure)]
    failed = [result for result in found if isinstance(result, pool.Failure)]
    assert {cell for rows in whole for cell in rows} == {*shards()[0].cells, *shards()[1].cells}  # without BatchNorm
    assert {failure.cells for failure in failed} == {(cell,) for cell in shards()[2].cells}
    for failure in failed:
        assert "a batch of 1 has no standard deviation" in failure.reason
        assert "Traceback" in failure.traceback
    assert [("tried again" in line, "given up" in line) for line in said] == [(True, False)] * 2 + [(False, True)] * 2
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_one_cells_fault_is_not_its_neighbours(words: WordExamples, prompt: None, tmp_path: Path) -> None:
    """A cell whose cache entry cannot be written fails; the one that it shares a shard with does not."""
    store = Store(Cache(tmp_path), keys_of(words.key(), Request((), (2,)), "cpu"))
    shard = shards()[0]
    place = tmp_path / "rows" / (key := sha256(store.keys.measuring(shard.cells[0], "autograd")))[:2] / f"{key}.bin"
    place.mkdir(parents=True)  # a folder where the file should be
    found = results([shard], words, Request((), (2,)), store=store)
    assert [result.cells for result in found if isinstance(result, pool.Failure)] == [shard.cells[:1]]
    assert [set(result) for result in found if not isinstance(result, pool.Failure)] == [{shard.cells[1]}]


def test_fail_fast_stops_at_the_first_failure(words: WordExamples) -> None:
    with pytest.raises(ShardError, match="a batch of 1 has no standard deviation"):
        results(shards()[2:], words, Request((), (1,)), fail_fast=True)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("fact", ["numpy", "CPU", "study/training/autograd.py"])
def test_a_worker_that_would_train_otherwise_than_the_keys_say_is_one_line_and_not_tried_again(
    words: WordExamples, tmp_path: Path, fact: str
) -> None:
    said: list[str] = []
    store = Store(Cache(tmp_path), keys_of(words.key(), Request((10,), (2,)), "cpu"))
    job = Job(words, Request((10,), (2,)), "cpu", store)
    other = replace(job, environment={**job.environment, fact: "another"})
    with pytest.raises(SpecError, match=f"has {fact} .* where the study runs with another; give all") as refused:
        list(pool.run(shards(), other, Local(1), quiet, said.append))
    assert one_line(str(refused.value)).startswith(f"worker on {platform.node()}: ")
    assert said == []
    assert not list(tmp_path.rglob("*.bin"))
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_rows_are_the_same(words: WordExamples, tmp_path: Path) -> None:
    store = Store(Cache(tmp_path), keys_of(words.key(), Request((10,), (2,)), "cpu"))
    kills = 0

    def kill(done: Sequence[float], loss: object) -> None:
        nonlocal kills
        if any(done) and kills < 2:
            kills += 1
            for process in multiprocessing.active_children():
                process.kill()

    said: list[str] = []
    found = results(shards(4000), words, Request((10,), (2,)), watch=kill, say=said.append, store=store)
    assert kills == 2
    assert any("worker died" in line for line in said)
    serial = [train_shard(shard, dataset(words, 2), Request((10,), (2,))) for shard in shards(4000)]
    assert plain(found) == plain(serial)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_shard_that_kills_every_worker_is_given_up(words: WordExamples, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(done: object, loss: object) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    monkeypatch.setattr(pool, "DEATHS", 2)
    found = results(shards(10**7)[:1], words, Request((), ()), watch=kill, workers=1)
    assert [type(result) for result in found] == [pool.Failure]
    assert "terminated abruptly" in found[0].reason  # type: ignore[union-attr]
    assert multiprocessing.active_children() == []


def test_a_consumer_that_stops_stops_the_workers(words: WordExamples) -> None:
    work = [*shards()[:1], *shards(10**7)[1:2]]
    found = pool.run(work, Job(words, Request((), ()), "cpu"), Local(1), quiet)
    assert set(next(found)) == set(work[0].cells)  # type: ignore[arg-type]  # the other would take hours
    found.close()  # type: ignore[attr-defined]
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
    (tmp_path / "tiny.txt").write_bytes((HERE / "support" / "tiny.txt").read_bytes())
    text = (
        (HERE / "support" / "tiny.yaml")
        .read_text("utf-8")
        .replace("steps: 30, lr: {0: 0.1, 20: 0.01}", "steps: 100000000, lr: 0.1")
    )
    assert "100000000" in text
    (tmp_path / "long.yaml").write_text(text, "utf-8")
    command = [sys.executable, "-m", "study", "run", "long.yaml", "--workers", "2", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120  # a slow machine under load
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
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert gone(workers, within=1)
    assert "Traceback" not in errors
    assert "interrupted" in errors
    assert [p for p in out.rglob("*") if p.is_file() and p.name != ".lock"] == []
    assert list(out.glob(".new-*")) == []
