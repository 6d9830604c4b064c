"""README's numbers are those of the committed report, and its files are those of the project."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from study.analysis.results import Results
from study.parquet import read as read_tables
from study.spec.read import read_study

HOME = Path(__file__).parents[2]
README = (HOME / "README.md").read_text("utf-8")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def block(name: str) -> list[list[str]]:
    """Rows of the table between the markers of this name."""
    text = re.search(rf"<!-- {name} -->(.*?)<!-- /{name} -->", README, re.S)
    assert text is not None, name
    return [cells(line) for line in text[1].splitlines() if line.startswith("|")][2:]


@pytest.fixture(scope="module")
def results() -> Results:
    return Results(read_study(HOME / "experiments.yaml"), read_tables(HOME / "reports" / "data"), {})


def test_the_ladder_in_readme_is_that_of_the_report(results: Results) -> None:
    rows = block("result")
    assert [row[0] for row in rows] == [c.title for c in results.main]
    for condition, (_, *printed) in zip(results.main, rows, strict=True):
        saturation = 100 * results.metric(condition, "saturation_99", 0, 1).mean()
        dev = results.loss(condition, "dev", condition.schedule.steps)
        expected = [f"{results.loss(condition, 'train', 0).mean():.3f}", f"{saturation:.1f} %", f"{dev.mean():.4f}"]
        assert printed == expected, condition.title
        assert len(dev) == 10


def test_the_published_runs_in_readme_are_counted_right(results: Results) -> None:
    t = results.tables["published"]
    judged = t[t["tolerance"].notna()]
    good = (judged["reproduced"] - judged["published"]).abs() <= judged["tolerance"]
    assert f"{int(good.sum())} of {len(judged)} published losses" in README


def test_the_twins_in_readme_are_those_of_the_report(results: Results) -> None:
    t = results.tables["twins"]
    ends = t[t["step"] == 200_000]
    baseline = 100 * ends[ends["condition"] == "baseline"]["distance"]
    assert f"{baseline.min():.1f} % to {baseline.max():.0f} % apart" in README
    assert (ends[ends["condition"] != "baseline"]["loss_gap"].abs() <= 1e-6).all()


def test_every_package_and_every_plain_module_is_named_in_readme() -> None:
    named = set(re.findall(r"[\w/]+(?:\.\w+)?/?", README))
    for path in (HOME / "study").iterdir():
        if path.is_dir() and (path / "__init__.py").exists():
            assert f"study/{path.name}/" in named, path.name
        elif path.suffix == ".py" and path.stem not in ("__init__", "__main__"):
            assert path.name in named or f"study/{path.name}" in named, path.name


def test_the_committed_tables_have_all_ten_seeds() -> None:
    cells_ = pd.read_parquet(HOME / "reports" / "data" / "cells.parquet")
    ladder = cells_[(cells_["condition"] == "baseline") & ~cells_["twin"] & (cells_["steps"] == 200_000)]
    assert sorted(ladder["seed"]) == list(range(10))
