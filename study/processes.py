"""Processes of this machine: spawned, deaf to Ctrl-C, and gone when their parent is.

They look for modules where they are installed, and not in the folder that they run in: it is the folder of the user's
study, and it may hold a `random.py` of theirs.
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

CONTEXT = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
WATCH = 1.0  # seconds between two looks of a process at its parent
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
SAFE_PATH = "PYTHONSAFEPATH"  # Python, where it is set, leaves the working folder out of sys.path

Given = ParamSpec("Given")
Result = TypeVar("Result")


def start(parent: int) -> None:
    """In a fresh process: deaf to Ctrl-C (the parent decides), gone when the parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # the kernel ends it with its parent, even while a compiler holds the interpreter
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
    """A pool of `count` processes; each first calls ready(<this process>, *arguments)."""
    return Pool(count, CONTEXT, initializer=ready, initargs=(os.getpid(), *arguments))


@contextlib.contextmanager
def crew(count: int) -> Iterator[Pool]:
    """A pool of `count` processes for a block; where the block breaks off, they end at once."""
    executor = pool(count)
    try:
        yield executor
    except BaseException:
        kill(executor)
        raise
    executor.shutdown()


def kill(executor: ProcessPoolExecutor) -> None:
    """End a pool's processes at once; what they were given is cancelled or broken."""
    for process in list((executor._processes or {}).values()):
        with contextlib.suppress(OSError):
            process.kill()
    executor.shutdown(wait=True, cancel_futures=True)


def call_apart(function: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs) -> Result:
    """What a function of a module returns, called in a process that ends with it: the memory of what it loads goes, too.

    The function is found by its name there, so its module may not load here what is to be loaded there alone.
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
