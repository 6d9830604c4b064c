"""Initial states in a study: planned, drawn once, the same wherever they are drawn, and in the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study import parquet
from study.errors import SpecError
from study.execution import pool, worker
from study.execution.cache import Cache, Store
from study.execution.executors import Inline, Local
from study.execution.keys import keys_of
from study.execution.listing import plan_text
from study.execution.prepare import prepare
from study.execution.run import Done, RunOptions, run_study
from study.execution.states import in_order, keep, kept, states_of, work_left
from study.execution.verify import verify_cells
from study.execution.worker import Job
from study.measurement.initial import SCHEMA, SEEDS, Block, States, Wanted
from study.measurement.rows import Request
from study.network.inits import Init
from study.report.build import build_report
from study.spec.read import read_study
from study.spec.records import Spec
from study.training.identity import network_values
from tests.support.nets import network
from tests.support.tiny import load, refusal, write

SMALL: dict[str, Any] = {"published": None, "twins": None, "training.steps": 20, "training.lr": 0.1, "seeds": 2}
UNTRAINED: dict[str, Any] = {**SMALL, "training": {"batch_size": 8, "steps": 0}, "groups.side.training": None} | {
    "measure": [],
    "profiles": {},
}


def quiet(done: object, loss: object) -> None:
    """Watch nothing."""


def run(spec: Spec, folder: Path, workers: int = 0, **more: Any) -> Done:
    """Run a study with the cache beside it; its tables are in folder/out/data."""
    return run_study(spec, folder / "out", RunOptions(workers, cache=folder / "cache", **more))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    spec = load(tmp_path, SMALL)
    words, reading = spec.data.load(spec.folder), Request((), (2,))
    return Job(words, reading, "cpu", Store(Cache(tmp_path / "cache"), keys_of(words.key(), reading, "cpu")))


def block(*seeds: int) -> Block:
    return Block(network((8,), context=2, embedding=3), seeds, Wanted(("train", "dev")))


def test_states_come_out_the_same_in_this_process_and_in_others(job: Job) -> None:
    work = [States((block(*range(6)),)), States((block(7, 6),))]
    seen: list[list[float]] = []
    here = list(pool.run(work, job, Inline(), lambda done, _: seen.append(list(done))))
    assert seen[-1] == [6, 0, 0, 0, 0, 0, 2, 0]  # states of each unit, at its first slot
    there = list(pool.run(work, job, Local(2), quiet))
    assert sorted(map(repr, there)) == sorted(map(repr, here))
    assert [len(set(rows["seed"].to_pylist())) for found in here for rows in found.values()] == [6, 2]  # type: ignore[union-attr]


def test_a_larger_number_of_states_draws_only_the_new_ones(tmp_path: Path) -> None:
    few, more = (load(tmp_path, {**SMALL, "initial_states": count}) for count in (3, SEEDS + 5))
    assert run(few, tmp_path).drawn == 4 * 3  # baseline, fixed, batchnorm (with calibrated), zero
    before = parquet.read(tmp_path / "out" / "data")["states"]
    assert f"{4 * (SEEDS + 2)} states to be drawn" in plan_text(more, 2, "auto", "cpu", tmp_path / "cache")
    done = run(more, tmp_path)
    assert (done.states, done.drawn, done.trained) == (4 * (SEEDS + 5), 4 * (SEEDS + 2), 0)
    assert run(more, tmp_path).drawn == 0
    after = parquet.read(tmp_path / "out" / "data")["states"]
    assert after[after["seed"] < 3].reset_index(drop=True).equals(before)
    assert after.groupby("condition", sort=False)["seed"].nunique().to_dict() == {
        name: SEEDS + 5 for name in ("baseline", "fixed", "batchnorm", "calibrated", "zero")
    }
    assert "all in the cache" in plan_text(more, 2, "auto", "cpu", tmp_path / "cache")


def test_a_damaged_entry_is_drawn_again(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    store = job.store
    assert store is not None
    rows = worker.measure(job.packed(), States((block(0, 1),)), 0)[block(0, 1)]
    keep(store, block(0, 1), rows)
    assert kept(store, block(0, 1, 2)).missing == block(2)
    (path,) = (store.cache.folder / "states").rglob("*.bin")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert kept(store, block(0, 1, 2)).missing == block(0, 1, 2)
    assert "damaged" in capsys.readouterr().err


def test_entries_hold_what_was_drawn_before_and_give_it_in_the_order_of_seeds(job: Job) -> None:
    store = job.store
    assert store is not None
    parts = [worker.measure(job.packed(), States((block(*seeds),)), 0)[block(*seeds)] for seeds in ((5, 1), (SEEDS, 0))]
    keep(store, block(5, 1), parts[0])
    keep(store, block(SEEDS, 0), parts[1])
    found = kept(store, block(0, 1, 5, SEEDS))
    assert found.missing is None
    ordered = in_order(found.tables)
    assert ordered == in_order(parts)
    assert list(dict.fromkeys(ordered["seed"].to_pylist())) == [0, 1, 5, SEEDS]
    assert kept(store, Block(block(0).network, (0,))).missing  # other measurements are in another entry
    assert in_order([]) == SCHEMA.empty_table()
    assert work_left([found]) == []


@pytest.mark.slow
def test_states_that_fail_are_given_up_one_by_one(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "BACKOFF", (0.0, 0.0))
    broken = Block(network((8,), context=2, embedding=3), (0, 1), Wanted(("train", "extra")))  # type: ignore[arg-type]
    found = list(pool.run([States((broken,)), States((block(0),))], job, Inline(), quiet))
    failed = [result for result in found if isinstance(result, pool.Failure)]
    assert [(failure.cells, failure.states) for failure in failed] == [((), 1), ((), 1)]
    assert "KeyError: 'extra'" in failed[0].reason
    assert [list(result) for result in found if isinstance(result, dict)] == [[block(0)]]


def test_the_states_of_conditions_with_one_network_are_one_block(tmp_path: Path) -> None:
    states = states_of(load(tmp_path, {**SMALL, "initial_states": 4}))
    assert list(states.drawn) == ["baseline", "fixed", "batchnorm", "calibrated", "zero"]
    assert states.drawn["batchnorm"] == states.drawn["calibrated"]
    assert len(states.blocks) == 4
    assert states_of(load(tmp_path, SMALL)).blocks == ()


def test_sweeps_have_no_states_and_the_command_cuts_them(tmp_path: Path) -> None:
    changes = {**SMALL, "initial_states": 4, "sweeps": {"rates": {"of": ["fixed"], "lr": [0.1, 0.2]}}}
    assert "fixed at lr 0.2" not in states_of(load(tmp_path, changes)).drawn
    cut = read_study(write(tmp_path, changes), seeds=[9, 1])
    assert {block.seeds for block in states_of(cut).blocks} == {(1,)}
    whole = read_study(write(tmp_path, changes), seeds=[0, 1])  # those of the file, as a notebook names them
    assert {block.seeds for block in states_of(whole).blocks} == {(0, 1, 2, 3)}


def test_a_study_without_states_keeps_its_identity(tmp_path: Path) -> None:
    plain, more = load(tmp_path, SMALL).digest(), load(tmp_path, {**SMALL, "initial_states": 4}).digest()
    assert plain != more
    assert plain == load(tmp_path, {**SMALL, "initial_states": None}).digest()
    laid_over = {**SMALL, "profiles": {"states": {"initial_states": 4}}}
    assert load(tmp_path, laid_over, "states").digest() == more


def test_another_network_or_measurement_has_another_key(job: Job) -> None:
    store = job.store
    assert store is not None
    plain, other = network((8,)), network((8,), output=0.2)
    assert network_values(plain) != network_values(other)
    facts = [
        store.keys.state(plain, Wanted()),
        store.keys.state(other, Wanted()),
        store.keys.state(plain, Wanted(("train", "dev"))),
        store.keys.state(plain, Wanted(batch_size=8)),
    ]
    assert len({repr(fact) for fact in facts}) == 4
    assert other.output.weight == Init(std=0.2)


# -- conditions without a training ------------------------------------------------------------------------------------


def test_a_study_without_a_training_has_the_numbers_of_one_at_step_0(tmp_path: Path) -> None:
    gradient = {"id": "g", "sentence": "s", "measure": "grad_norm.W1", "of": "fixed", "above": 0}
    trained, untrained = tmp_path / "a", tmp_path / "b"
    for folder, changes in ((trained, SMALL), (untrained, UNTRAINED)):
        folder.mkdir()
        run(load(folder, {**changes, "claims": [gradient]}), folder)
    here, there = (parquet.read(folder / "out" / "data") for folder in (untrained, trained))
    losses = there["losses"][there["losses"]["step"] == 0].reset_index(drop=True)
    assert here["losses"].equals(losses)
    metrics = there["metrics"][(there["metrics"]["step"] == 0) & ~there["metrics"]["metric"].str.startswith("gap_")]
    asked = metrics["parameter"].isna() | ((metrics["condition"] == "fixed") & (metrics["metric"] != "update_ratio"))
    keys = ["condition", "seed", "layer", "parameter", "statistics", "metric"]
    own = here["metrics"][here["metrics"]["metric"] != "update_ratio"]
    assert own.sort_values(keys).reset_index(drop=True).equals(metrics[asked].sort_values(keys).reset_index(drop=True))
    assert set(here["cells"]["status"]) == {"done"}
    assert not len(here["curves"]) + len(here["pictures"]) + len(here["histograms"]) + len(here["states"])


def test_a_page_of_starts_alone_and_a_page_of_both_kinds_are_made(tmp_path: Path) -> None:
    both = {**SMALL, "conditions.zero.training": {"steps": 0}, "groups.side.training": None}
    for name, changes in (("alone", UNTRAINED), ("both", both)):
        folder = tmp_path / name
        folder.mkdir()
        spec = load(folder, {**changes, "initial_states": 4})
        assert run(spec, folder).conditions == 5
        page = build_report(spec, folder / "out", notebooks=False).read_text("utf-8")
        assert "How much does the first loss depend on the draw?" in page
        assert ("Training curves: needs training curves" in page) == (name == "alone")
        assert ("without a training" in page) == (name == "alone")
    text, passed = verify_cells(spec, folder / "out", 1, 0, 0)
    assert passed
    assert text.endswith("initial states were left out: only trainings are verified")


def test_what_needs_a_training_is_refused_without_one(tmp_path: Path) -> None:
    assert "steps: 0" in refusal(tmp_path, {"conditions.fixed.training": {"steps": 0}})  # published runs inherit it
    alone = {**SMALL, "conditions.fixed.training": {"steps": 0}}
    assert "learning rate could be swept" in refusal(tmp_path, {**alone, "sweeps": {"a": {"of": ["fixed"], "lr": [1]}}})
    assert "could be repeated" in refusal(tmp_path, {**alone, "twins": {"of": ["fixed"], "seeds": 1}})
    assert "leave this key out" in refusal(tmp_path, {**UNTRAINED, "measure": [5]})
    for count in (0, -1, 1.5, "many"):
        assert "initial_states" in refusal(tmp_path, {"initial_states": count})


def test_a_report_without_a_training_has_none_to_verify(tmp_path: Path) -> None:
    spec = load(tmp_path, UNTRAINED)
    text = plan_text(spec, 2, "auto", "cpu", tmp_path / "cache")
    assert "0 cells: no condition has a training" in text
    assert "2  zero, in place of a training: 2 to be drawn" in text
    run(spec, tmp_path)
    with pytest.raises(SpecError, match="no training"):
        verify_cells(spec, tmp_path / "out", 1, 0, 0)
    assert prepare(spec, "auto", "cpu", tmp_path / "cache").plan.uses == {}
