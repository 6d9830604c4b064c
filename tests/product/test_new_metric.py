"""Metrics of a user's own file: trained, measured, claimed and shown; then shown by code that does not have them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.analysis.ledger import judge, load_results
from study.analysis.results import Results
from study.errors import SpecError
from study.measurement.metrics import METRICS
from study.report.sections.contents import SECTIONS
from tests.support.finished import finished
from tests.support.modules import metrics_put_back, run
from tests.support.synthetic import UNJUDGED
from tests.support.tiny import load, tiny, write

HOME = Path(__file__).parents[2]
OWN = """
from study.measurement.metrics import metric
from study.measurement.reducers import Mean


@metric(of="layer", label="negative outputs", unit="%", format=".2f", better="lower", reduce=Mean)
def negative(a, layer):
    return (a.h < 0).double().mean(-1)


@metric(of="parameter", label="largest entry", format=".3e")
def largest(p, gradient, lr):
    return p.abs().flatten(1).amax(1)


@metric(of="training", label="steps above the first loss", unit="steps", format=".0f", better="lower")
def above(trajectory):
    return float((trajectory.losses > trajectory.losses[0]).sum())
"""
NEW = ("negative", "largest", "above")
CLAIMS = [
    {"id": "n", "sentence": "Some are negative.", "measure": "negative", "at": "init", "of": "baseline", "above": 0},
    {"id": "l", "sentence": "W2 is zero.", "measure": "largest.W2", "at": "init", "of": "zero", "below": 1e-9},
    {"id": "a", "sentence": "No step is above.", "measure": "above", "at": "end", "of": "baseline", "below": -1},
]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the finished tiny study, in `out`, whose claims and tables have metrics of a file beside it."""
    folder = tmp_path_factory.mktemp("own")
    with metrics_put_back():
        run(folder / "own.py", OWN)
        finished(load(folder, {"claims": CLAIMS}), folder / "out")
        yield folder


@pytest.fixture(scope="module")
def results(own: Path) -> Results:
    return load_results(load(own, {"claims": CLAIMS}), own / "out")


def test_its_values_are_those_that_other_tables_give(results: Results) -> None:
    at_end = {c.name: results.metric(c, "negative", c.schedule.steps, 1) for c in results.conditions}
    h = results.tables["histograms"]
    for c in results.conditions:
        if c.network.layers_with_statistics:  # histograms are of calibrated readings
            continue
        bins = h[(h["condition"] == c.name) & (h["step"] == c.schedule.steps) & (h["quantity"] == "h")]
        below = float(bins.loc[bins["right"] <= 0, "share"].sum())  # pooled over seeds; the bin of 0 opens at 0
        assert at_end[c.name].mean() == pytest.approx(below, abs=1e-9)  # sums of the same counts in float64
        assert len(at_end[c.name]) == 2
        curves = results.tables["curves"].query("condition == @c.name")
        steps = results.metric(c, "above", c.schedule.steps)
        for seed, rows in curves.groupby("seed"):  # a bin per step in a training of a few
            assert steps[seed] == (rows["loss"] > rows["loss"].iloc[0]).sum()
    zero = results.spec.condition("zero")
    assert (results.metric(zero, "largest", 0, parameter="W2") == 0).all()
    assert (results.metric(zero, "largest", 0, parameter="W1") > 0).all()


def test_its_facts_travel_with_the_tables(results: Results) -> None:
    rows = results.tables["measures"].set_index("metric")
    assert rows.loc["negative"].tolist() == ["negative outputs", "%", ".2f", "lower", "layer", "t", "diverged"]
    assert rows.loc["largest"].tolist() == ["largest entry", "", ".3e", "", "parameter", "t", "diverged"]
    assert rows.loc["above", ["label", "unit", "of"]].tolist() == ["steps above the first loss", "steps", "training"]
    assert list(rows.index) == list(METRICS)


def test_a_claim_on_it_is_judged(results: Results) -> None:
    entries = {entry.claim.id: entry for entry in judge(results).entries}
    assert {name: entry.verdict for name, entry in entries.items()} == {"n": "holds", "l": "holds", "a": "fails"}
    assert entries["n"].measured.endswith("(in %)")
    assert entries["l"].measured.startswith("0.000e+00")


def test_the_section_shows_it_with_its_label_unit_and_format(results: Results) -> None:
    section = SECTIONS["all-measurements"].make(results, UNJUDGED)
    assert section is not None
    tables = {table.caption.partition("`")[2].partition("`")[0]: table for table in section.tables}
    assert set(NEW) <= set(tables)
    negative, largest, above = (tables[name] for name in NEW)
    assert "negative outputs" in negative.caption and "lower is better" in negative.caption
    assert {column.unit for column in negative.columns[3:]} == {"%"}
    mean = 100 * float(results.metric(results.spec.condition("baseline"), "negative", 0, 1).mean())
    assert negative.cells[0][3].text.startswith(f"{mean:.2f}")  # type: ignore[union-attr]
    assert {row[1] for row in largest.cells} >= {"C", "W1", "b1", "W2", "b2"}
    assert any("×10⁻" in row[3].text for row in largest.cells)  # type: ignore[union-attr]
    assert [column.name for column in above.columns] == ["condition", "part", "n", "common", "end"]


def test_a_claim_on_a_training_is_made_at_its_end(own: Path) -> None:
    with pytest.raises(SpecError, match="'above' is of a whole training; write at: end"):
        load(own, {"claims": [{**CLAIMS[2], "at": "init"}]})
    load(own, {"claims": CLAIMS})


def test_code_that_does_not_have_it_shows_it_without_torch(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own / "out", tmp_path / "out", ignore=shutil.ignore_patterns("cache"))
    write(tmp_path, {"claims": tiny()["claims"]})
    script = (
        "import sys; from study import cli; from study.measurement.metrics import METRICS\n"
        "try: cli.main()\n"
        "except SystemExit as end: print('exit', end.code)\n"
        f"print(len(METRICS.keys() & {set(NEW)!r}), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, "report", "tiny.yaml", "--out", "out", "--no-notebooks"]
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path, env=environment
    )
    assert done.stdout.splitlines()[-2:] == ["exit 0", "0 False"], done.stderr
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    for text in ("negative outputs", "largest entry", "steps above the first loss"):
        assert f"<summary>{text}" in page
