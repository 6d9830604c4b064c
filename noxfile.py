"""The menu: `nox -l` lists it, `nox -s study` makes the report, flags after `--` pass through."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "virtualenv"  # pip: it honours constraints.txt and a local wheel of torch
nox.options.sessions = ["lint", "tests"]

HOME = Path(__file__).parent
SHARED = HOME / ".nox" / "shared"  # study, report, check and tests share one environment: torch is installed once
BIN = SHARED / ("Scripts" if os.name == "nt" else "bin")


def run(session: nox.Session, *command: str) -> None:
    """A Python command in the shared environment, which is made or brought up to date first."""
    wanted = hashlib.sha256(
        b"".join((HOME / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    ).hexdigest()
    stamp = SHARED / f"installed-{sys.version_info.major}.{sys.version_info.minor}"
    if not (stamp.exists() and stamp.read_text() == wanted):
        session.run(sys.executable, "-m", "venv", "--clear", str(SHARED), external=True)
        python = str(BIN / "python")
        session.run(python, "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", ".[test]", external=True)
        stamp.write_text(wanted)
    session.run(str(BIN / "python"), *command, external=True)


@nox.session(venv_backend="none")
def study(session: nox.Session) -> None:
    """Train, measure and report. Results in the cache are used again. The full profile writes to reports/."""
    run(session, "-m", "study", "run", *session.posargs)


@nox.session(venv_backend="none")
def report(session: nox.Session) -> None:
    """Render the page again from the tables, without any training."""
    run(session, "-m", "study", "report", *session.posargs)


@nox.session(venv_backend="none")
def check(session: nox.Session) -> None:
    """Judge the claims by the tables; fails when a gate fails or cannot be told."""
    run(session, "-m", "study", "check", *session.posargs)


@nox.session(venv_backend="none")
def verify(session: nox.Session) -> None:
    """Train some cells of the report again; fails when they come out otherwise."""
    run(session, "-m", "study", "verify", *session.posargs)


@nox.session(venv_backend="none")
def robustness(session: nox.Session) -> None:
    """Some minutes of what `crashes` and `slow` do in full: kills, damaged study files, slow tests drawn by the commit."""
    commit = session.run("git", "rev-parse", "HEAD", external=True, silent=True, success_codes=range(256))
    run(session, "-m", "tests.robustness.kills", "--rounds", "2", "--kills", "5", "--seed", "0")
    run(session, "-m", "tests.robustness.fuzz", "--documents", "3000", "--seed", "0")
    run(session, "-m", "pytest", "-m", "slow", "--drawn", "16", "--draw-seed", str(commit).strip())


@nox.session(venv_backend="none")
def crashes(session: nox.Session) -> None:
    """Kill a study at 30 random moments and compare its tables; read 10,000 damaged study files."""
    run(session, "-m", "tests.robustness.kills", "--rounds", "5", "--kills", "6", "--seed", "0")
    run(session, "-m", "tests.robustness.fuzz", "--documents", "10000", "--seed", "0")


@nox.session(venv_backend="none")
def slow(session: nox.Session) -> None:
    """Run all slow tests."""
    run(session, "-m", "pytest", "-m", "slow", *session.posargs)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests."""
    run(session, "-m", "pytest", *session.posargs)


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Ruff (check and format), mypy, and the direction of every import; needs no torch."""
    session.install(
        *("-c", "constraints.txt", "ruff", "mypy", "nox", "types-PyYAML", "numpy", "pydantic", "typer", "import-linter")
    )
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports", env={"PYTHONPATH": str(HOME)})


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Time the engines beside their peers on an idle machine; `-- --quick` takes about a minute."""
    session.install("-c", "constraints.txt", "-e", ".", "jax")  # JAX is a peer: a dependency of this session only
    session.run("python", "-m", "benchmarks.speed", *session.posargs)
