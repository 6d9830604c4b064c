"""What all tests share: one compute thread, Ctrl-C as in a terminal, the project's own study and its data."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
import torch

from study.data.examples import Dataset, dataset
from study.data.words import Words, load
from study.spec.read import read_study
from study.spec.records import Spec

torch.set_num_threads(1)  # as a worker; two runs then add in the same order
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C; tests press it

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache of these tests' own: what earlier ones trained is not taken for granted."""
    os.environ["STUDY_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def study() -> Spec:
    """experiments.yaml, profile full."""
    return read_study(ROOT / "experiments.yaml")


@pytest.fixture(scope="session")
def words(study: Spec) -> Words:
    """The words of data/names.txt."""
    return load(study.data, study.folder)


@pytest.fixture(scope="session")
def names(words: Words) -> Dataset:
    """data/names.txt with the lecture's contexts of three characters."""
    return dataset(words, 3)


SLOW = (
    "test_study.py",
    "test_browser.py",
    "test_real.py",
    "test_hostile.py",
    "test_block.py",
    "test_pool.py",
    "test_executors.py",
    "test_ledger_trained.py",
    "test_scalar.py",
    "test_status.py",
    "test_user_studies.py",
)  # files of half a minute and more, started first


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--drawn 20 --draw-seed TEXT`: only so many of the tests that are chosen otherwise."""
    parser.addoption("--drawn", type=int, default=None, help="run only so many tests, drawn by --draw-seed")
    parser.addoption("--draw-seed", default="0", help="what --drawn draws by: the same text draws the same tests")


def pytest_report_header(config: pytest.Config) -> str | None:
    """What was drawn, to draw it again."""
    drawn = config.getoption("--drawn")
    return None if drawn is None else f"drawn: {drawn} tests, seed {config.getoption('--draw-seed')}"


@pytest.hookimpl(trylast=True)  # after the marks have chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Longest files first, so that no process is left with one when the others have finished."""
    drawn = config.getoption("--drawn")
    if drawn is not None:
        chosen = set(random.Random(config.getoption("--draw-seed")).sample(items, min(drawn, len(items))))
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = [item for item in items if item in chosen]
    items.sort(key=lambda item: SLOW.index(item.path.name) if item.path.name in SLOW else len(SLOW))
