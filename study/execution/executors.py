"""The backends that run shards: each gives an Executor of concurrent.futures.

These are processes of this machine, this process alone, and Dask for studies that are too large for one machine.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, Protocol, TypeVar

from study import processes
from study.errors import SpecError
from study.execution import worker

Look = Callable[[], None]
Given = ParamSpec("Given")
Result = TypeVar("Result")


class Backend(Protocol):
    """A place in which shards can run."""

    at_once: int | None  # number of shards handed over at a time; None: all, since the backend has its own queue

    def start(self, slots: int, look: Look) -> Executor:
        """Start workers for shards that report to `slots` slots. This is called again when workers have died.

        Whoever waits for the shards looks at their progress from time to time. Where shards run in this process, nobody
        waits meanwhile, and the backend calls `look` instead.
        """

    def progress(self) -> list[float] | None:
        """The model-steps done and the last loss of every slot; None where workers share no memory with this process.

        Raises SpecError where the backend is gone, and with it all shards that were handed over.
        """

    def stop(self) -> None:
        """End all workers at once. Their shards are lost, but for the last checkpoints."""

    def close(self) -> None:
        """End the workers after their last shard."""


class Local:
    """Spawned processes of this machine, with one compute thread each."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self.at_once: int | None = workers
        self._executor: processes.Pool | None = None
        self._progress: Any = None

    def start(self, slots: int, look: Look) -> Executor:
        """Make a pool of processes, which start with the first shards."""
        if self._progress is None:
            # plain shared memory without a lock: a worker only writes its own two numbers, so nothing can deadlock
            self._progress = processes.CONTEXT.RawArray(ctypes.c_double, 2 * slots)
        self._executor = processes.pool(self._workers, worker.start, self._progress)
        return self._executor

    def progress(self) -> list[float] | None:
        """The numbers that the workers have written."""
        return list(self._progress)

    def stop(self) -> None:
        """Kill the workers."""
        if self._executor is not None:
            processes.kill(self._executor)

    def close(self) -> None:
        """Let the workers end."""
        if self._executor is not None:
            self._executor.shutdown()


class Inline:
    """This process, with one shard after the other. No process is spawned, so that a debugger sees everything."""

    at_once: int | None = 1

    def __init__(self) -> None:
        self._progress: list[float] = []

    def start(self, slots: int, look: Look) -> Executor:
        """Give an executor whose calls return when their work is done."""
        self._progress = [0.0] * (2 * slots)

        def report(slot: int, done: int, loss: float) -> None:
            self._progress[2 * slot : 2 * slot + 2] = done, loss
            look()

        worker.report_to(report)
        return _Here()

    def progress(self) -> list[float] | None:
        """The numbers that the shards have reported."""
        return list(self._progress)

    def stop(self) -> None:
        """Remove the data of the shards from this process."""
        worker.forget()

    close = stop


class _Here(Executor):
    """An executor that calls in this process. An interrupt is not kept as a result: it ends the caller as well."""

    def submit(self, fn: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Result]:
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Dask:
    """A Dask cluster: a local one of `workers` processes, or that of the scheduler at `address`."""

    at_once: int | None = None

    def __init__(self, workers: int, address: str | None = None) -> None:
        self._workers, self._address = workers, address
        self._client: Any = None
        self._cluster: Any = None
        self._cleanup = contextlib.ExitStack()

    def start(self, slots: int, look: Look) -> Executor:
        """Dask's own executor."""
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise SpecError("--executor: Dask is not installed here; install it with `pip install .[dask]`") from None
        if self._client is None:
            if self._address is None:
                self._cleanup.enter_context(processes.safe_path())  # until the end: a worker that dies is replaced
                self._cluster = LocalCluster(
                    n_workers=self._workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
                )
            try:
                self._client = Client(self._cluster or self._address, timeout="10s")
            except (OSError, ValueError) as error:
                problem = f"no Dask scheduler answers ({type(error).__name__}); start one with `dask scheduler`"
                raise SpecError(f"--executor: at {self._address} {problem}") from None
        executor: Executor = self._client.get_executor(pure=False)
        return executor

    def progress(self) -> list[float] | None:
        """None, since only finished shards can be seen. Raises SpecError where the client has lost its scheduler."""
        if self._client is not None and self._client.status in ("closing", "closed"):
            problem = (
                f"the scheduler at {self._address or 'this machine'} is gone; start one, and the same command goes on"
            )
            raise SpecError(f"--executor: {problem}")
        return None

    def stop(self) -> None:
        """End a cluster that was started here. A cluster of the user stays, without the shards of this study."""
        for part in (self._client, self._cluster):
            if part is not None:
                with contextlib.suppress(Exception):
                    part.close(timeout=5)
        self._client = self._cluster = None
        self._cleanup.close()

    close = stop


def backend(executor: str, workers: int) -> Backend:
    """The backend that --executor and --workers name."""
    if executor == "local":
        return Local(workers) if workers else Inline()
    if not workers:
        raise SpecError(f"--workers: 0 stands for this process alone, got --executor {executor}; leave out one of them")
    if executor == "dask":
        return Dask(workers)
    if executor.startswith(("tcp://", "tls://")):
        return Dask(workers, executor)
    raise SpecError(f"--executor: expected local, dask or a scheduler's tcp://host:port, got '{executor}'")
