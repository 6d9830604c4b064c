"""Read files with a bound, write them atomically and durably, and check that a folder can be written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from study.errors import SpecError


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes. It waits for no pipe and reads no device.

    OSError: the file cannot be read, or it is larger. Its `strerror` is a reason that a message can give to the user.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
    return content


def unread(error: OSError, instead: str, large: str) -> str:
    """Why `read` failed, and what would do: `instead`, or `large` where the file is too large."""
    if error.errno == errno.EFBIG:
        return f"{error.strerror}; {large}"
    return f"cannot be read ({error.strerror}); {instead}"


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
