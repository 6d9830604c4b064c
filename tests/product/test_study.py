"""The whole thing, end to end, on a tiny study: tables, page, notebooks, gate, and the same bytes again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from study.analysis import export
from study.execution.run import RunOptions, run_study
from study.parquet import read as read_tables
from study.parquet import write as write_table
from study.spec.read import read_study
from study.spec.records import Spec
from study.spec.subset import only_conditions

HERE = Path(__file__).parents[1]


def study(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "study", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd or HERE.parent, timeout=500, check=False)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file of a report, the log of durations aside."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in ("run.json", ".lock"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    done = study("run", str(HERE / "support" / "tiny.yaml"), "--out", str(out), "--workers", "2")
    assert done.returncode == 0, done.stderr
    return out


def of_training(folder: Path) -> dict[str, str]:
    """What a training gives, without what is rendered from it."""
    return {name: digest for name, digest in digests(folder).items() if name.startswith(("data/", "manifest"))}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_second_run_by_fewer_processes_gives_the_same_bytes(report: Path, tmp_path: Path, workers: int) -> None:
    done = run_study(
        read_study(HERE / "support" / "tiny.yaml"), tmp_path, RunOptions(workers=workers, cache=tmp_path / "cache")
    )
    assert done.trained == 10
    assert {"manifest.json", "data/losses.parquet"} <= set(of_training(tmp_path))
    assert of_training(tmp_path) == of_training(report)


def test_the_same_run_again_trains_nothing_and_gives_the_same_bytes(report: Path, tmp_path: Path) -> None:
    done = run_study(
        read_study(HERE / "support" / "tiny.yaml"),
        tmp_path,
        RunOptions(workers=0, cache=Path(os.environ["STUDY_CACHE"])),
    )
    assert (done.cells, done.trained) == (10, 0)
    assert of_training(tmp_path) == of_training(report)


def test_rendering_again_changes_nothing(report: Path) -> None:
    before = digests(report)
    done = study("report", str(HERE / "support" / "tiny.yaml"), "--out", str(report))
    assert done.returncode == 0, done.stderr
    assert digests(report) == before


def test_the_report_is_rendered_without_torch() -> None:
    code = "import sys, study.report.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE.parent, check=False).returncode == 0


def test_the_page_names_every_condition_and_links_its_notebook(report: Path) -> None:
    html = (report / "index.html").read_text("utf-8")
    conditions = pd.read_parquet(report / "data" / "conditions.parquet")
    assert len(conditions) >= 3
    for title in conditions["title"]:
        assert title in html
    for page in (report / "notebooks").glob("*.html"):
        assert f'href="notebooks/{page.name}"' in html
    assert len(list((report / "notebooks").glob("*.html"))) == len(conditions)


def test_nothing_rendered_holds_a_path_of_this_machine(report: Path) -> None:
    for path in [*report.rglob("*.html"), report / "manifest.json", report / "report.json"]:
        text = path.read_text("utf-8")
        assert str(report) not in text, path
        assert str(Path.home()) not in text, path
        assert str(HERE.parent) not in text, path


def test_report_json_keeps_its_schema_and_agrees_with_the_tables(report: Path) -> None:
    found = json.loads((report / "report.json").read_text("utf-8"))
    jsonschema.validate(found, export.record_schema())
    conditions = pd.read_parquet(report / "data" / "conditions.parquet")
    assert [row["condition"] for row in found["summary"]] == list(conditions["condition"])
    assert found["provenance"] == json.loads((report / "manifest.json").read_text("utf-8"))
    losses = pd.read_parquet(report / "data" / "losses.parquet")
    end = losses[(losses["condition"] == "baseline") & (losses["step"] == 30) & (losses["split"] == "dev")]
    assert found["summary"][0]["losses"]["dev"]["mean"] == pytest.approx(end["loss"].mean())
    assert 'href="report.json"' in (report / "index.html").read_text("utf-8")


def test_the_manifest_names_the_hash_of_every_table(report: Path) -> None:
    tables = json.loads((report / "manifest.json").read_text("utf-8"))["tables"]
    found = {p.stem: hashlib.sha256(p.read_bytes()).hexdigest() for p in (report / "data").glob("*.parquet")}
    assert tables == found


def tables(spec: Spec, out: Path) -> None:
    """The tables and the manifest of a study, without its pages."""
    run_study(spec, out, RunOptions(workers=0, cache=out / "cache"))


def test_only_and_seeds_change_no_number_of_what_is_left(report: Path, tmp_path: Path) -> None:
    name = pd.read_parquet(report / "data" / "conditions.parquet")["condition"].iloc[1]
    tables(only_conditions(read_study(HERE / "support" / "tiny.yaml", seeds=[1]), [name]), tmp_path)
    for table in ("losses", "metrics", "curves"):
        whole, part = (pd.read_parquet(folder / "data" / f"{table}.parquet") for folder in (report, tmp_path))
        same = whole[(whole["condition"] == name) & (whole["seed"] == 1)].reset_index(drop=True)
        assert len(same), table
        pd.testing.assert_frame_equal(part, same)


def test_the_gate_passes_on_the_repaired_start(report: Path) -> None:
    done = study("check", str(HERE / "support" / "tiny.yaml"), "--out", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate" in done.stdout


def test_the_gate_fails_when_the_fix_is_undone(tmp_path: Path) -> None:
    """W2 × 1 where the study says 0.01, under the same claim: the first loss is far from ln V, and the exit status is 1."""
    text = (HERE / "support" / "tiny.yaml").read_text("utf-8")
    (tmp_path / "tiny.txt").write_bytes((HERE / "support" / "tiny.txt").read_bytes())
    broken = text.replace("output: {weight: {std: 0.01}, bias: {std: 0}}", "output: {weight: {std: 1}, bias: {std: 0}}")
    assert broken != text
    # the gate is bound to the condition by name, so that undoing the fix cannot take it out of the claim's reach
    broken = broken.replace("of: {output_std: {max: 0.01}}", "of: fixed")
    (tmp_path / "tiny.yaml").write_text(broken, "utf-8")
    tables(read_study(tmp_path / "tiny.yaml"), tmp_path / "out")
    done = study("check", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out"))
    assert done.returncode == 1, done.stdout
    assert "FAILS" in done.stdout


def test_a_changed_study_is_told_from_its_tables(report: Path, tmp_path: Path) -> None:
    text = (HERE / "support" / "tiny.yaml").read_text("utf-8")
    (tmp_path / "tiny.txt").write_bytes((HERE / "support" / "tiny.txt").read_bytes())
    (tmp_path / "tiny.yaml").write_text(text.replace("std: 0.01}", "std: 0.02}", 1), "utf-8")
    done = study("check", str(tmp_path / "tiny.yaml"), "--out", str(report))
    assert done.returncode == 2
    assert "out of date" in done.stderr


def test_a_report_is_compared_with_another(report: Path, tmp_path: Path) -> None:
    shutil.copytree(report, tmp_path / "other")
    path = tmp_path / "other" / "data" / "losses.parquet"
    losses = read_tables(path.parent)["losses"]
    losses.loc[(losses["condition"] == "batchnorm") & (losses["step"] == 30), "loss"] += 0.5
    write_table("losses", losses, path.parent)
    same = study("diff", str(report), str(report))
    assert (same.returncode, same.stderr) == (0, "")
    assert "Every table holds the same rows." in same.stdout
    differ = study("diff", str(report), str(tmp_path / "other"), "--html", str(tmp_path / "d.html"))
    assert (differ.returncode, differ.stderr) == (1, "")
    assert "batchnorm: loss (nats), dev, running statistics, end: +0.5 [+0.5, +0.5], n = 2" in differ.stdout
    assert "running statistics" in (tmp_path / "d.html").read_text("utf-8")
