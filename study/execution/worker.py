"""The work of a worker: one shard at a time, on one compute thread. A worker process ends with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import pickle
import platform
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from study import processes
from study.data.source import Examples
from study.errors import SpecError, unknown
from study.execution.cache import Store
from study.execution.compute import one_thread
from study.execution.keys import shown, surroundings
from study.execution.progress import COMPILING
from study.measurement.initial import Block, States
from study.measurement.rows import Request, Rows
from study.spec.extensions import Extension, load_same
from study.training.cells import Cell, Stack

if TYPE_CHECKING:
    import pyarrow as pa

    from study.data.examples import Dataset


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs besides a shard."""

    examples: Examples
    reading: Request
    device: str
    store: Store | None = None
    environment: dict[str, str] = field(default_factory=surroundings)  # what the store's keys say of whoever trains
    extensions: tuple[Extension, ...] = ()  # of the study; a worker loads the same files

    def packed(self) -> bytes:
        """The job as it is sent with every shard: some 100 kB for 32,000 words."""
        # the extensions first, since the rest may hold an object of theirs
        return zlib.compress(pickle.dumps((self.extensions, pickle.dumps(self))), 6)


Report = Callable[[int, int, float], None]  # (slot, model-steps done, last loss)

_report: Report | None = None  # None where nobody can hear of it: a worker on another machine


def start(parent: int, progress: Any) -> None:
    """Prepare a fresh process of this machine, which shares the memory `progress`: steps and loss of slot after slot."""
    processes.start(parent)

    def write(slot: int, done: int, loss: float) -> None:
        progress[2 * slot], progress[2 * slot + 1] = done, loss

    report_to(write)


def report_to(report: Report | None) -> None:
    """Have this process report the progress of its shards."""
    global _report
    _report = report


def forget() -> None:
    """Give up what this process keeps from shard to shard."""
    report_to(None)
    _job.cache_clear()
    _data.cache_clear()


def measure(packed: bytes, states: States, slot: int) -> dict[Block, pa.Table]:
    """Draw and measure initial states, which report as `slot`: the rows of their blocks."""
    _job(packed)
    from study.measurement.states import measure_states  # imports torch

    def report(done: int) -> None:
        if _report is not None:
            _report(slot, done, math.nan)

    with one_thread():
        rows = measure_states(states, _data(packed, states.network.context), report)
    _trim()
    return rows


def work(packed: bytes, shard: Stack, slot: int) -> dict[Cell, Rows]:
    """Train and measure a shard, which reports as `slot`: the rows of its cells."""
    job = _job(packed)
    from study.execution.shard import train_shard  # imports torch, for seconds: not before start() has set the watch

    def report(done: int, loss: float) -> None:
        if _report is not None:
            _report(slot, done, loss)

    with one_thread():
        match shard.engine:
            case "autograd":
                pass
            case "fused":
                _compile(lambda: report(0, COMPILING))
            case _:
                unknown(shard.engine)
        rows = train_shard(shard, _data(packed, shard.network.context), job.reading, job.device, report, job.store)
    _trim()
    return rows


def _compile(report: Callable[[], None]) -> None:
    """Have the fused engine compiled: by one process of this machine, while the others wait for it."""
    from study.training.fused import compiled

    if not compiled.cached():
        report()
        with FileLock(
            Path(tempfile.gettempdir()) / f"study-compile-{os.getuid() if hasattr(os, 'getuid') else 0}.lock"
        ):
            compiled.warm()


@functools.lru_cache(maxsize=1)
def _job(packed: bytes) -> Job:
    """The job, unpacked once; SpecError where this process would train by other code than the keys say."""
    extensions, rest = pickle.loads(zlib.decompress(packed))
    load_same(extensions, f"worker on {platform.node()}")
    job: Job = pickle.loads(rest)
    _same(job.environment)
    return job


def _same(wanted: dict[str, str]) -> None:
    """SpecError where this process would train by other code than the keys say: on another machine, after an edit."""
    here = surroundings()
    other = [
        f"{name} {shown(here.get(name))} where the study runs with {shown(wanted.get(name))}"
        for name in sorted({*wanted, *here})
        if here.get(name) != wanted.get(name)
    ]
    if other:
        more = f", and {len(other) - 1} more such" if len(other) > 1 else ""
        advice = "give all workers the same source, packages and kind of CPU, and run it again"
        raise SpecError(f"worker on {platform.node()}: has {other[0]}{more}; {advice}")


@functools.lru_cache(maxsize=4)
def _data(packed: bytes, context: int) -> Dataset:
    return _job(packed).examples.dataset(context)  # imports torch


def _trim() -> None:
    """Give freed memory back: glibc keeps it, and a worker of many shards would grow."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
