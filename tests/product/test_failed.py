"""A training that ends with an error is in tables and report as failed; what is left is shown, and counted honestly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from study.analysis import ledger
from study.report.build import build_report
from study.report.notebook.view import open_condition
from study.training.cells import Cell
from tests.support.finished import finished
from tests.support.pages import text
from tests.support.tiny import load

TWINS: dict[str, Any] = {"twins": {"of": ["fixed"], "seeds": 1, "short": {"seeds": 2, "steps": 5}}}


SLOW = [
    pytest.param(lost, marks=pytest.mark.slow)
    for lost in ("a condition", "the published runs", "a twin", "everything with BatchNorm")
]


@pytest.mark.parametrize("lost", ["one seed", *SLOW])
def test_a_study_with_failed_cells_has_tables_and_a_page(lost: str, tmp_path: Path) -> None:
    spec = load(tmp_path, {**TWINS, "seeds": [0, 1, 2]})
    fixed = spec.condition("fixed").network

    def failing(cell: Cell) -> bool:
        return {
            "one seed": cell.seed == 1 and cell.protocol == "paired" and not cell.twin,
            "a condition": cell.network == fixed and cell.protocol == "paired",
            "the published runs": cell.protocol == "lecture",
            "a twin": cell.twin,
            "everything with BatchNorm": bool(cell.network.layers_with_statistics),
        }[lost]

    out = finished(spec, tmp_path / "out", failing)
    cells = pd.read_parquet(out / "data" / "cells.parquet").drop_duplicates("cell")
    failed = cells[cells["status"] == "failed"]
    assert 0 < len(failed) < len(cells)
    assert failed["sha256"].isna().all()
    page = text(build_report(spec, out, notebooks=False).read_text("utf-8"))
    assert f"{len(failed)} of {len(cells)} trainings failed with an error" in page
    assert re.findall(r".{40}\b(?:nan|NaN(?! or an infinity)|NaT|<NA>)\b.{20}", page) == []
    results = ledger.load_results(spec, out)
    dev = results.loss(spec.condition("fixed"), "dev", 30)
    assert sorted(dev.index) == [0, 1, 2]
    assert dev.isna().sum() == {"one seed": 1, "a condition": 3, "a twin": 1}.get(lost, 0)
    if lost == "one seed":
        assert "1 of 3 diverged" in page  # no mean over the seeds that are left


def test_a_gate_over_a_failed_cell_does_not_hold(tmp_path: Path) -> None:
    spec = load(tmp_path)
    out = finished(spec, tmp_path / "out", lambda cell: cell.seed == 1)
    listing, passed = ledger.verdicts(spec, out)
    assert not passed, listing


def test_the_notebook_of_a_condition_shows_a_failed_seed_without_a_hash(tmp_path: Path) -> None:
    spec = load(tmp_path, {"seeds": [0, 1]})
    out = finished(spec, tmp_path / "out", lambda cell: cell.seed == 1 and cell.protocol == "paired")
    shown = open_condition("fixed", str(out), str(tmp_path / "tiny.yaml")).seeds().html
    assert "failed" in shown and shown.count(">done<") == 1
