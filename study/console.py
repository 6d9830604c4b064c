"""Run a command in a terminal: its streams, its signals and its exit status.

The status is 0 if all is fine; 1 if a gate, a verification, a comparison or a cell failed; 2 if the user's input is
wrong, with a message of one line; and 130 after an interrupt.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from study.errors import ShardError, SpecError


def run(command: Callable[[], int]) -> NoReturn:
    """Run a command, and end this process with its status.

    A mistake of the user gives one line and status 2. An interrupt gives one line and status 130. A broken pipe gives
    no message.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = command()
        sys.stdout.flush()
    except SpecError as error:
        print(error, file=sys.stderr)
        status = 2
    except ShardError as error:
        print(f"{error}stopped at the first failure, as --fail-fast asks", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        os._exit(0)
    if status == 130:
        print("interrupted; the same command goes on from here", file=sys.stderr)
    sys.exit(status)


def _terminate(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def warn(text: str) -> None:
    """Print a warning at once, also into a file or a pipe."""
    print(f"warning: {text}", file=sys.stderr, flush=True)
