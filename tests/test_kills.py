"""A study that is killed and goes on gives the tables of one that was left alone: a small version of `nox -s robustness`."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from finished import quick_run
from tiny import write

from study.resolve import read
from study.run import How
from tests.robustness.kills import Count, Study, disturb

PROC = Path("/proc/self/stat").exists()


@pytest.mark.skipif(not PROC, reason="finds the workers by /proc")
def test_kills_change_no_byte_and_leave_no_worker(tmp_path: Path) -> None:
    file = write(tmp_path, {"training": {"batch_size": 8, "steps": 6000, "lr": 0.1}})
    killed, count = Study(file, "full", tmp_path / "killed"), Count()
    disturb(killed, 8.0, 1, random.Random(1), count)
    assert (count.parents + count.workers, count.orphans) == (1, 0)
    quick_run(read(file), tmp_path / "whole", How(workers=1, cache=tmp_path / "cache"))
    whole = tmp_path / "whole"
    files = [*(whole / "data").glob("*.parquet"), whole / "manifest.json"]
    assert killed.tables() == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert len(files) > 5
