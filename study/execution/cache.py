"""What was trained and measured before, by key: atomic, checked, never believed when altered, never fatal. No pickle.

    <folder>/trajectories/ab/ab12….bin      states and losses of a training, finished or on its way
    <folder>/rows/cd/cd34….bin              the rows that a measurement gave
    <folder>/last/<study>.json              the facts of the last run's cells, to say why a cell is stale

A file is a line with the version of the format and the sha256 over its key and content, then the content.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from study.console import warn
from study.execution.keys import KEY_FORMAT, Facts, Keys
from study.files import replace, writing
from study.measurement.rows import Rows
from study.measurement.rows import decode as decode_rows
from study.training.cells import Cell, Engine
from study.training.identity import sha256

if TYPE_CHECKING:
    from study.training.trajectory import Trajectory

EntryKind = Literal["trajectories", "rows"]

MAGIC = f"study-cache-{KEY_FORMAT}"
HEAD = re.compile(rb"study-cache-([0-9]{1,9}) [0-9a-f]{64}")  # the first line of an entry of any version
# the user's to mend: a full disk, a folder that may only be read, a file where the cache's folder should be
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}
# what this module writes, and nothing else that may lie in a folder that somebody calls a cache
PLACES = ("trajectories/??/*", "rows/??/*", "last/*")
OWN = re.compile(r".+/([0-9a-f]{2})/\1[0-9a-f]*\.(bin|damaged)|last/[0-9a-f]{16}\.json|.+/\.tmp-[0-9a-z_]+")
LEFT = 3600.0  # seconds after which a temporary file has no writer any more


@dataclass(frozen=True)
class Cache:
    """A folder of entries. Several studies may use it at once: an entry is made whole, and its key says what it is."""

    folder: Path

    def read(self, kind: EntryKind, key: str) -> bytes | None:
        """The content under a key; None where there is none, or where it is damaged, which is said and set aside."""
        path = self._path(kind, key)
        try:
            stored = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._say(path, f"cannot be read ({error.strerror}); it is made again")
            return None
        head, _, content = stored.partition(b"\n")
        if head != _head(key, content):
            if not _older(head):
                self.set_aside(kind, key, "its checksum does not match")
            return None
        with contextlib.suppress(OSError):  # a folder that may only be read
            os.utime(path)  # what is used is not old
        return content

    def write(self, kind: EntryKind, key: str, content: bytes) -> None:
        """Keep the content under its key: there after this call, whatever happens then. SpecError on a full disk."""
        path = self._path(kind, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, _head(key, content) + b"\n" + content)
        except OSError as error:
            if error.errno not in CANNOT_WRITE:
                raise
            with writing(self.folder, "--cache"):
                raise

    def set_aside(self, kind: EntryKind, key: str, why: str) -> None:
        """Take an entry that is not what it should be out of the way, and say so."""
        path, done = self._path(kind, key), "set aside"
        try:
            os.replace(path, path.with_suffix(".damaged"))
        except FileNotFoundError:  # another run has set it aside
            pass
        except OSError as error:  # of another user's, or in a folder that may only be read
            done = f"not to be moved ({error.strerror})"
        self._say(path, f"damaged ({why}); {done}, and made again")

    def _path(self, kind: EntryKind, key: str) -> Path:
        return self.folder / kind / key[:2] / f"{key}.bin"

    def _say(self, path: Path, what: str) -> None:
        warn(f"{path}: {what}")

    # -- housekeeping -------------------------------------------------------------------------------------------------

    def entries(self) -> Iterator[tuple[Path, int, float]]:
        """(path, bytes, seconds since it was used) of every file of the cache's own making; a folder may hold others."""
        now = time.time()
        for path in sorted(path for places in PLACES for path in self.folder.glob(places)):
            with contextlib.suppress(FileNotFoundError):  # another run renames its temporary files
                own = OWN.fullmatch(path.relative_to(self.folder).as_posix())
                if own and path.is_file() and not path.is_symlink():
                    found = path.stat()
                    yield path, found.st_size, now - found.st_mtime

    def made_by_older(self, path: Path) -> bool:
        """Whether an older version wrote the file: it is no damage, but nothing reads it any more."""
        try:
            with path.open("rb") as file:
                return _older(file.readline(200).rstrip(b"\n"))
        except OSError:
            return False

    def tidy(self) -> None:
        """Remove what a killed run left half-written."""
        for path, _, age in list(self.entries()):
            if path.name.startswith(".tmp-") and age > LEFT:
                with contextlib.suppress(OSError):  # another user's
                    path.unlink()


