"""Every condition has a notebook, which reads its own rows.

It is executed when these change, and a user can execute it from the root of the repository.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from study import parquet, provenance
from study.analysis import ledger
from study.errors import SpecError
from study.report.build import stamp
from study.report.notebook import execute, view
from study.spec.records import Spec
from tests.support.finished import finished
from tests.support.tiny import GONE, HERE, load

CHANGES = dict.fromkeys(
    ("published", "probe", "claims", "groups", "profiles", "conditions.calibrated", "conditions.zero"), GONE
)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    return load(tmp_path_factory.mktemp("study"), CHANGES)


@pytest.fixture(scope="module")
def folder(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(spec, tmp_path_factory.mktemp("out"))


def render(spec: Spec, folder: Path) -> list[str]:
    """The conditions whose notebook is asked for; the execution itself is left out."""
    results, asked = ledger.load_results(spec, folder), list[str]()

    def named(folder: str, file: str, conditions: Sequence[str]) -> dict[str, str]:
        asked.extend(conditions)
        return {name: f"<p>{name}</p>" for name in conditions}

    assert execute.render_notebooks(results, folder, stamp(results), named) == asked
    return asked


def changed(folder: Path, table: str, condition: str, column: str) -> None:
    """One value of one condition, changed in the table and in the manifest."""
    frame = parquet.read(folder / "data")[table]
    row = frame.index[frame["condition"] == condition][0]
    frame.loc[row, column] = "0" * 64 if column == "sha256" else float(frame.loc[row, column]) + 1
    facts = provenance.read_manifest(folder)
    facts["tables"][table] = parquet.write(table, frame, folder / "data")
    provenance.write_manifest(facts, folder)


def copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to / "reports")
    return to / "reports"


@pytest.mark.parametrize(
    ("table", "column"), [("losses", "loss"), ("metrics", "value"), ("curves", "loss"), ("cells", "sha256")]
)
def test_a_changed_table_executes_the_notebook_of_its_condition_alone(
    spec: Spec, folder: Path, tmp_path: Path, table: str, column: str
) -> None:
    out = copy(folder, tmp_path)
    assert render(spec, out) == [c.name for c in spec.conditions]
    assert render(spec, out) == []
    others = {path.name: path.stat().st_mtime_ns for path in out.glob("notebooks/*.html")}
    changed(out, table, "fixed", column)
    assert render(spec, out) == ["fixed"]
    assert {n: t for n, t in others.items() if (out / "notebooks" / n).stat().st_mtime_ns != t}.keys() == {"fixed.html"}


def test_a_notebook_that_no_longer_has_a_condition_goes(spec: Spec, folder: Path, tmp_path: Path) -> None:
    out = copy(folder, tmp_path)
    (out / "notebooks").mkdir()
    (out / "notebooks" / "gone.html").write_text("old")
    render(spec, out)
    assert sorted(p.stem for p in (out / "notebooks").iterdir()) == sorted(c.name for c in spec.conditions)


def test_a_notebook_sees_the_rows_of_its_condition_and_nothing_else(spec: Spec, folder: Path) -> None:
    shown = view.open_condition("fixed", str(folder), str(spec.path))
    assert set(shown.results.tables) == {*view.SHOWN_TABLES, "measures"}
    assert all(set(shown.results.tables[name]["condition"]) == {"fixed"} for name in view.SHOWN_TABLES)


def test_tables_made_again_are_read_again(spec: Spec, folder: Path, tmp_path: Path) -> None:
    out = copy(folder, tmp_path)
    first = view.open_condition("fixed", str(out), str(spec.path)).losses().html
    assert view.open_condition("fixed", str(out), str(spec.path)).losses().html == first
    changed(out, "losses", "fixed", "loss")
    assert view.open_condition("fixed", str(out), str(spec.path)).losses().html != first


def test_an_unknown_condition_is_refused_in_one_line(spec: Spec, folder: Path) -> None:
    with pytest.raises(SpecError, match=r"^no condition 'fixd'; did you mean 'fixed'\?$"):
        view.open_condition("fixd", str(folder), str(spec.path))


@pytest.fixture(scope="module")
def bodies(spec: Spec, folder: Path) -> dict[str, str]:
    """Every notebook, executed by one kernel."""
    return execute.execute_notebooks(str(folder), str(spec.path), [c.name for c in spec.conditions])


def test_a_notebook_in_a_used_kernel_is_the_same_as_in_a_fresh_one(
    spec: Spec, folder: Path, bodies: dict[str, str]
) -> None:
    last = spec.conditions[-1].name
    assert execute.execute_notebooks(str(folder), str(spec.path), [last]) == {last: bodies[last]}


def test_executed_notebooks_hold_their_condition_and_nothing_of_this_machine(
    spec: Spec, folder: Path, bodies: dict[str, str]
) -> None:
    assert list(bodies) == [c.name for c in spec.conditions]
    losses = pd.read_parquet(folder / "data" / "losses.parquet")
    for condition in spec.conditions:
        body = bodies[condition.name]
        assert condition.title in body
        assert "svg" in body
        assert str(folder) not in body
        assert str(HERE) not in body
        assert "Traceback" not in body
        assert f"-p condition {condition.name}" in body
    assert set(losses["condition"]) == set(bodies)


@pytest.mark.slow
def test_the_notebook_runs_by_hand_from_the_root_of_the_repository(tmp_path: Path) -> None:
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", "study/report/notebook/condition.ipynb", str(out), "-p", "condition"]
    done = subprocess.run(
        [*command, "kaiming", "--no-progress-bar"],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unknown parameter" not in done.stderr
    text = out.read_text("utf-8")
    assert "Kaiming" in text
    assert "<svg" in text
