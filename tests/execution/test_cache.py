"""The cache: what it gives back is what was kept, bit for bit, or nothing at all."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.errors import SpecError
from study.execution import cache as module
from study.execution import keys as keys_module
from study.execution import shard as shard_module
from study.execution.cache import Cache, Store, remember
from study.execution.housekeeping import clean_cache
from study.execution.keys import Keys, difference
from study.execution.shard import train_shard
from study.files import writable
from study.measurement.rows import SCHEMAS, Request, Rows, as_rows
from study.measurement.rows import decode as decode_rows
from study.training import loop
from study.training.cells import Cell, Engine, Stack
from study.training.trajectory import Trajectory, boundaries, decode
from tests.support.nets import cell, dataset, network
from tests.support.tiny import one_line

READING = Request((20,), (2, 8))
DATA = dataset()
KEYS = Keys({"sha256": "0"}, READING, "cpu", "x86_64 avx2")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Cache(tmp_path), KEYS)


def cells(norm: str = "batch", steps: int = 40) -> tuple[Cell, ...]:
    """Two seeds, and the twin of the first."""
    setup = network((8,), norm)  # type: ignore[arg-type]
    pair = cell(setup, 0, steps), cell(setup, 1, steps)
    return (*pair, replace(pair[0], twin=True))


def text(found: dict[Cell, Rows]) -> dict[Cell, str]:
    """Rows as text: a NaN equals a NaN."""
    return {one: repr({name: rows.listed(name) for name in SCHEMAS}) for one, rows in found.items()}


def files(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / kind).rglob("*.bin"))


# -- what is kept -------------------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were(store: Store) -> None:
    one = cells()[0]
    rows = train_shard(Stack((one,)), DATA, READING)[one]
    odd = [{**row, "loss": loss} for row, loss in zip(rows.listed("losses"), (math.inf, math.nan, None), strict=False)]
    rows = Rows({**rows.tables, "losses": as_rows({"losses": odd})["losses"]})
    store.keep_rows(one, "autograd", rows)
    again = store.rows(one, "autograd")
    assert again is not None
    assert text({one: again}) == text({one: rows})
    assert [repr(row["loss"]) for row in again.listed("losses")] == ["inf", "nan", "None"]


def test_encoding_keeps_the_order_and_the_type_of_every_value() -> None:
    losses = [{"step": 1, "loss": 0.1}, {"step": 2, "loss": None, "batch_size": 3}]
    histogram = {"step": 0, "layer": 1, "quantity": "h", "edges": [-math.inf, 0.0, math.inf], "counts": [1.0, 2.0]}
    rows = as_rows({"losses": losses, "pictures": [{"units": "01"}], "histograms": [histogram]})
    again = decode_rows(rows.encode())
    assert {name: table.schema for name, table in again.tables.items()} == SCHEMAS
    found = again.listed("losses")
    assert [(row["step"], row["loss"], row["batch_size"]) for row in found] == [(1, 0.1, None), (2, None, 3)]
    assert type(found[0]["step"]) is int
    assert again.listed("pictures")[0]["units"] == "01"
    assert again.listed("histograms") == [histogram]
    assert again.listed("curves") == []
    assert rows.encode() == again.encode()


@pytest.mark.parametrize("content", [b"", b"{}", b"ARROW1", bytes(100)])
def test_what_holds_no_rows_is_told(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode_rows(content)


def test_a_row_with_an_unknown_column_is_refused() -> None:
    with pytest.raises(AssertionError, match="losses: unknown columns"):
        as_rows({"losses": [{"step": 1}, {"los": 1.0}]})
    with pytest.raises(AssertionError, match="unknown tables"):
        as_rows({"loss": []})


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_a_trajectory_comes_back_bit_for_bit(store: Store, engine: Engine) -> None:
    stack = Stack(cells(), engine)
    train_shard(stack, DATA, READING, store=store)
    found = store.trajectory(stack.cells[0], engine)
    assert found is not None
    again = decode(found.encode())
    assert again.losses.tobytes() == found.losses.tobytes()
    assert [state.step for state in found.states] == [0, 1, 2, 5, 10, 20, 40]
    for a, b in zip(again.states, found.states, strict=True):
        assert (
            a.arrays.keys() == b.arrays.keys() == {"C", "W1", "b1", "bngain1", "bnbias1", "mean1", "std1", "W2", "b2"}
        )
        assert all(a.arrays[name].tobytes() == b.arrays[name].tobytes() for name in a.arrays)
        assert a.upcoming.tolist() == b.upcoming.tolist()


def test_what_is_no_trajectory_is_refused() -> None:
    for content in (b"", b"{}", os.urandom(100)):
        with pytest.raises(ValueError, match=r"."):
            decode(content)


# -- going on -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["autograd", "fused"])
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("kept", [(0, 0, 0), (3, 3, 3), (6, 6, 6), (7, 3, 1), (2, 7, 5)])
def test_going_on_gives_the_bits_of_never_having_stopped(
    store: Store, engine: Engine, norm: str, kept: tuple[int, ...]
) -> None:
    """Every cell kept up to a pause of its own: whatever is left to train, the rows are those of one go."""
    stack = Stack(cells(norm), engine)
    expected = text(train_shard(stack, DATA, READING, store=store))
    for one, states in zip(stack.cells, kept, strict=True):
        whole = store.trajectory(one, engine)
        assert whole is not None
        part = whole.states[:states]
        store.keep(one, engine, Trajectory(part, whole.losses[: part[-1].step if part else 0]))
    assert text(train_shard(stack, DATA, READING, store=store)) == expected


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_a_checkpoint_lies_between_pauses_and_training_goes_on_from_it(
    store: Store, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "BLOCK", 7)
    monkeypatch.setattr(loop, "CHECKPOINT", -1.0)  # after every block
    seen: list[int] = []

    def stop(done: int, loss: float) -> None:
        found = store.trajectory(stack.cells[0], engine)
        seen.append(0 if found is None else found.step)
        if done >= 3 * 27:
            raise KeyboardInterrupt

    stack = Stack(cells(steps=60), engine)
    with pytest.raises(KeyboardInterrupt):
        train_shard(stack, DATA, READING, report=stop, store=store)
    assert seen[-1] == 17  # between 10 and 20: no pause
    found = store.trajectory(stack.cells[0], engine)
    assert found is not None
    steps: list[int] = []
    rows = train_shard(stack, DATA, READING, report=lambda done, _: steps.append(done), store=store)
    assert steps[0] == 3 * 20  # from there
    assert text(rows) == text(train_shard(stack, DATA, READING))
    finished = store.trajectory(stack.cells[0], engine)
    assert finished is not None
    assert [state.step for state in finished.states] == [0, 1, 2, 5, 10, 17, 20, 50, 60]


def reading(store: Store, *measure: int) -> tuple[Request, Store]:
    """Another study of the same cells, which measures at these steps, and the store as it sees it."""
    found = Request(measure, (2, 8))
    return found, replace(store, keys=replace(KEYS, reading=found))


@pytest.mark.parametrize("engine", ["autograd", "fused"])
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(
    ("measure", "trained"),
    [((30,), 30 - 20), ((23, 30), 30 - 20), ((4, 8, 33), (4 - 2) + (8 - 5) + (33 - 20)), ((20,), 0), ((), 0)],
)
def test_a_new_step_to_measure_is_trained_from_the_state_before_it_and_no_further(
    store: Store, engine: Engine, norm: str, measure: tuple[int, ...], trained: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "BLOCK", 1)  # a report after every step
    stack, done = Stack(cells(norm), engine), list[int]()
    train_shard(stack, DATA, READING, store=store)
    new, other = reading(store, *measure)
    assert {(store.left(one, engine), other.left(one, engine)) for one in stack.cells} == {(0, trained)}
    rows = train_shard(stack, DATA, new, report=lambda n, _: done.append(n), store=other)
    assert len(done) in (trained, 3 * trained)  # together, or one by one
    assert done[-1:] == [3 * 40][: len(done)]  # what was there counts as done
    assert text(rows) == text(train_shard(stack, DATA, new))
    kept = store.trajectory(stack.cells[0], engine)
    assert kept is not None
    assert kept.steps == {0, 1, 2, 5, 10, 20, 40, *measure}
    assert len(kept.losses) == 40


def test_two_studies_of_the_same_cells_keep_each_others_states(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(cells())
    new, other = reading(store, 7, 33)
    first = text(train_shard(stack, DATA, READING, store=store))
    second = text(train_shard(stack, DATA, new, store=other))
    monkeypatch.setattr(shard_module, "trainer", None)  # from here on nothing is trained
    assert text(train_shard(stack, DATA, READING, store=store)) == first
    assert text(train_shard(stack, DATA, new, store=other)) == second


def test_filling_a_gap_never_makes_a_finished_training_an_unfinished_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, reports = Stack(cells()), list[int]()
    train_shard(stack, DATA, READING, store=store)
    new, other = reading(store, 33)
    monkeypatch.setattr(loop, "BLOCK", 3)
    monkeypatch.setattr(loop, "CHECKPOINT", -1.0)  # after every block

    def stop(done: int, loss: float) -> None:
        reports.append(done)
        if len(reports) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_shard(stack, DATA, new, report=stop, store=other)
    kept = store.trajectory(stack.cells[0], "autograd")
    assert kept is not None
    assert (kept.step, len(kept.losses)) == (40, 40)
    assert kept.steps == {0, 1, 2, 5, 10, 20, 26, 40}
    rows = train_shard(stack, DATA, new, report=lambda done, _: reports.append(done), store=other)
    assert reports[3] == 3 * (40 - 33 + 29)  # on from step 26
    assert text(rows) == text(train_shard(stack, DATA, new))


@given(
    kept=st.sets(st.sampled_from(sorted(boundaries(cells()[0].schedule, (3, 7, 15, 23, 33)))), max_size=12),
    measure=st.sets(st.integers(1, 40), max_size=4),
)
@settings(max_examples=12, deadline=None)
def test_whatever_states_are_there_what_is_trained_ends_in_the_same_bits(kept: set[int], measure: set[int]) -> None:
    one = cells("batch")[0]
    new = Request(tuple(sorted(measure)), ())
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Cache(Path(folder)), KEYS)
        train_shard(Stack((one,)), DATA, Request((3, 7, 15, 23, 33), ()), store=store)
        whole = store.trajectory(one, "autograd")
        assert whole is not None
        states = tuple(state for state in whole.states if state.step in kept)
        store.keep(one, "autograd", Trajectory(states, whole.losses[: states[-1].step if states else 0]))
        assert text(train_shard(Stack((one,)), DATA, new, store=store)) == text(train_shard(Stack((one,)), DATA, new))


def test_what_is_finished_is_measured_and_not_trained(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(cells())
    expected = text(train_shard(stack, DATA, READING, store=store))
    monkeypatch.setattr(shard_module, "trainer", None)
    assert text(train_shard(stack, DATA, READING, store=store)) == expected


# -- damage -------------------------------------------------------------------------------------------------------


def test_no_altered_byte_is_believed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Every byte of the head and 200 of the content, of both kinds: never read as sound, never fatal."""
    one = cells("none")[0]
    train_shard(Stack((one,)), DATA, READING, store=store)
    for kind in ("trajectories", "rows"):
        (path,) = files(store.cache.folder, kind)
        sound = path.read_bytes()
        head = sound.index(b"\n") + 1
        places = [*range(head), *random.Random(0).sample(range(head, len(sound)), 200)]
        for place in places:
            path.write_bytes(sound[:place] + bytes([sound[place] ^ 1 << place % 8]) + sound[place + 1 :])
            assert store.cache.read(kind, path.stem) is None, place  # type: ignore[arg-type]
        for length in (0, 1, head - 1, head, head + 1, len(sound) - 1):
            path.write_bytes(sound[:length])
            assert store.cache.read(kind, path.stem) is None, length  # type: ignore[arg-type]
        path.write_bytes(sound + b"\0")
        assert store.cache.read(kind, path.stem) is None  # type: ignore[arg-type]
        path.write_bytes(sound)
        assert store.cache.read(kind, path.stem) == sound[head:]  # type: ignore[arg-type]
    assert "set aside" in capsys.readouterr().err


