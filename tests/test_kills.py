"""A study that is killed and goes on gives the tables of one that was left alone: a small version of `nox -s robustness`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tiny import HERE, write

from tests.robustness.kills import Count, Study, disturb

PROC = Path("/proc/self/stat").exists()


@pytest.mark.skipif(not PROC, reason="finds the workers by /proc")
def test_kills_change_no_byte_and_leave_no_worker(tmp_path: Path) -> None:
    longer = {"training": {"batch_size": 8, "steps": 20_000, "lr": 0.1}}
    file = write(tmp_path, longer)
    assert (HERE / "tiny.yaml").read_bytes() != file.read_bytes()
    whole, killed, count = Study(file, "full", tmp_path / "whole"), Study(file, "full", tmp_path / "killed"), Count()
    assert whole.start().wait() == 0, whole.log()
    disturb(killed, 15.0, 3, random.Random(1), count)
    assert count.parents + count.workers == 3
    assert count.parents
    assert count.workers
    assert count.orphans == 0
    assert killed.tables() == whole.tables()
    assert len(whole.tables()) > 5
