"""Show model-steps, losses and initial states: as a bar on a terminal, as plain lines elsewhere.

Only the parent process does this.
"""

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
        """Show what is done and the last mean loss of every slot: the models' first, then the states'."""

    def say(self, text: str) -> None:
        """Show a line that stays."""


@contextmanager
def show_progress(models: int, total: int, states: int = 0) -> Iterator[Display]:
    """A display of `total` model-steps of `models` models, and of `states` initial states, on standard error."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [
            TextColumn("{task.fields[models]} models"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} {task.fields[unit]}"),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=Console(stderr=True), speed_estimate_period=120) as bar:
            task = bar.add_task("training", total=total, models=models, unit="model-steps", loss="starting")
            drawn = bar.add_task(
                "states", total=states, models=states, unit="initial states", loss="", visible=states > 0
            )
            yield _Bar(bar, task, drawn, models)
    else:
        yield _Lines(models, total, states)


def _range(done: Sequence[float], loss: Sequence[float]) -> str:
    known = [value for value, steps in zip(loss, done, strict=True) if steps and math.isfinite(value)]
    if not known and COMPILING in loss:
        return "compiling the fused engine, once on this machine"
    return f"loss {min(known):.2f}–{max(known):.2f}" if known else "loss –"


class _Bar:
    """A bar of rich's, on a terminal."""

    def __init__(self, bar: Any, task: Any, drawn: Any, models: int) -> None:
        self._show, self._task, self._drawn, self._models = bar, task, drawn, models

    def update(self, done: Sequence[float], loss: Sequence[float]) -> None:
        steps, losses = done[: self._models], loss[: self._models]
        if any(steps) or COMPILING in losses:
            self._show.update(self._task, completed=sum(steps), loss=_range(steps, losses))
        self._show.update(self._drawn, completed=sum(done[self._models :]))

    def say(self, text: str) -> None:
        self._show.console.print(text, markup=False, highlight=False)


class _Lines:
    """Plain lines, one every LINE seconds."""

    def __init__(self, models: int, total: int, states: int) -> None:
        self._models, self._total, self._states = models, total, states
        self._start = self._last = time.monotonic()
        self._compiling = False

    def update(self, done: Sequence[float], loss: Sequence[float]) -> None:
        drawn, done, loss = sum(done[self._models :]), done[: self._models], loss[: self._models]
        now, steps = time.monotonic(), sum(done)
        begun = (
            COMPILING in loss and not self._compiling
        )  # told at once, since compiling takes as long as the pause between two lines
        self._compiling = COMPILING in loss
        if now - self._last < LINE and not begun:
            return
        self._last = now
        told = []
        if self._models:
            left = self._left(now, steps, self._total, "measuring")
            told += [
                f"{self._models} models: {steps:,.0f} of {self._total:,} model-steps, {_range(done, loss)}, {left}"
            ]
        if self._states:
            told += [f"{drawn:,.0f} of {self._states:,} initial states"]
            told[-1] += "" if self._models else f", {self._left(now, drawn, self._states, 'collecting')}"
        self.say("; ".join(told))

    def _left(self, now: float, done: float, total: int, after: str) -> str:
        """The time that is left at the pace so far. `after` is what comes when everything is done."""
        if not done:
            return "starting"
        return after if done >= total else f"{(now - self._start) * (total - done) / done:,.0f} s left"

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