def test_damage_is_said_set_aside_and_made_again(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    stack = Stack(cells("none"))
    expected = text(train_shard(stack, DATA, READING, store=store))
    for path in files(store.cache.folder, "trajectories")[:2]:
        path.write_bytes(path.read_bytes()[:-1])
    assert text(train_shard(stack, DATA, READING, store=store)) == expected
    said = capsys.readouterr().err
    assert said.count("damaged (its checksum does not match); set aside") == 2
    assert len(list(store.cache.folder.rglob("*.damaged"))) == 2
    assert len(files(store.cache.folder, "trajectories")) == 3


def test_an_entry_under_anothers_name_is_not_believed(store: Store) -> None:
    train_shard(Stack(cells("none")), DATA, READING, store=store)
    first, second, _ = files(store.cache.folder, "rows")
    os.replace(first, second)
    assert store.cache.read("rows", second.stem) is None


def test_sound_bytes_that_hold_something_else_are_set_aside(store: Store) -> None:
    one = cells("none")[0]
    train_shard(Stack((one,)), DATA, READING, store=store)
    for kind in ("trajectories", "rows"):
        (path,) = files(store.cache.folder, kind)
        for content in (b"", b"[]", b"{}", os.urandom(50)):
            store.cache.write(kind, path.stem, content)  # type: ignore[arg-type]
            assert store.trajectory(one, "autograd") is None or kind == "rows"
            assert store.rows(one, "autograd") is None or kind == "trajectories"


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_write_that_breaks_off_leaves_what_was_there(
    store: Store, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.cache.write("rows", "ab12", b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if moment == "write":
        monkeypatch.setattr("study.files.open", full, raising=False)
    else:
        monkeypatch.setattr(module.os, moment, full)
    with pytest.raises(SpecError, match="No space left on device") as refused:
        store.cache.write("rows", "ab12", b"new")
    one_line(str(refused.value))
    monkeypatch.undo()
    assert store.cache.read("rows", "ab12") == b"old"
    assert [path.name for path in store.cache.folder.rglob("*") if path.is_file()] == ["ab12.bin"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_an_entry_is_for_those_whom_the_umask_lets_read_it(store: Store, umask: int) -> None:
    before = os.umask(umask)
    try:
        store.cache.write("rows", "ab12", b"x")
    finally:
        os.umask(before)
    (path,) = files(store.cache.folder, "rows")
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def forbidden(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_a_damaged_entry_that_cannot_be_moved_is_said_and_not_believed(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.cache.write("rows", "ab12", b"x")
    files(store.cache.folder, "rows")[0].write_bytes(b"altered")
    monkeypatch.setattr(module.os, "replace", forbidden)
    assert store.cache.read("rows", "ab12") is None
    assert "not to be moved (Operation not permitted)" in capsys.readouterr().err


def test_what_cannot_be_removed_is_counted_and_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.cache.write("rows", "ab12", b"x" * 1_000_000)
    left = store.cache.folder / "rows" / "ab" / ".tmp-old"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 2 * module.LEFT,) * 2)
    monkeypatch.setattr(Path, "unlink", forbidden)
    store.cache.tidy()
    report = clean_cache(store.cache, "0d")
    assert "removed 0.0 MB" in report
    assert "2 files could not be removed" in report
    assert "rows: 2 files, 1.0 MB" in report


def test_a_file_where_the_cache_should_be_holds_nothing_and_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    cache = Cache(tmp_path / "notes.txt")
    assert cache.read("rows", "ab12") is None
    with pytest.raises(SpecError, match="cannot be written"):
        cache.write("rows", "ab12", b"x")
    for folder in (cache.folder, cache.folder / "below"):
        with pytest.raises(SpecError, match="choose another folder with --cache") as refused:
            writable(folder, "--cache")
        one_line(str(refused.value))
    assert (tmp_path / "notes.txt").read_text() == "precious"


# -- keys ---------------------------------------------------------------------------------------------------------


def test_every_fact_that_matters_makes_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    one = cell(network((8,)), 0)
    base = KEYS.training(one, "autograd")
    others = [
        KEYS.training(replace(one, seed=1), "autograd"),
        KEYS.training(replace(one, twin=True), "autograd"),
        KEYS.training(replace(one, protocol="lecture"), "autograd"),
        KEYS.training(cell(network((8,), gain=1.0), 0), "autograd"),
        KEYS.training(cell(network((8,)), 0, steps=31), "autograd"),
        KEYS.training(cell(network((8,)), 0, batch_size=31), "autograd"),
        KEYS.training(cell(network((8,)), 0, lr=((0, 0.2),)), "autograd"),
        KEYS.training(one, "fused"),
        replace(KEYS, data={"sha256": "1"}).training(one, "autograd"),
        replace(KEYS, device="cuda").training(one, "autograd"),
        replace(KEYS, cpu="x86_64 avx512f").training(one, "autograd"),
    ]
    monkeypatch.setattr(keys_module, "KEY_FORMAT", keys_module.KEY_FORMAT + 1)
    others.append(KEYS.training(one, "autograd"))
    found = {json.dumps(facts, sort_keys=True) for facts in (base, *others)}
    assert len(found) == 1 + len(others)


def test_the_fused_engines_key_is_the_same_on_every_cpu() -> None:
    one = cell(network((8,)), 0)
    assert replace(KEYS, cpu="arm64 asimd").training(one, "fused") == KEYS.training(one, "fused")
    assert replace(KEYS, cpu="arm64 asimd").measuring(one, "fused") != KEYS.measuring(one, "fused")  # torch measures


def test_what_is_measured_is_in_the_key_of_the_rows_alone() -> None:
    one, other = cell(network((8,)), 0), replace(KEYS, reading=Request((), ()))
    assert other.training(one, "fused") == KEYS.training(one, "fused")
    assert other.measuring(one, "fused") != KEYS.measuring(one, "fused")


def test_a_difference_is_said_in_words() -> None:
    one = cell(network((8,)), 0, steps=10_000)
    before = KEYS.training(one, "fused")
    after = KEYS.training(replace(one, schedule=replace(one.schedule, steps=200_000)), "fused")
    assert difference(before, after) == "training.steps 10000 → 200000"
    edited = {**before, "code that trains": "0"}
    assert difference(before, edited) == "the code that trains changed"
    scaled = KEYS.training(cell(network((8,), gain=1.0), 0, steps=10_000), "fused")
    assert difference(before, scaled) == f"setup.hidden.1.weight.gain {5 / 3} → 1.0"
    assert difference(before, before) == ""


# -- housekeeping -------------------------------------------------------------------------------------------------


def test_clean_removes_what_is_older_and_says_how_much(store: Store) -> None:
    for key in ("ab12", "cd34"):
        store.cache.write("rows", key, b"x" * 1_000_000)
    old = store.cache.folder / "rows" / "ab" / "ab12.bin"
    os.utime(old, (time.time() - 40 * 86400,) * 2)
    assert "rows: 2 files, 2.0 MB" in clean_cache(store.cache)
    report = clean_cache(store.cache, "30d")
    assert "removed 1.0 MB not used for 30d" in report
    assert "rows: 1 files, 1.0 MB" in report
    assert [path.stem for path in files(store.cache.folder, "rows")] == ["cd34"]
    for wrong in ("30", "d", "-1d", "3w", "1.5d"):
        with pytest.raises(SpecError, match="--older: expected"):
            clean_cache(store.cache, wrong)


OLD = b"study-cache-1 " + b"0" * 64 + b"\n"  # the first line of an entry of an older version


def test_an_entry_of_an_older_version_is_no_damage(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    path = store.cache.folder / "rows" / "ab" / "ab12.bin"
    path.parent.mkdir(parents=True)
    for head, damaged in ((OLD, False), (OLD.replace(b"1", b"999", 1), True), (OLD.replace(b"0", b"z"), True)):
        path.write_bytes(head + b"content")
        assert store.cache.read("rows", "ab12") is None
        assert path.exists() is not damaged
        assert ("damaged" in capsys.readouterr().err) is damaged


def test_clean_counts_entries_of_an_older_version_apart_and_removes_them_with_any_age(store: Store) -> None:
    store.cache.write("rows", "ab12", b"x")
    old = store.cache.folder / "rows" / "cd" / "cd34.bin"
    old.parent.mkdir(parents=True)
    old.write_bytes(OLD + b"x" * 1_000_000)
    found = clean_cache(store.cache)
    assert "  rows: 1 files, 0.0 MB\n" in found
    assert found.endswith("\n  1 files of an older version, 1.0 MB; any --older removes them")
    assert old.exists()
    found = clean_cache(store.cache, "30d")
    assert found.endswith("\nremoved 0.0 MB not used for 30d\nremoved 1 files of an older version, 1.0 MB")
    assert not old.exists()
    assert store.cache.read("rows", "ab12") == b"x"
    assert "older version" not in clean_cache(store.cache)


def test_only_files_of_the_caches_own_making_are_removed(store: Store) -> None:
    """A folder that somebody calls a cache may hold a thesis, and another program's entries and half-written files."""
    store.cache.write("rows", "ab12", b"x")
    remember(store.cache, "study", {})
    own = {path for path in store.cache.folder.rglob("*") if path.is_file()}
    others = [
        "thesis.tex",
        ".tmp-notes",
        "rows/thesis.tex",
        "rows/ab/notes.bin",
        "rows/ab/cd34.bin",
        "rows/ab/ab12.bin.gz",
        "rows/zz/zz12.bin",
        "other/ab/ab12.bin",
        "last/notes.json",
        "deep/rows/ab/ab12.bin",
    ]
    for name in others:
        path = store.cache.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"precious")
        os.utime(path, (time.time() - 90 * 86400,) * 2)
    assert {path for path, _, _ in store.cache.entries()} == own
    store.cache.tidy()
    clean_cache(store.cache, "0d")
    left = {path.relative_to(store.cache.folder).as_posix() for path in store.cache.folder.rglob("*") if path.is_file()}
    assert left == set(others)


def test_what_was_left_half_written_is_removed_once_nobody_can_be_writing_it(store: Store) -> None:
    store.cache.write("rows", "ab12", b"x")
    left, fresh = (store.cache.folder / "rows" / "ab" / name for name in (".tmp-old", ".tmp-new"))
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (time.time() - 2 * module.LEFT,) * 2)
    store.cache.tidy()
    assert not left.exists()
    assert fresh.exists()
    assert np.frombuffer(store.cache.read("rows", "ab12") or b"", np.uint8).tolist() == [ord("x")]
