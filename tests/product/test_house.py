"""What the package imports, and what a part of it loads in a fresh interpreter."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.finished import finished
from tests.support.tiny import load

HOME = Path(__file__).parents[2]
PACKAGE = HOME / "study"


def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """The import statements of a module, wherever they stand."""
    tree = ast.parse(path.read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]


def test_a_package_imports_nothing_of_ours_when_a_module_of_it_is_wanted() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        for node in imports(path):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else ["." * node.level + (node.module or "")]
            )
            assert not [name for name in names if name.startswith((".", "study"))], path


def test_no_module_imports_the_package_itself() -> None:
    """`from study import x` imports study/x.py, or the package x."""
    known = {path.stem for path in PACKAGE.iterdir()}
    for path in PACKAGE.rglob("*.py"):
        for node in imports(path):
            names = {alias.name for alias in node.names}
            assert "study" not in names, path
            assert not isinstance(node, ast.ImportFrom) or node.module != "study" or names <= known, path


def loaded(*modules: str) -> set[str]:
    """Top-level names of all that importing these modules loads."""
    code = f"import sys, {', '.join(modules)}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=HOME)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        (["study.data.words", "study.measurement.metrics", "study.measurement.probe"], {"torch", "pydantic"}),
        (["study.spec.read"], {"torch", "pandas", "matplotlib"}),
        (
            ["study.analysis.ledger", "study.analysis.diff", "study.analysis.export", "study.analysis.theory"],
            {"torch", "matplotlib", "seaborn"},
        ),
        (["study"], {"numpy", "pandas", "pydantic", "torch"}),
        (["study.analysis.reader"], {"torch", "matplotlib", "seaborn"}),
        (["study.report.differences"], {"torch", "matplotlib", "seaborn"}),
        (["study.report.figures.looks"], {"torch", "matplotlib", "seaborn"}),
        (["study.report.build"], {"torch"}),
        (
            ["study.execution.run", "study.execution.verify", "study.execution.listing"],
            {"torch", "numba", "matplotlib"},
        ),
    ],
)
def test_a_part_loads_no_more_than_it_needs(modules: list[str], without: set[str]) -> None:
    assert not loaded(*modules) & without


def test_a_public_name_is_loaded_from_its_module_when_it_is_used() -> None:
    code = "import study; print(*study.__all__, *dir(study), study.open_report.__module__, hasattr(study, 'nothing'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=HOME
    )
    assert done.stdout.split() == ["open_report", "open_report", "study.analysis.reader", "False"]


def test_a_report_is_judged_and_compared_without_torch_and_without_a_figure(tmp_path: Path) -> None:
    finished(load(tmp_path), tmp_path / "out")
    script = (
        "import sys; from study import cli; sys.argv = ['study', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit as end: print('exit', end.code)\n"
        "print('loaded', *sorted({'torch', 'matplotlib', 'seaborn'} & set(sys.modules)))"
    )
    for arguments in (["check", "tiny.yaml", "--out", "out"], ["diff", "out", "out"]):
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(HOME)},
        )
        *said, status, loaded = done.stdout.splitlines()
        assert said
        assert (status, loaded) == ("exit 0", "loaded"), done.stderr
