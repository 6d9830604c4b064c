"""Run shards and initial states through an executor: hand them over, watch them, and try again those that fail."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import pyarrow as pa

from study.errors import ShardError, SpecError, unknown
from study.execution import worker
from study.execution.executors import Backend
from study.execution.plan import split
from study.measurement.initial import Block, States
from study.measurement.rows import Rows
from study.training.cells import Cell, Stack

POLL = 0.2  # seconds between two checks of the progress
BACKOFF = (1.0, 4.0)  # seconds before each new try of a shard that failed
DEAD = (BrokenExecutor, CancelledError)  # the errors of a shard whose worker or whose pool has died
DEATHS = 6  # number of deaths of workers, by a shard or by its neighbour, after which the shard is given up

Watch = Callable[[Sequence[float], Sequence[float]], None]
Say = Callable[[str], None]
Work = Stack | States  # a shard of cells, or initial states of one graph
Result = dict[Cell, Rows] | dict[Block, pa.Table]


@dataclass(frozen=True)
class Failure:
    """The error of a shard, or of initial states, that failed in all tries."""

    cells: tuple[Cell, ...]
    traceback: str
    states: int = 0  # the number of initial states that failed

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return self.traceback.strip().splitlines()[-1]


@dataclass
class Task:
    """A shard, or initial states, that are waiting or running."""

    work: Work
    slot: int  # the place of its progress
    tries: int = 0
    deaths: int = 0
    due: float = 0.0  # the earliest moment of its next try


def run(
    work: Sequence[Work],
    job: worker.Job,
    place: Backend,
    watch: Watch,
    say: Say = lambda text: None,
    fail_fast: bool = False,
) -> Iterator[Result | Failure]:
    """Yield the rows of each shard, or of each unit of states, when it finishes, or its Failure.

    `watch` is called with what is done (model-steps or states) and the last loss of each slot, and `say` with a line for
    each problem.
    The results do not depend on the backend or on the order.
    """
    *starts, slots = accumulate(map(size, work), initial=0)  # a shard that fails is tried again cell by cell
    waiting = [Task(unit, start) for unit, start in zip(work, starts, strict=True)]
    running: dict[Future[Result], Task] = {}
    packed, finished = job.packed(), [0.0] * (2 * slots)

    def look() -> None:
        seen = place.progress() or finished
        watch(seen[0::2], seen[1::2])

    try:
        executor = place.start(slots, look)
        while waiting or running:
            broken = not _hand_over(executor, place, packed, waiting, running)
            done, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
            look()
            broken = broken or any(isinstance(future.exception(), DEAD) for future in done if not future.cancelled())
            if broken:
                place.stop()  # every shard that was handed over then has a result or an error
                done = set(running)
            for future in done:
                task = running.pop(future)
                try:
                    rows = future.result()
                except (
                    SpecError
                ):  # a full disk, for example: only the user can mend it, so that a second try is useless
                    raise
                except DEAD as error:
                    yield from _died(task, error, waiting, say)
                except Exception as error:
                    if fail_fast:
                        raise ShardError(_text(error)) from None
                    yield from _failed(task, error, waiting, say)
                else:
                    finished[2 * task.slot] = float(_amount(task.work))
                    yield rows
            if broken:
                executor = place.start(slots, look)
    except BaseException:
        place.stop()
        raise
    place.close()


def _hand_over(
    executor: Executor,
    place: Backend,
    packed: bytes,
    waiting: list[Task],
    running: dict[Future[Result], Task],
) -> bool:
    """Hand over the shards that are due, as many as the backend takes at a time. False where its pool has died."""
    now = time.monotonic()
    for task in [task for task in waiting if task.due <= now]:
        if place.at_once is not None and len(running) >= place.at_once:
            break
        try:
            running[_submit(executor, packed, task)] = task
        except BrokenExecutor:
            return False
        except Exception:
            place.progress()  # raises SpecError where the backend is gone
            raise
        waiting.remove(task)
    if not running:
        time.sleep(POLL)  # all shards that are left wait for their next try
    return True


def _submit(executor: Executor, packed: bytes, task: Task) -> Future[Any]:
    match task.work:
        case Stack():
            return executor.submit(worker.work, packed, task.work, task.slot)
        case States():
            return executor.submit(worker.measure, packed, task.work, task.slot)
        case _:
            unknown(task.work)


def size(work: Work) -> int:
    """The number of cells, or of states: each may be tried by itself."""
    match work:
        case Stack():
            return len(work.cells)
        case States():
            return len(work)
        case _:
            unknown(work)


def _amount(work: Work) -> int:
    """The model-steps of a shard, or the number of states."""
    match work:
        case Stack():
            return sum(cell.schedule.steps for cell in work.cells)
        case States():
            return len(work)
        case _:
            unknown(work)


def _single(work: Work) -> Sequence[Work]:
    """A shard cell by cell, or states one by one."""
    match work:
        case Stack():
            return split(work, 1)
        case States():
            return work.single()
        case _:
            unknown(work)


def _failure(work: Work, text: str) -> Failure:
    match work:
        case Stack():
            return Failure(work.cells, text)
        case States():
            return Failure((), text, len(work))
        case _:
            unknown(work)


def _died(task: Task, error: Exception, waiting: list[Task], say: Say) -> Iterator[Failure]:
    """Put back a shard whose worker has died. After DEATHS deaths it is given up."""
    task.deaths += 1
    if task.deaths < DEATHS:
        say(f"a worker died under {_named(task)}; a new one goes on from the last checkpoint")
        waiting.insert(0, task)
    else:
        say(f"{_named(task)} is given up: its workers die")
        yield _failure(task.work, _text(error))


def _failed(task: Task, error: Exception, waiting: list[Task], say: Say) -> Iterator[Failure]:
    """Put back a shard that failed. Its last try is cell by cell, so that one faulty cell does not fail its neighbours."""
    text, task.tries = _text(error), task.tries + 1
    reason = text.strip().splitlines()[-1]
    if task.tries > len(BACKOFF):
        say(f"{_named(task)} failed, and is given up: {reason}")
        yield _failure(task.work, text)
        return
    pause = BACKOFF[task.tries - 1]
    say(f"{_named(task)} failed: {reason}; tried again in {pause:g} s")
    task.due = time.monotonic() + pause
    slot = task.slot
    for part in [task.work] if task.tries < len(BACKOFF) else _single(task.work):
        waiting.append(replace(task, work=part, slot=slot))
        slot += size(part)


def _named(task: Task) -> str:
    count = size(task.work)
    match task.work:
        case Stack():
            return "a cell" if count == 1 else f"a shard of {count} cells"
        case States():
            return "an initial state" if count == 1 else f"a block of {count} initial states"
        case _:
            unknown(task.work)


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