def _older(head: bytes) -> bool:
    found = HEAD.fullmatch(head)
    return found is not None and int(found[1]) < KEY_FORMAT


def _head(key: str, content: bytes) -> bytes:
    return f"{MAGIC} {hashlib.sha256(key.encode() + content).hexdigest()}".encode()


@dataclass(frozen=True)
class Store:
    """The cells of a study in a cache."""

    cache: Cache
    keys: Keys

    def trajectory(self, cell: Cell, engine: Engine) -> Trajectory | None:
        """A cell's training as far as it has come."""
        from study.training.trajectory import decode

        return self._decoded("trajectories", sha256(self.keys.training(cell, engine)), decode)

    def keep(self, cell: Cell, engine: Engine, trajectory: Trajectory) -> None:
        """Keep a cell's training, finished or not."""
        self.cache.write("trajectories", sha256(self.keys.training(cell, engine)), trajectory.encode())

    def rows(self, cell: Cell, engine: Engine) -> Rows | None:
        """What was measured of a cell."""
        return self._decoded("rows", sha256(self.keys.measuring(cell, engine)), decode_rows)

    def keep_rows(self, cell: Cell, engine: Engine, rows: Rows) -> None:
        """Keep what was measured of a cell."""
        self.cache.write("rows", sha256(self.keys.measuring(cell, engine)), rows.encode())

    def left(self, cell: Cell, engine: Engine) -> int:
        """SGD steps that a cell has still to be trained for, those before a new step to be measured among them."""
        from study.training.trajectory import NEW

        return self.lacking(cell, self.trajectory(cell, engine) or NEW)

    def lacking(self, cell: Cell, trajectory: Trajectory) -> int:
        """SGD steps that are missing from a cell's trajectory."""
        from study.training.trajectory import boundaries

        return sum(gap.steps for gap in trajectory.gaps(boundaries(cell.schedule, self.keys.reading.measure)))

    def measured(self, cell: Cell, engine: Engine) -> bool:
        """Whether there are sound rows of a cell."""
        return self.cache.read("rows", sha256(self.keys.measuring(cell, engine))) is not None

    def _decoded(self, kind: EntryKind, key: str, decode: Any) -> Any:
        content = self.cache.read(kind, key)
        if content is None:
            return None
        try:
            return decode(content)
        except (ValueError, KeyError, TypeError) as error:
            self.cache.set_aside(kind, key, f"{type(error).__name__}: {error!s:.80}")
            return None


# -- the last run, for the reasons that `plan` gives ------------------------------------------------------------------


def remember(cache: Cache, study: str, facts: dict[str, dict[str, Facts]]) -> None:
    """Keep the facts of the cells that a run has finished, by use."""
    path = _last(cache, study)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, json.dumps({**recall(cache, study), **facts}, sort_keys=True).encode())
    except OSError:  # it only explains; the entries themselves are on disk
        return


def recall(cache: Cache, study: str) -> dict[str, dict[str, Facts]]:
    """The facts of the cells of earlier runs, by use; empty where nothing readable is kept."""
    try:
        found = json.loads(_last(cache, study).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _last(cache: Cache, study: str) -> Path:
    return cache.folder / "last" / f"{hashlib.sha256(study.encode()).hexdigest()[:16]}.json"
