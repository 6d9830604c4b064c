"""The project as it is installed: a wheel with all that it needs, run beside modules of the user's that have our names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.support.tiny import GONE, tiny, write

HOME = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def command(*words: str | Path, cwd: Path, **variables: str) -> str:
    """What a command prints, in an environment that knows nothing of the repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "STUDY", "JUPYTER"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tree, built from a copy: building leaves files behind."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HOME / name, source)
    shutil.copytree(HOME / "study", source / "study", ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
    command(*pip, "-w", built, ".", cwd=source)
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def study(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed from the wheel into an environment that has this one's packages, but not the project."""
    folder = tmp_path_factory.mktemp("environment")
    command(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    command(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel, cwd=folder)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(command(python, "-c", where, cwd=folder).strip())
    # a path in a .pth file is searched, but its own .pth files are not: an editable install of the project is not seen
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = command(python, "-c", "import study; print(study.__file__)", cwd=folder).strip()
    assert Path(found) == site / "study" / "__init__.py"
    return folder / "bin" / "study"


def test_a_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    files = [path for path in (HOME / "study").rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {path.relative_to(HOME).as_posix() for path in files}


def test_it_runs_where_nothing_of_the_repository_is_and_no_module_of_the_users(study: Path, tmp_path: Path) -> None:
    conditions = {name: tiny()["conditions"][name] for name in ("baseline", "fixed")}
    bare = dict.fromkeys(("published", "probe", "claims", "groups"), GONE)
    smoke = {"training": {"steps": 12, "lr": 0.1}, "seeds": 2}
    file = write(tmp_path, {**bare, "conditions": conditions, "profiles": {"smoke": smoke}})
    for name in ("study", "seaborn", "random"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__ + chr(10))\n")
    (home := tmp_path / "home").mkdir()  # a kernel of the user's own could be another Python
    arguments = (file.name, "--profile", "smoke")
    options = ("--engine", "autograd", "--workers", "2")  # nothing to compile
    # nbconvert's templates lie beside this environment's packages, in no place that Python itself would find
    variables = {"HOME": str(home), "JUPYTER_PATH": str(Path(sysconfig.get_path("data")) / "share" / "jupyter")}
    page = command(study, "run", *arguments, *options, cwd=tmp_path, **variables).strip()
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    assert "<svg" in (tmp_path / page).read_text("utf-8")
    notebooks = (tmp_path / page).parent / "notebooks"
    assert sorted(path.stem for path in notebooks.iterdir()) == ["baseline", "fixed"]
    assert all("<svg" in path.read_text("utf-8") for path in notebooks.iterdir())
    command(study, "check", *arguments, cwd=tmp_path)
    assert "all 1 come out as the report says" in command(
        study, "verify", *arguments, "--cells", "1", "--workers", "0", cwd=tmp_path
    )
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


def test_the_skeletons_of_extensions_run_in_workers_on_dask_and_in_notebooks(study: Path, tmp_path: Path) -> None:
    for executor in ("local", "dask"):
        folder = tmp_path / executor
        shutil.copytree(HOME / "examples" / "extend", folder, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("random", "seaborn"):
            (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__)\n")
        (home := folder / "home").mkdir()
        variables = {"HOME": str(home), "JUPYTER_PATH": str(Path(sysconfig.get_path("data")) / "share" / "jupyter")}
        options = ("--engine", "autograd", "--workers", "2", "--executor", executor, "--out", "out")
        notebooks = "--notebooks" if executor == "local" else "--no-notebooks"
        command(study, "run", "study.yaml", *options, notebooks, cwd=folder, **variables)
        assert "1 claims judged" in command(study, "check", "study.yaml", "--out", "out", cwd=folder)
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    hashes = {name: (tmp_path / name / "out" / "data" / "metrics.parquet").read_bytes() for name in ("local", "dask")}
    assert hashes["local"] == hashes["dask"]
    pages = {path.stem: path.read_text("utf-8") for path in (tmp_path / "local" / "out" / "notebooks").iterdir()}
    assert sorted(pages) == ["centred", "mish", "plain", "signs"]
    assert "signs of size 0.5" in pages["signs"] and "outputs below 0" in pages["mish"]
