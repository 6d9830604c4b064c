"""Measure the time of one SGD step of one model: by the study's engines, by their peers, and by the limit.

    python -m benchmarks.speed [--quick] [--readme]

Writes benchmarks/results.json and benchmarks/results.svg; a quick run writes to build/bench/ instead. --readme replaces
the part of benchmarks/README.md between its bench markers.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import figure, gpu, results, table
from benchmarks.peers import PEERS
from benchmarks.rounds import ROOT, Job, Worker, curve, take_turns
from benchmarks.work import CONDITIONS, MODELS, Work, examples, flops, summary

SEED = 0  # the seed of the order of the slices
IDLE = 0.97  # the least share of a core's time that a peer gets when nothing else runs
OURS = ("autograd", "fused")


@dataclass(frozen=True)
class Extent:
    """The extent of the measurements."""

    rounds: int
    seconds: float  # the least duration of a slice
    compared: int  # the models whose curves are compared with the lecture's loop
    models: tuple[int, ...]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    scaling_rounds: int


FULL = Extent(9, 0.4, MODELS, (1, 2, 5, 10, 20, 50, 100), (50, 100, 200, 300, 500, 700, 1000), (1, 2, 3, 4, 5, 6), 5)
QUICK = Extent(3, 0.05, 1, (1, 10), (50, 300), (1, 4), 2)
CURVE = 1000  # the steps of the curves that are compared

Workers = dict[str, dict[int, list[Worker]]]  # by peer and number of cores


def main(arguments: Sequence[str] | None = None) -> None:
    """The `benchmarks.speed` command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="about a minute, written to build/bench/")
    parser.add_argument(
        "--readme", action="store_true", help="replace the part of benchmarks/README.md between its bench markers"
    )
    asked = parser.parse_args(arguments)
    folder = ROOT / "build" / "bench" if asked.quick else Path(__file__).parent
    found = measure(QUICK if asked.quick else FULL)
    folder.mkdir(parents=True, exist_ok=True)
    results.write(found, folder / results.PATH.name)
    figure.write(found, folder / figure.PATH.name)
    print(table.markdown(found, figure.describe(found)))
    if asked.readme and not table.update(found, figure.describe(found)):
        sys.exit(f"benchmarks/README.md has no part between {table.OPEN} and {table.CLOSE}")


def measure(extent: Extent) -> dict[str, Any]:
    """Measure everything in order: curves, all peers, our engines over models, widths and depths, and the GPU."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    with ExitStack() as stack:
        workers = start(cores, stack)
        say("curves")
        curves = list(compare(workers, extent.compared))
        results.check_curves(curves)
        jobs = list(rows_jobs(workers, cores))
        timed(jobs, extent.seconds, extent.rounds, "engines")
        scaling = list(scaling_jobs(workers, extent))
        timed(scaling, extent.seconds, extent.scaling_rounds, "scaling")
    say("GPU")
    return {
        "machine": {**results.machine(len(cores)), "cpu_share": share(jobs)},
        "versions": results.versions(),
        "work": {**summary(), "rounds": extent.rounds},
        "rows": [job.row() for job in jobs],
        "scaling": [job.row() for job in scaling],
        "gpu": gpu.rows(extent.rounds, extent.seconds),
        "curves": curves,
    }


def start(cores: Sequence[int], stack: ExitStack) -> Workers:
    """Start the processes of every peer for one core and for all. Where there is one per core, it serves for both."""
    found: Workers = {}
    for name, entry in PEERS.items():
        single = [stack.enter_context(closing(Worker(name, cores[:1])))]
        found[name] = {1: single}
        if len(cores) > 1:
            others = [cores] if entry.threads else [[core] for core in cores[1:]]
            more = [stack.enter_context(closing(Worker(name, places))) for places in others]
            found[name][len(cores)] = more if entry.threads else single + more
    return found


def compare(workers: Workers, compared: int) -> Iterator[dict[str, Any]]:
    """The rows that compare the curve of every peer with that of the lecture's loop."""
    for norm in CONDITIONS:
        reference: dict[str, Any] = {}
        for name, entry in PEERS.items():
            if entry.trains:
                work = as_json(Work(norm, compared if entry.one_model else MODELS))
                answer = curve(workers[name][max(workers[name])], work, CURVE)
                reference = reference or answer
                yield results.curve_row(name, norm, answer, reference, CURVE)


def rows_jobs(workers: Workers, cores: Sequence[int]) -> Iterator[Job]:
    """A job per engine, norm and number of cores. Every core has as many models as a single core."""
    for name, entry in PEERS.items():
        for norm in CONDITIONS:
            for count, processes in workers[name].items():
                each = 1 if entry.one_model else MODELS
                work = Work(norm, each * count if entry.threads else each)
                facts = {"engine": name, "title": entry.title, "norm": norm, "cores": count}
                yield Job(processes, as_json(work), {**facts, "models": each * count if entry.trains else None})


def scaling_jobs(workers: Workers, extent: Extent) -> Iterator[Job]:
    """A job per engine of the study and number of models, width or depth, on one core."""
    works = [("models", n, Work("none", n)) for n in extent.models]
    works += [("width", w, Work("none", widths=(w,))) for w in extent.widths]
    works += [("depth", d, Work("none", widths=(100,) * d)) for d in extent.depths]
    for name in OURS:
        for axis, value, work in works:
            mflop = flops(work.network, examples().vocabulary, work.schedule.batch_size) / 1e6
            facts = {"engine": name, "norm": "none", "axis": axis, "value": value, "models": work.models, "cores": 1}
            yield Job(workers[name][1], as_json(work), {**facts, "mflop": mflop})


def timed(jobs: Sequence[Job], seconds: float, rounds: int, title: str) -> None:
    """Prepare the jobs, then measure them in turns."""
    for number, job in enumerate(jobs, 1):
        say(f"{title}: preparing {number} of {len(jobs)}")
        job.prepare(seconds)
    take_turns(jobs, rounds, SEED, lambda text: say(f"{title}: {text}"))


def share(jobs: Sequence[Job]) -> float:
    """The median share of its core's time that a peer on one core got: 1 on an idle machine. A low one is reported."""
    found = round(median(share for job in jobs if job.cores == 1 for share in job.shares), 3)
    if found < IDLE:
        say(f"other work had {1 - found:.0%} of the core: these times are no measurement; run again on an idle machine")
    return found


def as_json(work: Work) -> dict[str, Any]:
    """The work as the entries of a request."""
    return {"norm": work.norm, "models": work.models, "widths": work.widths}


def say(text: str) -> None:
    """Print progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
