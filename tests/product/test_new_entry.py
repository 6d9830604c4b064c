"""A new activation and a new norm, each with a helper and a constant: no cell that does not use them becomes stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import study
from tests.support.finished import ENGINE, finished
from tests.support.tiny import load, write

PACKAGE = Path(study.__file__).parent
ACTIVATION = """

STEEP = 3.0


def _steep(z: Floats) -> Floats:
    return np.tanh(STEEP * z) + STEEP * LEAK * z


def _steep_torch(z: Any) -> Any:
    return (STEEP * z).tanh() + STEEP * LEAK * z


register(Activation("steep", _steep_torch, phi=_steep, slope=lambda z: STEEP * (1 - np.tanh(STEEP * z) ** 2 + LEAK)))
"""
NORM = """

FLOOR = 0.1


def _floored(x: Any) -> Any:
    return x.abs().mean(2, keepdim=True).clamp(min=FLOOR) + EPS


def _mean_norm(x: Any, params: Any, given: Any, options: Any) -> Any:
    return params["gain"] * x / _floored(x), None


register(Norm("mean", label="MeanNorm", normalise=_mean_norm, parameters=(Parameter("gain", "meangain", ONES),)))
"""
OWN = """
from typing import Any

import numpy as np

from study.network.activations import LEAK, Activation, Floats, register
"""
OWN_NORM = """
from typing import Any

from study.network.inits import ONES
from study.network.norms import EPS, Norm, Parameter, register
"""
PLAN = """
import sys
from pathlib import Path
from study.execution.listing import plan_text
from study.spec.read import read_study

spec = read_study(Path(sys.argv[1]), name="tiny.yaml", trust="always")
print(plan_text(spec, 1, sys.argv[3], "cpu", Path(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished tiny study in `out`, with its cache, and a copy of the package beside it."""
    folder = tmp_path_factory.mktemp("new")
    finished(load(folder), folder / "out")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "copy" / PACKAGE.name, ignore=ignored)
    return folder


def plan(home: Path, package: Path) -> str:
    """The plan of the study by the package in a folder, in a process of its own."""
    command = [sys.executable, "-c", PLAN, str(home / "tiny.yaml"), str(home / "out" / "cache"), ENGINE]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_entries_in_the_packages_own_files_leave_every_cell_done(home: Path) -> None:
    network = home / "copy" / PACKAGE.name / "network"
    assert "nothing to train: every cell is done" in plan(home, home / "copy")
    for name, text in (("activations", ACTIVATION), ("norms", NORM)):
        path = network / f"{name}.py"
        path.write_text(path.read_text("utf-8") + text, "utf-8")
    assert "nothing to train: every cell is done" in plan(home, home / "copy")
    path = network / "norms.py"  # a constant of an entry that some cells use
    path.write_text(
        path.read_text("utf-8").replace('params["gain"] * (x - used.mean)', 'params["gain"] * (x + used.mean)')
    )
    changed = plan(home, home / "copy")
    assert "stale: the code of norm batch changed" in changed
    assert ": done" in changed


def test_entries_that_a_study_file_registers_leave_every_cell_done(home: Path) -> None:
    (home / "own_act.py").write_text(OWN + ACTIVATION, "utf-8")
    (home / "own_norm.py").write_text(OWN_NORM + NORM, "utf-8")
    write(home, {"extensions": ["own_act.py", "own_norm.py"]})
    try:
        text = plan(home, PACKAGE.parent)
    finally:
        write(home)
    assert "nothing to train: every cell is done" in text
    assert "extensions: own_act.py, own_norm.py" in text
