"""`study verify`: cells of a report trained again come out as it says, and what does not is seen."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from study import parquet
from study.errors import SpecError
from study.execution.run import RunOptions, run_study
from study.execution.verify import _check, verify_cells
from study.measurement.rows import as_rows
from study.spec.read import read_study
from tests.support.nets import cell, network
from tests.support.tiny import load, one_line, write

TWINS = {"twins": {"of": ["fixed"], "seeds": 1, "short": {"seeds": 2, "steps": 5}}, "measure": [5, 10]}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    run_study(load(folder, TWINS), folder / "out", RunOptions(workers=0, cache=folder / "cache"))
    return folder


def altered(report: Path, folder: Path, table: str, change: Callable[[pd.DataFrame], object]) -> Path:
    """A copy of the report with a table changed, the manifest naming the changed one."""
    import shutil

    shutil.copytree(report / "out", folder / "out")
    frame = parquet.read(folder / "out" / "data")[table].copy()
    change(frame)
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    manifest["tables"][table] = parquet.write(table, frame, folder / "out" / "data")
    (folder / "out" / "manifest.json").write_text(json.dumps(manifest))
    return folder / "out"


def test_every_cell_comes_out_bit_for_bit(report: Path) -> None:
    text, passed = verify_cells(read_study(report / "tiny.yaml"), report / "out", None, 0, 0)
    assert passed, text
    assert text.count("same bits") == 12
    assert "all 12 come out as the report says" in text


def test_a_choice_is_made_by_its_seed(report: Path) -> None:
    spec = read_study(report / "tiny.yaml")
    first, second, other = (verify_cells(spec, report / "out", 3, seed, 0)[0] for seed in (0, 0, 1))
    assert first == second != other
    assert "3 of 12 cells, chosen by seed 0" in first


def test_other_parameters_are_seen(report: Path, tmp_path: Path) -> None:
    def change(cells: pd.DataFrame) -> None:
        cells.loc[cells["engine"] == "fused", "sha256"] = "0" * 64

    text, passed = verify_cells(
        read_study(report / "tiny.yaml"), altered(report, tmp_path, "cells", change), None, 0, 0
    )
    assert not passed
    assert text.count("DIFFERS: the fused engine gives other bits") == 10
    assert "10 of 12 differ" in text


def test_another_loss_is_seen_where_the_bits_are_the_same(report: Path, tmp_path: Path) -> None:
    def change(losses: pd.DataFrame) -> None:
        chosen = (losses["condition"] == "baseline") & (losses["seed"] == 1) & (losses["step"] == 30)
        assert chosen.any()
        losses.loc[chosen, "loss"] += 2e-6

    text, passed = verify_cells(
        read_study(report / "tiny.yaml"), altered(report, tmp_path, "losses", change), None, 0, 0
    )
    assert not passed
    assert "1 of 12 differ" in text
    assert text.count("same bits, losses within 2.0e-06: DIFFERS: losses differ by more than 1e-06") == 1


def test_a_cell_that_has_no_loss_to_compare_cannot_be_told_where_other_bits_are_to_be_expected(
    report: Path, tmp_path: Path
) -> None:
    """A twin has none, a diverged cell no number; with other versions neither engine owes its bits."""

    def change(cells: pd.DataFrame) -> None:
        cells.loc[cells["twin"], "sha256"] = "0" * 64

    folder = altered(report, tmp_path, "cells", change)
    spec = read_study(report / "tiny.yaml")
    text, passed = verify_cells(spec, folder, None, 0, 0)
    assert not passed  # here bits are owed
    assert text.count("DIFFERS") == 2
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["versions"]["numpy"] = "2.0.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    text, passed = verify_cells(spec, folder, None, 0, 0)
    assert passed
    assert text.count("cannot be told: other bits are to be expected here, and there is no loss to compare") == 2
    assert text.endswith("0 of 12 differ; of 2 it cannot be told")


@pytest.mark.parametrize(
    ("there", "here", "passed"),
    [
        ((2.0, 2.0), (2.0, 2.0), True),
        ((2.0, 2.0), (2.0, math.nan), False),
        ((2.0, 2.0), (math.nan, 2.0), False),
        ((2.0, 2.0), (2.0, math.inf), False),
        ((2.0, math.nan), (2.0, math.nan), True),
        ((math.nan, math.nan), (math.nan, math.nan), None),
    ],
)
@pytest.mark.parametrize("same_bits", [True, False])
def test_a_number_must_come_out_as_a_number(
    there: tuple[float, ...], here: tuple[float, ...], passed: bool | None, same_bits: bool
) -> None:
    one = cell(network((8,)), 0, steps=30)
    read = [
        {"step": 30, "split": s, "statistics": "none", "loss": loss}
        for s, loss in zip(("train", "dev"), here, strict=True)
    ]
    found = as_rows({"cells": [{"sha256": "a" if same_bits else "b"}], "losses": read})
    losses = {(s, "none"): loss for s, loss in zip(("train", "dev"), there, strict=True)}
    row = pd.Series({"sha256": "a", "engine": "autograd", "condition": "c"})
    check = _check(one, row, found, losses, {"cpu"})
    assert check.passed is (True if passed is None and same_bits else passed)
    assert bool(check.why) == (check.passed is not True)


def test_a_report_without_a_training_is_one_line(report: Path, tmp_path: Path) -> None:
    def change(cells: pd.DataFrame) -> None:
        cells["status"] = "failed"

    with pytest.raises(SpecError, match="no training that succeeded") as refused:
        verify_cells(read_study(report / "tiny.yaml"), altered(report, tmp_path, "cells", change), 3, 0, 0)
    one_line(str(refused.value))


def test_other_versions_are_said_and_widen_the_tolerance(report: Path, tmp_path: Path) -> None:
    def change(losses: pd.DataFrame) -> None:
        losses["loss"] += 1e-3

    folder = altered(report, tmp_path, "losses", change)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["versions"]["torch"] = "2.0.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    text, passed = verify_cells(read_study(report / "tiny.yaml"), folder, 2, 0, 0)
    assert passed, text
    assert "there 2.0.0" in text
    assert "may differ by 0.005" in text


def test_another_study_is_refused(report: Path, tmp_path: Path) -> None:
    write(tmp_path, {"training.batch_size": 9})
    with pytest.raises(SpecError, match="made from another study"):
        verify_cells(read_study(tmp_path / "tiny.yaml"), report / "out", 1, 0, 0)


def test_the_manifest_names_every_cells_parameters(report: Path) -> None:
    facts: dict[str, Any] = json.loads((report / "out" / "manifest.json").read_text())
    cells = parquet.read(report / "out" / "data")["cells"]
    assert facts["parameters"] == dict(zip(cells["cell"], cells["sha256"], strict=True))
    assert all(len(digest) == len(hashlib.sha256().hexdigest()) for digest in facts["parameters"].values())


def test_the_fused_engine_owes_its_bits_on_another_cpu_too(report: Path, tmp_path: Path) -> None:
    def change(cells: pd.DataFrame) -> None:
        cells.loc[(cells["engine"] == "fused") & (cells["seed"] == 1), "sha256"] = "0" * 64

    folder = altered(report, tmp_path, "cells", change)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["cpu"]["level"] = "x86_64 another avx2"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    text, passed = verify_cells(read_study(report / "tiny.yaml"), folder, None, 0, 0)
    assert not passed
    assert text.count("the fused engine gives other bits") == 5
    assert "there x86_64 another avx2" in text
