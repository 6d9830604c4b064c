"""Start processes on this machine. They ignore Ctrl-C, and they end when their parent ends.

They look for modules where packages are installed, and not in the folder that they run in: it is the folder of the
user's study, and it may hold a `random.py` of the user's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import ParamSpec, TypeVar

CONTEXT = multiprocessing.get_context("spawn")  # a fork would copy the locks that other threads hold
WATCH = 1.0  # seconds between two checks whether the parent still runs
PR_SET_PDEATHSIG = 1  # from linux/prctl.h
SAFE_PATH = "PYTHONSAFEPATH"  # where it is set, Python leaves the working folder out of sys.path

Given = ParamSpec("Given")
Result = TypeVar("Result")


def start(parent: int) -> None:
    """Prepare a new process: it ignores Ctrl-C, to which its parent reacts, and it ends when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # the kernel ends it, even while a compiler holds the interpreter
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)


class Pool(ProcessPoolExecutor):
    """Processes that start when they are first given work."""

    def submit(self, fn: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Result]:
        """A call of the function in one of the processes."""
        with interrupts_held(), safe_path():
            return super().submit(fn, *args, **kwargs)


def pool(count: int, ready: Callable[..., None] = start, *arguments: object) -> Pool:
    """A pool of `count` processes, which start with their first work.

    Each process begins with the call ready(<the id of this process>, *arguments).
    """
    with safe_path():  # the first pool starts a process of Python's own, which tracks resources
        return Pool(count, CONTEXT, initializer=ready, initargs=(os.getpid(), *arguments))


@contextlib.contextmanager
def crew(count: int) -> Iterator[Pool]:
    """A pool of `count` processes for a block. Where an error leaves the block, they end at once."""
    executor = pool(count)
    try:
        yield executor
    except BaseException:
        kill(executor)
        raise
    executor.shutdown()


def kill(executor: ProcessPoolExecutor) -> None:
    """End the processes of a pool at once. Their work is cancelled, or ends with an error."""
    for process in list((executor._processes or {}).values()):
        with contextlib.suppress(OSError):
            process.kill()
    executor.shutdown(wait=True, cancel_futures=True)


def call_apart(function: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs) -> Result:
    """Call a function of a module in a process of its own, and return its result.

    The process ends with the call, so that the memory of all that the function loads is freed. The process finds the
    function by its name. For this the function's module is imported here as well, so that libraries which only the
    process is to load must be imported inside the function.
    """
    with crew(1) as executor:
        return executor.submit(function, *arguments, **named).result()


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Processes that start in the block, and theirs, do not look for modules in the folder that they run in."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Delay Ctrl-C until the block ends.

    A process that is started in the block inherits the mask, so that Ctrl-C never reaches it, not even during its
    imports.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
