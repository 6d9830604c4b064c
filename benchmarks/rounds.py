"""Time peers in turns: a process per peer and core takes short slices in a shuffled order, over several rounds."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.worker import ONE_THREAD

ROOT = Path(__file__).parents[1]


class Worker:
    """A process that runs one peer on its cores."""

    def __init__(self, name: str, cores: Sequence[int]) -> None:
        self.name, self.cores = name, tuple(cores)
        command = [sys.executable, "-m", "benchmarks.worker", name, ",".join(map(str, cores))]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | ONE_THREAD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, **request: Any) -> None:
        """Send a request. `receive` returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The answer to the oldest open request."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the process of {self.name} ended; its error is above"
        return json.loads(line)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the input of the process, so that it ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def ask(workers: Sequence[Worker], **request: Any) -> list[dict[str, Any]]:
    """The answers of all workers, which work at the same time."""
    for worker in workers:
        worker.send(**request)
    return [worker.receive() for worker in workers]


def key(work: dict[str, Any]) -> str:
    """The name by which a worker knows the peer of a work."""
    return json.dumps(work, sort_keys=True)


def curve(workers: Sequence[Worker], work: dict[str, Any], steps: int) -> dict[str, Any]:
    """The mean losses at both ends of the first worker's first `steps` steps. All workers make the peer in parallel."""
    reasons = [answer["absent"] for answer in ask(workers, do="make", key=key(work), work=work)]
    if any(reasons):
        return {"absent": next(filter(None, reasons))}
    return ask(workers[:1], do="curve", key=key(work), steps=steps)[0]


@dataclass
class Job:
    """A line of the results: a peer at one work on some cores, with a measurement per round."""

    workers: list[Worker]
    work: dict[str, Any]
    facts: dict[str, Any]  # the entries of its row
    steps: int = 1  # the steps of a slice
    model_steps: float = 0  # the model-steps in one step of all workers
    note: str = ""
    absent: bool = False
    figures: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)  # the shares of its cores' time that the peer got

    @property
    def key(self) -> str:
        """The name by which the workers know its peer. Jobs of the same work share a peer."""
        return key(self.work)

    @property
    def cores(self) -> int:
        """The number of cores on which it runs."""
        return sum(len(worker.cores) for worker in self.workers)

    def prepare(self, seconds: float) -> None:
        """Make the peer, warm it up, and choose the steps of a slice of about `seconds` seconds."""
        answers = ask(self.workers, do="make", key=self.key, work=self.work)
        self.note = next((a["absent"] for a in answers if a["absent"]), "")
        if self.note:
            self.absent = True
            return
        self.note, block = answers[0]["note"], answers[0]["block"]
        self.model_steps = sum(a["model_steps"] for a in answers)
        for self.steps in (block, block):  # the first one compiles
            duration = max(a["seconds"] for a in self._slice())
        self.steps = max(1, round(seconds / duration)) * block

    def _slice(self) -> list[dict[str, Any]]:
        ask(self.workers, do="draw", key=self.key, steps=self.steps)
        return ask(self.workers, do="run", key=self.key, steps=self.steps)

    def measure(self) -> None:
        """Run one slice on all its cores at once, and note the µs per model-step per core."""
        share = self.model_steps / len(self.workers) * self.steps
        answers = self._slice()
        rate = sum(share / answer["seconds"] for answer in answers)  # model-steps per second
        self.shares.append(sum(a["cpu_seconds"] / a["seconds"] for a in answers) / self.cores)
        self.figures.append(1e6 * self.cores / rate)

    def row(self) -> dict[str, Any]:
        """The row: the facts with median, low and high over the rounds, which are None where the peer is absent."""
        f = self.figures
        middle, low, high = (statistics.median(f), min(f), max(f)) if f else (None, None, None)
        measured = {"us_per_model_step": _short(middle), "low": _short(low), "high": _short(high)}
        return {**self.facts, **measured, "note": self.note}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def take_turns(jobs: Sequence[Job], rounds: int, seed: int, progress: Callable[[str], None]) -> None:
    """Run every job once per round, unless it is absent, in a new order each time: disturbances hit all alike."""
    present, order = [job for job in jobs if not job.absent], random.Random(seed)
    for number in range(rounds):
        order.shuffle(present)
        for job in present:
            job.measure()
        progress(f"round {number + 1} of {rounds}")
