"""Write files atomically and durably, and check that a folder can be written. All writing goes through here."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from study.errors import SpecError


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically and durably.

    After this call the file is on disk with its new content. If the call fails, or the machine stops, the file is as it
    was before. The content is written to a new file in the same folder and synced, the new file is renamed, and the
    folder is synced.
    """
    # tempfile makes files that no other user may read, but a cache may be shared, and pages are published.
    beside = path.with_name(f".tmp-{secrets.token_hex(8)}")
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    sync(path.parent)


@contextlib.contextmanager
def writing(folder: Path, option: str) -> Iterator[None]:
    """Turn an OSError in the block into a SpecError, whose message names the option that sets another folder."""
    try:
        yield
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error}); make room, or choose another folder with {option}"
        raise SpecError(f"{folder}: {problem}") from None


def writable(folder: Path, option: str) -> None:
    """Check that files can be made in the folder before hours are spent. SpecError: they cannot."""
    with writing(folder, option):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
