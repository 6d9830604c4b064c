"""The benchmarks as far as no clock is needed: counts, schema, table, figure, peers that are absent."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import figure, gpu, inductor, results, rounds, table, work, worker, xla
from benchmarks.peers import PEERS
from benchmarks.work import MODELS, Minibatches, Work, distinct_characters, distinct_flops, flops, training_split
from study.training.autograd import Trainer


def test_flops_of_the_lectures_step_are_three_products_per_level() -> None:
    network = Work("none").network
    N, T, E, H, V = 32, 3, 10, 200, 27
    first, second = 2 * N * T * E * H, 2 * N * H * V  # one product of each level: multiply and add
    assert flops(network, V, N) == 3 * (first + second) == 2_188_800


def test_flops_of_deeper_networks_grow_by_the_square_of_the_width() -> None:
    one, two, three = (flops(Work("none", widths=(100,) * depth).network, 27, 32) for depth in (1, 2, 3))
    assert three - two == two - one == 3 * 2 * 32 * 100 * 100


def test_expected_distinct_characters_are_those_of_sampled_minibatches() -> None:
    minibatches = Minibatches(Work("none", models=1))
    minibatches.draw(2000)
    contexts = training_split().X[minibatches.take(2000)[:, 0]]  # (steps, batch, T)
    sampled = [np.mean([len(batch[:, t].unique()) for batch in contexts]) for t in range(3)]
    # a count of about 13 with a std of 2 has a standard error of 0.05 over 2,000 minibatches
    assert distinct_characters(training_split().X, 27, 32) == pytest.approx(sampled, abs=0.2)


def test_distinct_flops_of_all_different_characters_are_the_naive_ones_and_the_sums() -> None:
    network = Work("none").network
    assert distinct_flops(network, 27, 32, [32, 32, 32]) == flops(network, 27, 32) + 2 * 32 * 3 * 200


def test_every_peer_meets_the_minibatches_of_the_study() -> None:
    job = Work("batch", models=2)
    minibatches = Minibatches(job)
    for steps in (1, 3):  # in two draws, as in two slices
        minibatches.draw(steps)
    rows = torch.cat([minibatches.take(1), minibatches.take(2)])
    trainer = Trainer(job.stack, training_split(), 27)
    for step, ix in enumerate(rows):
        trainer.advance(step)
        assert torch.equal(training_split().Y[trainer.upcoming()], training_split().Y[ix])


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_lecture_and_compiled_step_and_gpu_step_train_as_autograd_does(norm: str) -> None:
    from benchmarks.lecture import Lecture

    steps, job = 5, Work(norm, models=2)
    expected = Trainer(job.stack, training_split(), 27).advance(steps).numpy()  # (M, steps)
    loop = Lecture(job)
    loop.draw(steps)
    np.testing.assert_allclose(loop.run(steps), expected, rtol=1e-5)  # float32, sums in another order
    graph, losses = gpu.Graph(job, "cpu"), []
    for _ in range(steps):
        graph.step()
        losses.append(graph.losses.clone().numpy())
    np.testing.assert_array_equal(np.array(losses).T, expected)
    compiled = inductor.Inductor(job)
    compiled.step = inductor.make_step(job.network, job.schedule.rate(0))  # the same step, not compiled
    compiled.draw(steps)
    np.testing.assert_allclose(compiled.run(steps), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("torch.compile", "no C++ compiler"), ("jax", "JAX is not installed"), ("fused", "Numba is not")],
)
def test_an_absent_peer_says_so_in_its_row(name: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(xla, "find_spec", lambda _: None)
    monkeypatch.setattr("benchmarks.peers.find_spec", lambda _: None)
    job = rounds.Job([Here(name)], {"norm": "none", "models": MODELS, "widths": None}, {"engine": name})  # type: ignore[list-item]
    job.prepare(0.1)
    rounds.take_turns([job], 3, 0, lambda _: None)
    row = job.row()
    assert row["us_per_model_step"] is None
    assert row["note"].startswith(reason)


class Here:
    """A worker in this process."""

    cores = (0,)

    def __init__(self, name: str) -> None:
        self.name, self.answers = name, io.StringIO()

    def send(self, **request: Any) -> None:
        self.answers = io.StringIO()
        worker.serve(self.name, [0], io.StringIO(json.dumps(request) + "\n"), self.answers)

    def receive(self) -> Any:
        return json.loads(self.answers.getvalue())


def example() -> dict[str, Any]:
    """Results of an imagined machine with two cores, where JAX is absent."""
    found: dict[str, Any] = {"machine": {"cpu": "A & B", "cores": 2, "vectors": "AVX2"}, "versions": {"torch": "2"}}
    found["work"] = {**work.summary(), "rounds": 3}
    costs = {"lecture": 300.0, "torch.compile": 80.0, "jax": None, "autograd": 100.0, "fused": 25.0, "limit": 20.0}
    found["rows"], found["scaling"], found["curves"] = [], [], []
    for engine, us in costs.items():
        measured = {
            "us_per_model_step": us,
            "low": us and us - 1,
            "high": us and us + 2,
            "note": "" if us else "absent",
        }
        for norm in ("none", "batch"):
            for cores in (1, 2):
                facts = {"engine": engine, "title": PEERS[engine].title, "norm": norm, "cores": cores, "models": 8}
                found["rows"].append({**facts, **measured})
    for axis, value in (("models", 1), ("models", 10), ("width", 50), ("width", 100), ("depth", 1), ("depth", 6)):
        for engine in ("autograd", "fused"):
            facts = {
                "engine": engine,
                "norm": "none",
                "axis": axis,
                "value": value,
                "models": 8,
                "cores": 1,
                "mflop": 2.0,
            }
            found["scaling"].append({**facts, "us_per_model_step": 30.0, "low": 29.0, "high": 31.0, "note": ""})
    found["gpu"] = [gpu.row("none", None, [], "no CUDA device")]
    return found


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    results.write(example(), tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == example()


def test_results_with_a_missing_column_are_refused() -> None:
    found = example()
    del found["rows"][0]["note"]
    with pytest.raises(AssertionError, match="rows"):
        results.check(found)


def test_ratios_of_the_targets() -> None:
    found = results.ratios(example(), "none")
    assert found == pytest.approx({"loop": 12, "best": 3.2, "limit": 1.25, "cores": 2})


def test_table_has_a_row_per_engine_and_says_who_is_absent() -> None:
    lines = table.table(example())
    assert len(lines) == 2 + 6
    assert {line.count("|") for line in lines} == {7}
    assert "25.0 (24.0–27.0)" in next(line for line in lines if "fused" in line)
    assert lines[2 + 2].count("absent") == 4


def test_readme_is_replaced_between_its_markers_and_nowhere_else(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    assert table.update(example(), "words", readme)
    text = readme.read_text()
    assert text.startswith("before\n<!-- bench -->\n")
    assert text.endswith("\n<!-- /bench -->\nafter\n")
    assert "old" not in text
    assert "![words](results.svg)" in text
    assert table.update(example(), "words", readme)
    assert readme.read_text() == text
    readme.write_text("no markers")
    assert not table.update(example(), "words", readme)


def test_figure_is_deterministic_and_has_a_text_alternative() -> None:
    svg = figure.draw(example())
    assert svg == figure.draw(example())
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root[1].text == figure.describe(example())
    assert "25.0 µs" in figure.describe(example())


def test_a_curve_that_falls_otherwise_voids_the_run() -> None:
    reference = {"first": [3.0, 3.1], "last": [2.4, 2.5]}
    near = results.curve_row("jax", "none", {"first": [3.0, 3.1, 9], "last": [2.4, 2.50001, 9]}, reference, 1000)
    results.check_curves([near])
    absent = results.curve_row("jax", "none", {"absent": "JAX is not installed"}, reference, 1000)
    results.check_curves([absent])
    far = results.curve_row("jax", "none", {"first": [3.0, 3.1], "last": [2.4, 2.51]}, reference, 1000)
    with pytest.raises(AssertionError, match="jax"):
        results.check_curves([far])


def test_without_a_gpu_a_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (row,) = gpu.rows(3, 0.1)
    assert row["note"] == "no CUDA device"
