"""Shards on all cores: spawned processes with one compute thread each, progress read by the parent, no orphan left."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from typing import TYPE_CHECKING, Any

from study.setup import Stack
from study.words import Words

if TYPE_CHECKING:
    from study.data import Dataset
    from study.rows import Reading, Rows

POLL = 0.2  # seconds between two looks at the shards' progress
WATCH = 1.0  # seconds between a worker's looks at its parent
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


@dataclass(frozen=True)
class Job:
    """What every worker needs besides a shard."""

    words: Words
    reading: Reading
    device: str


_job: Job | None = None
_progress: Any = None


def _start(pickled: bytes, progress: Any, parent: int) -> None:
    """In a fresh worker: one compute thread, deaf to Ctrl-C (the parent decides), gone when the parent is."""
    global _job, _progress
    _leave(parent)
    _job, _progress = pickle.loads(pickled), progress  # imports torch, for seconds: not before the watch is set
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def _leave(parent: int) -> None:
    """In a fresh worker: deaf to Ctrl-C (the parent decides), gone when the parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # the kernel ends it with its parent, even while a compiler holds the interpreter
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)


@functools.lru_cache(maxsize=4)
def _data(context: int) -> Dataset:
    from study.data import dataset

    assert _job is not None
    return dataset(_job.words, context)


def _run(number: int, shard: Stack) -> Rows:
    from study.shard import train_shard

    def report(done: int, loss: float) -> None:
        _progress[2 * number], _progress[2 * number + 1] = done, loss

    assert _job is not None
    rows = train_shard(shard, _data(shard.setup.context), _job.reading, _job.device, report)
    _trim()
    return rows


def _trim() -> None:
    """Give freed memory back: glibc keeps it, and a worker of many shards would grow."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def run(
    shards: Sequence[Stack], job: Job, workers: int, watch: Callable[[Sequence[float], Sequence[float]], None]
) -> Iterator[tuple[int, Rows]]:
    """(number, rows) of every shard as it finishes; `watch` is called with model-steps done and last loss of each."""
    context: SpawnContext = multiprocessing.get_context("spawn")
    # plain shared memory without a lock: a worker only writes its own two numbers, so nothing can deadlock
    progress = context.RawArray(ctypes.c_double, 2 * len(shards))
    executor = ProcessPoolExecutor(
        workers, context, initializer=_start, initargs=(pickle.dumps(job), progress, os.getpid())
    )
    try:
        with _interrupts_held():
            futures = {executor.submit(_run, number, shard): number for number, shard in enumerate(shards)}
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=POLL, return_when=FIRST_COMPLETED)
            watch(progress[0::2], progress[1::2])
            for future in done:
                yield futures[future], future.result()
    except BaseException:
        _stop(executor)
        raise
    executor.shutdown()


def apart(function: str, *arguments: Any) -> Any:
    """What a function of study.apart returns, run in a process that ends with it: torch's memory goes, too."""
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(1, context, initializer=_leave, initargs=(os.getpid(),))
    try:
        with _interrupts_held():
            future = executor.submit(_apart, function, arguments)
        result = future.result()
    except BaseException:
        _stop(executor)
        raise
    executor.shutdown()
    return result


def _apart(function: str, arguments: tuple[Any, ...]) -> Any:
    from study import apart

    return getattr(apart, function)(*arguments)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the block ends; a process started in it inherits the mask and never hears one, not even while
    it still imports."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(executor: ProcessPoolExecutor) -> None:
    """End all workers at once; their work is lost, nothing of it is on disk."""
    for process in list((executor._processes or {}).values()):
        with contextlib.suppress(OSError):
            process.kill()
    executor.shutdown(wait=True, cancel_futures=True)
