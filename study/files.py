"""Bytes as files that are whole or not there, and what a folder must allow: the one door to the disk for writing."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from study.errors import SpecError


def replace(path: Path, content: bytes) -> None:
    """The file with this content, or as it was: written beside its place, synced, renamed, the folder synced."""
    # not by tempfile, whose files nobody else may read: a cache may be shared, and pages are published
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
    """SpecError where a file cannot be written in the block; `option` is what names another folder."""
    try:
        yield
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error}); make room, or choose another folder with {option}"
        raise SpecError(f"{folder}: {problem}") from None


def writable(folder: Path, option: str) -> None:
    """SpecError unless files can be made in the folder, before hours are spent."""
    with writing(folder, option):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def sync(folder: Path) -> None:
    """Have the names in a folder on disk."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
