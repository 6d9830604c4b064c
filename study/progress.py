"""Model-steps done and last losses as a bar on a terminal, as plain lines elsewhere. Driven by the parent alone."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

LINE = 15.0  # seconds between two plain lines


class Watch(Protocol):
    """Called with the model-steps done and the last mean loss of every shard."""

    def __call__(self, done: Sequence[float], loss: Sequence[float]) -> None:
        """Show it."""


@contextmanager
def progress(models: int, total: int) -> Iterator[Watch]:
    """A display of `total` model-steps of `models` models on standard error."""
    if sys.stderr.isatty():
        with _bar(models, total) as watch:
            yield watch
    else:
        yield _lines(models, total)


def _range(done: Sequence[float], loss: Sequence[float]) -> str:
    known = [value for value, steps in zip(loss, done, strict=True) if steps and math.isfinite(value)]
    return f"loss {min(known):.2f}–{max(known):.2f}" if known else "loss –"


@contextmanager
def _bar(models: int, total: int) -> Iterator[Watch]:
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
        task = bar.add_task("training", total=total, models=models, loss="loss –")
        yield lambda done, loss: bar.update(task, completed=sum(done), loss=_range(done, loss))


def _lines(models: int, total: int) -> Watch:
    start = last = time.monotonic()

    def watch(done: Sequence[float], loss: Sequence[float]) -> None:
        nonlocal last
        now, steps = time.monotonic(), sum(done)
        if now - last < LINE:
            return
        last = now
        left = (
            "measuring"
            if steps >= total
            else f"{(now - start) * (total - steps) / steps:,.0f} s left"
            if steps
            else "starting"
        )
        print(
            f"{models} models: {steps:,.0f} of {total:,} model-steps, {_range(done, loss)}, {left}",
            file=sys.stderr,
            flush=True,
        )

    return watch
