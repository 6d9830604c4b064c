"""The time and memory of a command. They differ from run to run, so that they are not committed."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.files import replace, writing

EVERY = 1.0  # seconds between two samples of the memory


@dataclass
class Usage:
    """The seconds of each stage, and the largest sampled memory of all processes together."""

    seconds: dict[str, float] = field(default_factory=dict)
    peak: int = 0  # bytes, as proportional set sizes: a page that two processes share counts once

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the time and the memory of a stage."""
        start, ended = time.monotonic(), threading.Event()
        sampler = threading.Thread(target=self._sample, args=(ended,), daemon=True)
        sampler.start()
        try:
            yield
        finally:
            ended.set()
            sampler.join()
            self.seconds[name] = round(time.monotonic() - start, 1)

    def _sample(self, ended: threading.Event) -> None:
        while True:
            self.peak = max(self.peak, memory(os.getpid()))
            if ended.wait(EVERY):
                return

    def write(self, out: Path, more: dict[str, Any]) -> None:
        """Write run.json in `out`."""
        log = {"seconds": self.seconds, "peak_bytes": self.peak, **more}
        with writing(out, "--out"):
            replace(out / "run.json", (json.dumps(log, indent=1) + "\n").encode())

    def __str__(self) -> str:
        took = ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in self.seconds.items())
        return f"{took}; at most {self.peak / 1e6:,.0f} MB in all processes"


def memory(process: int) -> int:
    """The bytes that a process and all its descendants hold now.

    These are proportional set sizes on Linux, and resident set sizes elsewhere.
    """
    import psutil

    total = 0
    try:
        parent = psutil.Process(process)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0
    for member in family:
        try:
            full = member.memory_full_info() if sys.platform == "linux" else member.memory_info()
            total += getattr(full, "pss", full.rss)
        except psutil.Error:  # the process has ended meanwhile
            continue
    return total
