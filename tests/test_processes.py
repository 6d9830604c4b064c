"""A process of its own for what should leave no trace here, gone with whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.processes import call_apart

HOME = Path(__file__).parent.parent


def test_a_function_is_called_in_another_process_and_its_result_comes_back() -> None:
    assert call_apart(os.getpid) != os.getpid()
    assert call_apart(divmod, 7, 2) == (3, 1)


def test_an_error_there_is_an_error_here() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        call_apart(os.listdir, "/nowhere")


def test_a_process_runs_no_module_of_the_folder_that_it_starts_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of Python that is given its code by `-c` looks there first, for the standard library, too."""
    for name in ("random", "signal", "socket", "struct", "threading"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'a').write(__name__)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    code = "import os, sys; print('PYTHONSAFEPATH' in os.environ, '' in sys.path)"
    child = call_apart(subprocess.check_output, [sys.executable, "-c", code], text=True)
    assert child.split() == ["True", "False"]  # and no process of its own does
    assert not (tmp_path / "ran").exists()
    assert "PYTHONSAFEPATH" not in os.environ


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="tells a dead process from a zombie by /proc")
def test_a_process_goes_with_its_parent() -> None:
    script = (
        "import os, time\n"
        "from study.processes import pool\n"
        "if __name__ == '__main__':\n"
        "    executor = pool(1)\n"
        "    print(executor.submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=HOME) as parent:
        assert parent.stdout is not None
        child = Path("/proc", parent.stdout.readline().strip())
        assert child.exists()
        parent.kill()
    deadline = time.monotonic() + 10
    while child.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists()


def test_an_interrupt_waits_until_the_block_ends() -> None:
    """In a process of one thread: a thread that other tests have left would take the signal for all."""
    code = """
import os, signal
from study.processes import interrupts_held
try:
    with interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
        print("the end of the block")
    print("no interrupt")
except KeyboardInterrupt:
    print("the interrupt")
"""
    found = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)
    assert found.splitlines() == ["the end of the block", "the interrupt"]
