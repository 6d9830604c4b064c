"""README's numbers are those of the committed report, its files are those of the project, its examples and commands work."""

from __future__ import annotations

import ast
import doctest
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer

import study
from benchmarks import figure, table
from benchmarks import results as bench
from study.analysis.results import Results
from study.cli import app
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


# -- examples and commands ----------------------------------------------------------------------------------------


def example(name: str) -> str:
    """The code block between the markers of this name."""
    text = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```\n<!-- /{name} -->", README, re.S)
    assert text is not None, name
    return text[1]


def test_the_skeleton_in_readme_is_the_file_to_copy() -> None:
    assert example("my_activation") == (HOME / "examples" / "extend" / "my_activation.py").read_text("utf-8")


def test_the_python_example_prints_what_readme_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HOME)
    shown = doctest.DocTestParser().get_doctest(example("python"), {}, "README", "README.md", 0)
    said: list[str] = []
    found = doctest.DocTestRunner(verbose=False).run(shown, out=said.append)
    assert found.attempted >= 8
    assert found.failed == 0, "".join(said)


def test_the_first_study_runs_and_is_opened_by_the_public_function(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "names.txt").write_bytes((HOME / "data" / "names.txt").read_bytes())
    (tmp_path / "first.yaml").write_text(example("first"), "utf-8")
    command = [sys.executable, "-m", "study", "run", "first.yaml"]
    options = [
        "--no-notebooks",
        "--workers",
        "1",
        "--engine",
        "autograd",
    ]  # no compiler: it takes longer than the training
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "build" / "first" / "index.html").exists()
    report = study.open_report(tmp_path / "build" / "first")
    assert report.conditions == ["large", "small"]
    assert report.loss("small").mean() < report.loss("large").mean()
    assert len(report.loss("small")) == 3


def test_the_example_of_a_study_file_is_accepted(tmp_path: Path) -> None:
    (text,) = (block for block in re.findall(r"```yaml\n(.*?)```", README, re.S) if "words.txt" in block)
    (tmp_path / "words.txt").write_bytes((HOME / "data" / "names.txt").read_bytes())
    (tmp_path / "my-study.yaml").write_text(text, "utf-8")
    assert [c.name for c in read_study(tmp_path / "my-study.yaml").conditions] == ["plain", "repaired"]


def options(name: str) -> set[str]:
    """The options of a subcommand of `study`."""
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def sessions() -> set[str]:
    """The sessions of noxfile.py."""
    tree = ast.parse((HOME / "noxfile.py").read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}


def test_every_command_in_readme_exists_with_its_options() -> None:
    prose = re.sub(r"```.*?```", "", README, flags=re.S)
    indented = re.findall(r"^    (.*?)(?:  #.*)?$", prose, re.M)
    lines = [*indented, *(text.replace("\n", " ") for text in re.findall(r"`([^`]+)`", prose))]
    of_study = [line.split() for line in lines if re.match(r"study [a-z]", line)]
    assert {words[1] for words in of_study} >= {"run", "plan", "check", "clean", "verify", "diff"}
    for words in of_study:
        assert {word for word in words if word.startswith("--")} <= options(words[1]), words
    of_nox = [(name, rest) for line in lines for name, rest in re.findall(r"nox -s (\w+)(.*)", line)]
    assert {name for name, _ in of_nox} >= {"study", "tests"}
    for name, rest in of_nox:
        assert name in sessions(), name
        asked = set(re.findall(r"--\w[\w-]*", rest))
        assert not asked or asked <= options("run" if name == "study" else name), (name, rest)


def test_every_option_that_readme_names_alone_is_one_of_study_run() -> None:
    alone = set(re.findall(r"`(--[a-z-]+)[^`]*`", re.sub(r"```.*?```", "", README, flags=re.S))) - options("run")
    assert alone == set(), alone


def test_every_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert len(links) >= 5
    assert [link for link in links if not (HOME / link).exists()] == []


def test_every_module_in_the_picture_of_the_house_exists() -> None:
    page = (HOME / "ARCHITECTURE.md").read_text("utf-8")
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", page))
    assert len(named) >= 20
    assert [name for name in sorted(named) if not (HOME / "study" / name).exists() and not (HOME / name).exists()] == []
    for path in (HOME / "study").iterdir():
        assert not (path / "__init__.py").exists() or f"`{path.name}/`" in page, path.name


def test_readme_lists_the_public_names_where_they_are_used() -> None:
    for name in study.__all__:
        assert f"study.{name}" in README


# -- the benchmarks -------------------------------------------------------------------------------------------------


def test_the_factors_of_speed_in_readme_are_those_that_were_measured() -> None:
    found = bench.read(bench.PATH)
    plain, normed = (bench.ratios(found, norm)["loop"] for norm in ("none", "batch"))
    said = f"On one core the fused engine is {plain:.1f} times as fast as the lecture's loop without a norm, and {normed:.1f} times with BatchNorm"
    assert said in " ".join(README.split())


def test_the_page_of_the_benchmarks_is_made_from_their_results() -> None:
    page = (HOME / "benchmarks" / "README.md").read_text("utf-8")
    found = bench.read(bench.PATH)
    part = table.markdown(found, figure.describe(found))
    assert f"{table.OPEN}\n{part}\n{table.CLOSE}" in page
    for link in re.findall(r"\]\(([^)]+)\)", part):
        assert (HOME / "benchmarks" / link).exists(), link
