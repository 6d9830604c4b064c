"""What a part of the package may load: seen in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent


def loaded(*modules: str) -> set[str]:
    """Top-level names of all that importing these modules loads."""
    code = f"import sys, {', '.join(modules)}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=HOME)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        (["study.words", "study.probe"], {"torch", "pydantic"}),
        (["study.resolve"], {"torch", "pandas", "matplotlib"}),
    ],
)
def test_a_part_loads_no_more_than_it_needs(modules: list[str], without: set[str]) -> None:
    assert not loaded(*modules) & without
