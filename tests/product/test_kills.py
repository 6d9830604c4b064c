"""A study that is killed and continued gives the tables of an undisturbed one: a small `nox -s robustness`."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest

from study.execution.run import RunOptions, run_study
from study.spec.read import read_study
from tests.robustness.kills import Count, Study, resumed
from tests.support.tiny import write

PROC = Path("/proc/self/stat").exists()


@pytest.mark.skipif(not PROC, reason="finds the workers by /proc")
def test_kills_change_no_byte_and_leave_no_worker(tmp_path: Path) -> None:
    file = write(tmp_path, {"training": {"batch_size": 8, "steps": 1000, "lr": 0.1}})
    killed, count = Study(file, "full", tmp_path / "killed"), Count()
    process = killed.start()
    deadline = time.monotonic() + 60
    while not any((tmp_path / "killed" / "cache").glob("rows/*/*.bin")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None  # in mid-training: a cell is done, others are not
    process = resumed(killed, process, count)
    assert process.wait() == 0, killed.log()
    assert (count.parents, count.orphans) == (1, 0)
    done = json.loads((tmp_path / "killed" / "out" / "manifest.json").read_text())["cells"]
    assert 0 < len(list((tmp_path / "killed" / "cache").glob("rows/*/*.bin"))) == done
    run_study(read_study(file), tmp_path / "whole", RunOptions(workers=0, cache=tmp_path / "cache"))
    whole = tmp_path / "whole"
    files = [*(whole / "data").glob("*.parquet"), whole / "manifest.json"]
    assert killed.tables() == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert len(files) > 5
