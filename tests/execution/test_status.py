"""What `study plan` says of the cache: done, new, stale and why; and what another run finds."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from study import codehash, parquet
from study.errors import SpecError
from study.execution.cache import Cache, Store
from study.execution.keys import keys_of
from study.execution.listing import plan_text
from study.execution.plan import plan_study
from study.execution.prepare import prepare
from study.execution.run import RunOptions
from study.execution.run import run_study as run
from study.execution.status import statuses
from study.execution.usage import Usage
from study.measurement.rows import Request, as_rows
from study.spec.records import Spec
from study.spec.subset import only_conditions
from study.training.trajectory import Trajectory
from tests.support.tiny import load, one_line, write

HERE = Path(__file__).parents[1]


def store(spec: Spec, folder: Path) -> Store:
    found = spec.data.load(spec.folder)
    reading = Request(spec.measure, spec.batch_sizes)
    return Store(Cache(folder / "cache"), keys_of(found.key(), reading, "cpu"))


def said(spec: Spec, folder: Path) -> Counter[str]:
    """How many cells there are in each state."""
    return Counter(statuses(spec, plan_study(spec), store(spec, folder)).values())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study's tables and its cache."""
    folder = tmp_path_factory.mktemp("done")
    assert said(load(folder), folder) == {"new": 10}
    run(load(folder), folder / "out", RunOptions(workers=0, cache=folder / "cache"))
    return folder


def test_what_was_run_is_done(done: Path) -> None:
    assert said(load(done), done) == {"done": 10}
    assert run(load(done), done / "again", RunOptions(workers=0, cache=done / "cache")).trained == 0


def test_a_change_is_stale_with_its_reason(done: Path, tmp_path: Path) -> None:
    file = write(done, {"training.batch_size": 9})
    assert said(load(done, {"training.batch_size": 9}), done) == {"stale: training.batch_size 8 → 9": 10}
    assert file.exists()


def test_a_new_name_and_place_are_no_change(done: Path) -> None:
    study = load(done, {"title": "another title", "conditions.baseline.title": "another name"})
    assert said(study, done) == {"done": 10}
    assert said(only_conditions(study, ["baseline"]), done) == {"done": 2}


def test_a_changed_seed_is_a_new_cell_and_leaves_the_others(done: Path) -> None:
    found = said(load(done, {"seeds": [0, 5]}), done)
    assert found["done"] == 6
    assert found["new"] == 4


DIGEST = codehash.code_digest


def changed(patch: pytest.MonkeyPatch, *roles: codehash.Role) -> None:
    """The code of these roles is another than it is."""
    patch.setattr(codehash, "code_digest", lambda role: "changed" if role in roles else DIGEST(role))


def test_changed_source_is_named(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, "measuring")
    assert said(load(done), done) == {"trained; to be measured again: the code that measures changed": 10}
    changed(monkeypatch, "autograd", "fused")
    assert said(load(done), done) == {"stale: the code that trains changed": 10}
    changed(monkeypatch, "fused")
    assert said(load(done), done) == {"done": 2, "stale: the code that trains changed": 8}


