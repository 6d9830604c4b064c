"""Show model-steps and losses: as a bar on a terminal, as plain lines elsewhere. Only the parent process does this."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

COMPILING = -1.0  # a shard reports this as its loss while the fused engine is compiled
LINE = 15.0  # seconds between two plain lines


class Display(Protocol):
    """A display of the progress of a training."""

    def update(self, done: Sequence[float], loss: Sequence[float]) -> None:
        """Show the model-steps done and the last mean loss of every shard."""

    def say(self, text: str) -> None:
        """Show a line that stays."""


@contextmanager
def show_progress(models: int, total: int) -> Iterator[Display]:
    """A display of `total` model-steps of `models` models on standard error."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [
            TextColumn("{task.fields[models]} models"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} model-steps"),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=Console(stderr=True), speed_estimate_period=120) as bar:
            task = bar.add_task("training", total=total, models=models, loss="starting")
            yield _Bar(bar, task)
    else:
        yield _Lines(models, total)


def _range(done: Sequence[float], loss: Sequence[float]) -> str:
    known = [value for value, steps in zip(loss, done, strict=True) if steps and math.isfinite(value)]
    if not known and COMPILING in loss:
        return "compiling the fused engine, once on this machine"
    return f"loss {min(known):.2f}–{max(known):.2f}" if known else "loss –"


class _Bar:
    """A bar of rich's, on a terminal."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._show, self._task = bar, task

    def update(self, done: Sequence[float], loss: Sequence[float]) -> None:
        if any(done) or COMPILING in loss:
            self._show.update(self._task, completed=sum(done), loss=_range(done, loss))

    def say(self, text: str) -> None:
        self._show.console.print(text, markup=False, highlight=False)


class _Lines:
    """Plain lines, one every LINE seconds."""

    def __init__(self, models: int, total: int) -> None:
        self._models, self._total = models, total
        self._start = self._last = time.monotonic()
        self._compiling = False

    def update(self, done: Sequence[float], loss: Sequence[float]) -> None:
        now, steps = time.monotonic(), sum(done)
        begun = (
            COMPILING in loss and not self._compiling
        )  # told at once, since compiling takes as long as the pause between two lines
        self._compiling = COMPILING in loss
        if now - self._last < LINE and not begun:
            return
        self._last = now
        left = "starting"
        if steps:
            seconds = (now - self._start) * (self._total - steps) / steps
            left = "measuring" if steps >= self._total else f"{seconds:,.0f} s left"
        self.say(f"{self._models} models: {steps:,.0f} of {self._total:,} model-steps, {_range(done, loss)}, {left}")

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
