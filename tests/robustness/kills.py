"""Kill a study at random moments, go on, and compare its tables with those of a run that nobody disturbed.

    python -m tests.robustness.kills --rounds 6 --kills 5 --seed 0 [--file experiments.yaml --profile smoke]

A round starts from an empty cache and is killed so many times, the whole run or one of its workers, by SIGKILL, at
moments drawn by the seed; then it is left alone. Status 1 where a byte differs or a worker outlives its parent.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

HOME = Path(__file__).parents[2]
ORPHANS = 5.0  # seconds that a worker may outlive its parent
CODE = """
import sys
from pathlib import Path
from study.spec.read import read_study as read
from study.execution.run import RunOptions as How, run_study as run
if __name__ == "__main__":
    file, profile, out, cache = sys.argv[1:]
    run(read(Path(file), profile), Path(out), How(2, cache=Path(cache)))
"""


@dataclass
class Count:
    """What happened."""

    parents: int = 0  # runs that were killed
    workers: int = 0
    resumes: int = 0  # runs that were started again
    orphans: int = 0
    differing: int = 0  # tables, of all rounds


class Study:
    """One study in a folder of its own."""

    def __init__(self, file: Path, profile: str, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        (folder / "go.py").write_text(CODE)
        self._command = [sys.executable, "go.py", str(file.resolve()), profile, "out", "cache"]

    def start(self) -> psutil.Popen:
        """The study, running."""
        environment = {**os.environ, "PYTHONPATH": str(HOME)}
        log = (self._folder / "log").open("a")
        return psutil.Popen(self._command, cwd=self._folder, env=environment, stdout=log, stderr=log)

    def tables(self) -> dict[str, str]:
        """sha256 of every table and of the manifest."""
        files = [*(self._folder / "out" / "data").glob("*.parquet"), self._folder / "out" / "manifest.json"]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def log(self) -> str:
        """What it printed."""
        return (self._folder / "log").read_text()


def workers_of(process: psutil.Popen) -> list[psutil.Process]:
    """The processes that a run has spawned."""
    with contextlib.suppress(psutil.Error):
        return [child for child in process.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    return []


def resumed(study: Study, process: psutil.Popen, count: Count) -> psutil.Popen:
    """The study, running again after its run was killed; workers that outlived it are counted."""
    workers = workers_of(process)
    with contextlib.suppress(psutil.Error):
        process.kill()
    process.wait()
    count.parents += 1
    _, alive = psutil.wait_procs(workers, timeout=ORPHANS)
    count.orphans += len(alive)
    count.resumes += 1
    return study.start()


def disturb(study: Study, seconds: float, kills: int, choice: random.Random, count: Count) -> None:
    """Run the study, killing it or a worker of it `kills` times on the way; at the end it has ended well."""
    process = study.start()
    for _ in range(kills):
        deadline = time.monotonic() + choice.uniform(0.02, 0.7) * seconds
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        workers = workers_of(process)
        if workers and choice.random() < 0.5:
            with contextlib.suppress(psutil.Error):
                choice.choice(workers).kill()
                count.workers += 1
            continue
        process = resumed(study, process, count)
    if process.wait() != 0:
        # the last kill may have hit a worker of the small processes that look at the study before it is trained
        process = study.start()
        count.resumes += 1
        if process.wait() != 0:
            raise SystemExit(f"the study does not go on:\n{study.log()[-3000:]}")


def main() -> int:
    """Print what happened; 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--kills", type=int, default=5, help="per round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", type=Path, default=HOME / "experiments.yaml")
    parser.add_argument("--profile", default="smoke")
    given = parser.parse_args()
    choice, count = random.Random(given.seed), Count()
    with tempfile.TemporaryDirectory() as folder:
        whole = Study(given.file, given.profile, Path(folder) / "whole")
        started = time.monotonic()
        if whole.start().wait() != 0:
            raise SystemExit(f"the study does not run:\n{whole.log()[-3000:]}")
        seconds = time.monotonic() - started
        expected = whole.tables()
        print(f"undisturbed: {seconds:.0f} s, {len(expected)} files", flush=True)
        for number in range(given.rounds):
            study = Study(given.file, given.profile, Path(folder) / f"round-{number}")
            disturb(study, seconds, given.kills, choice, count)
            found = study.tables()
            count.differing += sum(found.get(name) != digest for name, digest in expected.items())
            print(f"round {number + 1}: {count}", flush=True)
    print(
        f"kills: {count.parents + count.workers} ({count.parents} of the run, {count.workers} of a worker), "
        f"resumes: {count.resumes}, orphans: {count.orphans}, differing tables: {count.differing}"
    )
    return int(count.differing > 0 or count.orphans > 0)


if __name__ == "__main__":
    sys.exit(main())