def test_a_new_measurement_trains_nothing(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        changed(patch, "measuring")
        one = store(load(done), done)
        cell, engine = next(iter(plan_study(load(done)).engines.items()))
        assert not one.measured(cell, engine)
        kept = one.trajectory(cell, engine)
        assert kept is not None
        assert kept.step == cell.schedule.steps


def test_a_new_step_to_measure_says_how_many_steps_it_costs(done: Path) -> None:
    """States are there at 0, 1, 2, 5, 10, 20 and the end: at 30, or at 10 for the short ones."""
    found = said(load(done, {"measure": [4, 10, 23]}), done)
    changed = "reading.measure [10] → [4, 10, 23]"
    again = "steps of it again, for states that were not kept; then to be measured again"
    assert found == {f"trained; 5 {again}: {changed}": 8, f"trained; 2 {again}: {changed}": 2}
    assert said(load(done, {"measure": [20]}), done) == {
        "trained; to be measured again: reading.measure [10] → [20]": 10
    }
    run(load(done, {"measure": [4, 10, 23]}), done / "more", RunOptions(workers=0, cache=done / "cache"))
    assert said(load(done), done) == {"done": 10}


def test_an_unfinished_training_says_where_it_stopped(done: Path) -> None:
    spec = load(done, {"training.batch_size": 7})
    one, work = store(spec, done), plan_study(spec)
    cell, engine = next(iter(work.engines.items()))
    whole = store(load(done), done)
    finished = whole.trajectory(*next(iter(plan_study(load(done)).engines.items())))
    assert finished is not None
    one.keep(cell, engine, Trajectory(finished.states[:4], finished.losses[: finished.states[3].step]))
    at = finished.states[3].step
    assert said(spec, done)[f"stopped at step {at}; {30 - at} steps to go"] == 1
    assert one.left(cell, engine) == cell.schedule.steps - at
    steps = work.model_steps() - at
    assert f"\n{steps:,} model-steps: about" in plan_text(spec, 2, "auto", "cpu", done / "cache")


def test_what_is_only_to_be_measured_counts_as_trained(tmp_path: Path) -> None:
    how = RunOptions(workers=0, cache=tmp_path / "cache")
    first = run(load(tmp_path), tmp_path / "out", how)
    assert (first.trained, first.model_steps) == (10, plan_study(load(tmp_path)).model_steps())
    again = load(tmp_path, {"evaluation.batch_sizes": [2]})
    plans = plan_text(again, 2, "auto", "cpu", how.cache)
    assert "10 cells (10 trained):" in plans
    assert plans.endswith("nothing to train: what is not done is to be measured")
    second = run(again, tmp_path / "out", how)
    assert (second.trained, second.model_steps) == (0, 0)


def test_a_plan_for_another_device_looks_for_what_was_done_on_it(tmp_path: Path) -> None:
    spec = load(tmp_path)
    cell = next(iter(plan_study(spec, "auto", "cuda").engines))
    there = store(spec, tmp_path)
    replace(there, keys=replace(there.keys, device="cuda")).keep_rows(cell, "autograd", as_rows({}))
    for device, found in (("cuda:0", "1 done, 9 new"), ("cpu", "10 new")):
        assert f"10 cells ({found}):" in plan_text(spec, 2, "auto", device, tmp_path / "cache")


def test_what_an_older_version_made_is_said_to_be_so(done: Path, tmp_path: Path) -> None:
    """Such a version left facts whose format is an older one, and entries that no key of today leads to."""
    cache = tmp_path / "cache"
    shutil.copytree(done / "cache" / "last", cache / "last")
    (notes,) = (cache / "last").iterdir()
    facts = json.loads(notes.read_bytes())
    for slot in facts.values():
        slot["training"]["format"] = 1
    notes.write_text(json.dumps(facts))
    spec = load(done)
    assert said(spec, tmp_path) == {"stale: made by an older version": 10}
    assert "10 cells (10 stale):" in plan_text(spec, 0, "auto", "cpu", cache)


def test_a_removed_entry_is_said_to_be_gone(done: Path, tmp_path: Path) -> None:
    run(load(tmp_path), tmp_path / "out", RunOptions(workers=0, cache=tmp_path / "cache"))
    for kind in ("rows", "trajectories"):
        for path in (tmp_path / "cache" / kind).rglob("*.bin"):
            path.unlink()
    assert said(load(tmp_path), tmp_path) == {"new: its entry is gone from the cache": 10}


def test_workers_are_told_where_the_cache_is_and_not_where_it_is_from_here(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(done)
    assert prepare(load(done), "auto", "cpu", Path("cache")).store.cache.folder == done / "cache"


def test_two_runs_into_one_folder_do_not_mix(done: Path) -> None:
    with FileLock(done / "out" / ".lock"), pytest.raises(SpecError, match="another run is writing here"):
        run(load(done), done / "out", RunOptions(workers=0, cache=done / "cache"))
    run(load(done), done / "out", RunOptions(workers=0, cache=done / "cache"))  # the lock is gone with its holder


def test_tables_that_cannot_be_written_are_one_line_and_leave_those_before(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {path: path.read_bytes() for path in (done / "out").rglob("*") if path.is_file()}
    monkeypatch.setattr(parquet, "write", full)
    with pytest.raises(SpecError, match="cannot be written \\(No space left on device\\)") as refused:
        run(load(done), done / "out", RunOptions(workers=0, cache=done / "cache"))
    one_line(str(refused.value))
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in (done / "out").rglob("*") if path.is_file()} == before
    Usage().write(done / "out", {"cells": 10})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpecError, match="cannot be written"):
        Usage().write(done / "out", {"cells": 11})
    assert json.loads((done / "out" / "run.json").read_bytes())["cells"] == 10


@pytest.mark.slow
def test_two_studies_at_once_share_a_cache(tmp_path: Path) -> None:
    write(tmp_path)
    code = (
        "import sys; from pathlib import Path; from study.spec.read import read_study as read; from study.execution.run"
        " import RunOptions as How, run_study as run\nif __name__ == '__main__': run(read(Path('tiny.yaml')),"
        " Path(sys.argv[1]), How(1, cache=Path('cache')))"
    )
    (tmp_path / "both.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    both = [
        subprocess.Popen(
            [sys.executable, "both.py", out], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        )
        for out in ("a", "b")
    ]
    for process in both:
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
    for table in ("losses", "metrics", "curves", "cells"):
        a, b = ((tmp_path / out / "data" / f"{table}.parquet").read_bytes() for out in ("a", "b"))
        assert a == b
        assert len(pd.read_parquet(tmp_path / "a" / "data" / f"{table}.parquet"))
