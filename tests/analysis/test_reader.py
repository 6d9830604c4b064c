"""A user's program opens a report's folder.

It finds the values that pandas finds in the files, and one line says what is missing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import study
from study import parquet
from study.analysis import export, ledger
from study.analysis.results import Results
from study.errors import SpecError
from study.provenance import write_manifest
from tests.support.synthetic import results, tiny
from tests.support.tiny import load, one_line


def write(found: Results, folder: Path) -> Path:
    """The tables, the manifest and report.json of a study."""
    (folder / "data").mkdir(parents=True)
    hashes = {name: parquet.write(name, table, folder / "data") for name, table in found.tables.items()}
    manifest = {**found.facts, "format": 2, "tables": hashes}
    write_manifest(manifest, folder)
    written = Results(found.spec, found.tables, manifest)
    record = export.report_record(written, ledger.judge(written))
    (folder / "report.json").write_text(export.record_text(record), "utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(results(tiny()), tmp_path_factory.mktemp("report") / "out")


@pytest.fixture(scope="module")
def raw(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_parquet(path) for path in (folder / "data").iterdir()}


def test_it_gives_title_conditions_tables_and_manifest_of_the_files(folder: Path, raw: dict[str, pd.DataFrame]) -> None:
    report = study.open_report(str(folder))
    assert report.title == "A tiny study"
    assert report.conditions == list(raw["conditions"]["condition"])
    assert set(report.tables) == set(raw)
    assert {name: len(table) for name, table in report.tables.items()} == {name: len(t) for name, t in raw.items()}
    assert report.manifest == json.loads((folder / "manifest.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("condition", "step", "statistics"),
    [("baseline", 0, "none"), ("fixed", 30, "none"), ("batchnorm", 30, "running"), ("batchnorm", 0, "calibrated")],
)
def test_a_loss_has_the_value_of_every_seed_as_the_condition_is_read(
    folder: Path, raw: dict[str, pd.DataFrame], condition: str, step: int, statistics: str
) -> None:
    asked = "condition == @condition and split == 'dev' and step == @step and statistics == @statistics"
    rows = raw["losses"].query(asked + " and batch_size.isna()")
    found = study.open_report(folder).loss(condition, "dev", step)
    assert len(rows) == 2
    assert found.to_dict() == dict(zip(rows["seed"], rows["loss"], strict=True))
    assert (found.name, found.index.name) == ("loss.dev", "seed")


def test_the_default_is_the_loss_on_dev_after_the_last_step(folder: Path) -> None:
    report = study.open_report(folder)
    pd.testing.assert_series_equal(report.loss("fixed"), report.loss("fixed", "dev", 30, "none"))
    pd.testing.assert_series_equal(report.loss("zero"), report.loss("zero", "dev", 10, "none"))


@pytest.mark.parametrize(
    ("name", "layer", "parameter"), [("saturation_99", 1, None), ("grad_norm", None, "W1"), ("entropy", None, None)]
)
def test_a_metric_is_that_of_its_layer_of_its_parameter_or_of_the_output(
    folder: Path, raw: dict[str, pd.DataFrame], name: str, layer: int | None, parameter: str | None
) -> None:
    rows = raw["metrics"].query("condition == 'fixed' and step == 10 and metric == @name")
    rows = rows[rows["parameter"] == parameter] if parameter else rows
    found = study.open_report(folder).metric("fixed", name, layer=layer, parameter=parameter, step=10)
    assert len(rows) == 2
    assert found.to_dict() == dict(zip(rows["seed"], rows["value"], strict=True))


def test_activations_of_a_condition_read_in_batches_are_those_of_calibrated_statistics(tmp_path: Path) -> None:
    found = results(load(tmp_path, {"conditions.batchnorm.statistics": "batch"}))
    metrics = found.tables["metrics"]
    metrics.loc[metrics["statistics"] == "calibrated", "value"] += 5
    report = study.open_report(write(found, tmp_path / "out"))
    rows = metrics.query("condition == 'batchnorm' and step == 30 and metric == 'h_std' and statistics == 'calibrated'")
    assert list(report.metric("batchnorm", "h_std", layer=1)) == list(rows["value"])
    assert (report.metric("batchnorm", "h_std", layer=1, statistics="batch") < 5).all()
    with pytest.raises(SpecError, match="not read with 'none' statistics; known: batch, calibrated, running"):
        report.metric("batchnorm", "h_std", layer=1, statistics="none")


def test_a_seed_that_has_diverged_is_nan_from_then_on(tmp_path: Path) -> None:
    report = study.open_report(write(results(tiny(), lost=("fixed", 1)), tmp_path / "out"))
    assert report.loss("fixed").isna().to_dict() == {0: False, 1: True}
    assert report.metric("fixed", "h_std", layer=1).isna().to_dict() == {0: False, 1: True}
    assert report.loss("fixed", step=0).notna().all()


def test_the_ledger_has_a_row_per_claim_and_condition_with_the_keys_of_report_json(folder: Path) -> None:
    claims = json.loads((folder / "report.json").read_text("utf-8"))["claims"]
    ledger = study.open_report(folder).ledger
    assert list(ledger.columns) == list(claims[0])
    for column in ("id", "verdict", "gate", "n", "subjects"):
        assert list(ledger[column]) == [claim[column] for claim in claims], column
    assert list(ledger["effect"].dropna()) == [claim["effect"] for claim in claims if claim["effect"] is not None]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.loss("fixd"), "no condition 'fixd'; did you mean 'fixed'?"),
        (lambda r: r.loss("fixed", "val"), "no split 'val'; known: train, dev, test"),
        (lambda r: r.loss("fixed", step=7), "'fixed' has no losses at step 7; known: 0, 10, 30"),
        (lambda r: r.loss("fixed", statistics="batch"), "loss of 'fixed' was not read with 'batch' statistics"),
        (lambda r: r.metric("fixed", "h_st", layer=1), "no metric 'h_st' of 'fixed' at step 30; did you mean 'h_std'?"),
        (lambda r: r.metric("fixed", "h_std"), "metric 'h_std' of 'fixed': expected layer=1"),
        (lambda r: r.metric("fixed", "h_std", layer=2), "metric 'h_std' of 'fixed': expected layer=1"),
        (lambda r: r.metric("fixed", "grad_norm"), "expected parameter='C' or parameter='W1' or parameter='W2'"),
        (lambda r: r.metric("fixed", "entropy", layer=1), "expected neither a layer nor a parameter"),
    ],
)
def test_what_was_not_measured_is_refused_with_what_was(folder: Path, ask, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        ask(study.open_report(folder))
    assert message in one_line(str(refused.value))


def remove(name: str):
    return lambda folder: (folder / name).unlink()


def other_table(folder: Path) -> None:
    shutil.copy(folder / "data" / "losses.parquet", folder / "data" / "metrics.parquet")


def other_rows(folder: Path) -> None:
    parquet.write("losses", parquet.read(folder / "data")["losses"].iloc[1:], folder / "data")


def other_record(folder: Path) -> None:
    record = json.loads((folder / "report.json").read_text("utf-8"))
    record["provenance"]["tables"]["losses"] = "0" * 64
    (folder / "report.json").write_text(json.dumps(record), "utf-8")


def newer_record(folder: Path) -> None:
    record = json.loads((folder / "report.json").read_text("utf-8"))
    (folder / "report.json").write_text(json.dumps({**record, "format": 99}), "utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "holds no report; expected a folder that `study run` wrote"),
        (remove("manifest.json"), "manifest.json: not there"),
        (remove("data/losses.parquet"), "losses.parquet: not there"),
        (remove("report.json"), "report.json: not there; make it with `study report`"),
        (other_table, "metrics.parquet: columns are not those of this version"),
        (other_rows, "losses.parquet: not the table that manifest.json names"),
        (other_record, "report.json: made from other tables"),
        (newer_record, "report.json: not a report of format 1"),
    ],
)
def test_a_folder_without_a_whole_report_is_refused_in_one_line(
    folder: Path, tmp_path: Path, damage, message: str
) -> None:
    copy = tmp_path / "out"
    shutil.copytree(folder, copy)
    damage(copy)
    with pytest.raises(SpecError) as refused:
        study.open_report(copy)
    assert message in one_line(str(refused.value))
