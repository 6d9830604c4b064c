"""Run shards through an executor: hand them over, watch them, and try again those that fail."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass, replace

from study.errors import ShardError, SpecError
from study.execution import worker
from study.execution.executors import Backend
from study.execution.plan import split
from study.measurement.rows import Rows
from study.training.cells import Cell, Stack

POLL = 0.2  # seconds between two checks of the progress
BACKOFF = (1.0, 4.0)  # seconds before each new try of a shard that failed
DEAD = (BrokenExecutor, CancelledError)  # the errors of a shard whose worker or whose pool has died
DEATHS = 6  # number of deaths of workers, by a shard or by its neighbour, after which the shard is given up

Watch = Callable[[Sequence[float], Sequence[float]], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Failure:
    """The error of a shard that failed in all tries."""

    cells: tuple[Cell, ...]
    traceback: str

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return self.traceback.strip().splitlines()[-1]


@dataclass
class Task:
    """A shard that is waiting or running."""

    shard: Stack
    slot: int  # the place of its progress
    tries: int = 0
    deaths: int = 0
    due: float = 0.0  # the earliest moment of its next try


def run(
    shards: Sequence[Stack],
    job: worker.Job,
    place: Backend,
    watch: Watch,
    say: Say = lambda text: None,
    fail_fast: bool = False,
) -> Iterator[dict[Cell, Rows] | Failure]:
    """Yield the rows of the cells of each shard when it finishes, or its Failure.

    `watch` is called with the model-steps done and the last loss of each slot, and `say` with a line for each problem.
    The results do not depend on the backend or on the order.
    """
    slots = sum(len(shard.cells) for shard in shards)  # a shard that fails is tried again cell by cell
    starts = [sum(len(shard.cells) for shard in shards[:n]) for n in range(len(shards))]
    waiting = [Task(shard, start) for shard, start in zip(shards, starts, strict=True)]
    running: dict[Future[dict[Cell, Rows]], Task] = {}
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
                    finished[2 * task.slot] = float(sum(cell.schedule.steps for cell in task.shard.cells))
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
    running: dict[Future[dict[Cell, Rows]], Task],
) -> bool:
    """Hand over the shards that are due, as many as the backend takes at a time. False where its pool has died."""
    now = time.monotonic()
    for task in [task for task in waiting if task.due <= now]:
        if place.at_once is not None and len(running) >= place.at_once:
            break
        try:
            running[executor.submit(worker.work, packed, task.shard, task.slot)] = task
        except BrokenExecutor:
            return False
        except Exception:
            place.progress()  # raises SpecError where the backend is gone
            raise
        waiting.remove(task)
    if not running:
        time.sleep(POLL)  # all shards that are left wait for their next try
    return True


def _died(task: Task, error: Exception, waiting: list[Task], say: Say) -> Iterator[Failure]:
    """Put back a shard whose worker has died. After DEATHS deaths it is given up."""
    task.deaths += 1
    if task.deaths < DEATHS:
        say(f"a worker died under {_named(task)}; a new one goes on from the last checkpoint")
        waiting.insert(0, task)
    else:
        say(f"{_named(task)} is given up: its workers die")
        yield Failure(task.shard.cells, _text(error))


def _failed(task: Task, error: Exception, waiting: list[Task], say: Say) -> Iterator[Failure]:
    """Put back a shard that failed. Its last try is cell by cell, so that one faulty cell does not fail its neighbours."""
    text, task.tries = _text(error), task.tries + 1
    reason = text.strip().splitlines()[-1]
    if task.tries > len(BACKOFF):
        say(f"{_named(task)} failed, and is given up: {reason}")
        yield Failure(task.shard.cells, text)
        return
    pause = BACKOFF[task.tries - 1]
    say(f"{_named(task)} failed: {reason}; tried again in {pause:g} s")
    task.due = time.monotonic() + pause
    slot = task.slot
    for part in [task.shard] if task.tries < len(BACKOFF) else split(task.shard, 1):
        waiting.append(replace(task, shard=part, slot=slot))
        slot += len(part.cells)


def _named(task: Task) -> str:
    return "a cell" if len(task.shard.cells) == 1 else f"a shard of {len(task.shard.cells)} cells"


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
