"""`study verify`: cells of a report trained again come out as it says, and what does not is seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from finished import in_process
from finished import quick_run as run
from tiny import load, write

from study import tables
from study.errors import SpecError
from study.resolve import read
from study.run import How
from study.verify import verify

TWINS = {"twins": {"of": ["fixed"], "seeds": 1, "short": {"seeds": 2, "steps": 5}}}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained in this process."""
    monkeypatch.setattr("study.verify.run_shards", in_process)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    run(load(folder, TWINS), folder / "out", How(workers=2, cache=folder / "cache"))
    return folder


def altered(report: Path, folder: Path, table: str, change: Callable[[pd.DataFrame], object]) -> Path:
    """A copy of the report with a table changed, the manifest naming the changed one."""
    import shutil

    shutil.copytree(report / "out", folder / "out")
    frame = tables.read(folder / "out" / "data")[table].copy()
    change(frame)
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    manifest["tables"][table] = tables.write(table, frame, folder / "out" / "data")
    (folder / "out" / "manifest.json").write_text(json.dumps(manifest))
    return folder / "out"


def test_every_cell_comes_out_bit_for_bit(report: Path) -> None:
    text, passed = verify(read(report / "tiny.yaml"), report / "out", None, 0, 2)
    assert passed, text
    assert text.count("same bits") == 12
    assert "all 12 come out as the report says" in text


def test_a_choice_is_made_by_its_seed(report: Path) -> None:
    spec = read(report / "tiny.yaml")
    first, second, other = (verify(spec, report / "out", 3, seed, 2)[0] for seed in (0, 0, 1))
    assert first == second != other
    assert "3 of 12 cells, chosen by seed 0" in first


def test_other_parameters_are_seen(report: Path, tmp_path: Path) -> None:
    def change(cells: pd.DataFrame) -> None:
        cells.loc[cells["engine"] == "fused", "sha256"] = "0" * 64

    text, passed = verify(read(report / "tiny.yaml"), altered(report, tmp_path, "cells", change), None, 0, 2)
    assert not passed
    assert text.count("DIFFERS: the fused engine gives other bits") == 10
    assert "10 of 12 differ" in text


def test_another_loss_is_seen_where_the_bits_are_the_same(report: Path, tmp_path: Path) -> None:
    def change(losses: pd.DataFrame) -> None:
        chosen = (losses["condition"] == "baseline") & (losses["seed"] == 1) & (losses["step"] == 30)
        assert chosen.any()
        losses.loc[chosen, "loss"] += 2e-6

    text, passed = verify(read(report / "tiny.yaml"), altered(report, tmp_path, "losses", change), None, 0, 2)
    assert not passed
    assert "1 of 12 differ" in text


def test_other_versions_are_said_and_widen_the_tolerance(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(losses: pd.DataFrame) -> None:
        losses["loss"] += 1e-3

    folder = altered(report, tmp_path, "losses", change)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["versions"]["torch"] = "2.0.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    text, passed = verify(read(report / "tiny.yaml"), folder, 2, 0, 2)
    assert passed, text
    assert "there 2.0.0" in text
    assert "may differ by 0.005" in text


def test_another_study_is_refused(report: Path, tmp_path: Path) -> None:
    write(tmp_path, {"training.batch_size": 9})
    with pytest.raises(SpecError, match="made from another study"):
        verify(read(tmp_path / "tiny.yaml"), report / "out", 1, 0, 1)


def test_the_manifest_names_every_cells_parameters(report: Path) -> None:
    facts: dict[str, Any] = json.loads((report / "out" / "manifest.json").read_text())
    cells = tables.read(report / "out" / "data")["cells"]
    assert facts["parameters"] == dict(zip(cells["cell"], cells["sha256"], strict=True))
    assert all(len(digest) == len(hashlib.sha256().hexdigest()) for digest in facts["parameters"].values())


def test_the_fused_engine_owes_its_bits_on_another_cpu_too(report: Path, tmp_path: Path) -> None:
    def change(cells: pd.DataFrame) -> None:
        cells.loc[(cells["engine"] == "fused") & (cells["seed"] == 1), "sha256"] = "0" * 64

    folder = altered(report, tmp_path, "cells", change)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["cpu"]["level"] = "x86_64 another avx2"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    text, passed = verify(read(report / "tiny.yaml"), folder, None, 0, 2)
    assert not passed
    assert text.count("the fused engine gives other bits") == 5
    assert "there x86_64 another avx2" in text
