"""A folder that keeps trainings and measurements by key. An entry is whole and checked; an altered one is not used.

    <folder>/trajectories/ab/ab12….bin      states and losses of a training, finished or on its way
    <folder>/rows/cd/cd34….bin              the rows that a measurement gave
    <folder>/states/ef/ef56….bin            the rows of some initial states of one network
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
from study.measurement.initial import Block, encode
from study.measurement.initial import decode as decode_states
from study.measurement.rows import Rows
from study.measurement.rows import decode as decode_rows
from study.training.cells import Cell, Engine
from study.training.identity import sha256

if TYPE_CHECKING:
    import pyarrow as pa

    from study.training.trajectory import Trajectory

EntryKind = Literal["trajectories", "rows", "states"]

MAGIC = f"study-cache-{KEY_FORMAT}"
HEAD = re.compile(rb"study-cache-([0-9]{1,9}) [0-9a-f]{64}")  # the first line of an entry of any version
# errors that the user can mend: a full disk, a read-only folder, a file in the place of the cache's folder
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}
# the files that this module writes: a folder that is named as a cache may hold others
PLACES = ("trajectories/??/*", "rows/??/*", "states/??/*", "last/*")
OWN = re.compile(r".+/([0-9a-f]{2})/\1[0-9a-f]*\.(bin|damaged)|last/[0-9a-f]{16}\.json|.+/\.tmp-[0-9a-z_]+")
LEFT = 3600.0  # seconds after which nobody writes to a temporary file any more


@dataclass(frozen=True)
class Cache:
    """A folder of entries. Several studies may use it at once, since each entry appears whole under its own key."""

    folder: Path

    def read(self, kind: EntryKind, key: str) -> bytes | None:
        """The content under a key, or None. A damaged entry is reported and renamed, and counts as missing."""
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
        with contextlib.suppress(OSError):  # a read-only folder
            os.utime(path)  # an entry that is used is not old
        return content

    def write(self, kind: EntryKind, key: str, content: bytes) -> None:
        """Keep the content under its key. It is durable after this call. Raises SpecError on a full disk."""
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
        """Rename a damaged entry, and warn of it."""
        path, done = self._path(kind, key), "set aside"
        try:
            os.replace(path, path.with_suffix(".damaged"))
        except FileNotFoundError:  # another run has set it aside
            pass
        except OSError as error:  # a file of another user, or a read-only folder
            done = f"not to be moved ({error.strerror})"
        self._say(path, f"damaged ({why}); {done}, and made again")

    def _path(self, kind: EntryKind, key: str) -> Path:
        return self.folder / kind / key[:2] / f"{key}.bin"

    def _say(self, path: Path, what: str) -> None:
        warn(f"{path}: {what}")

    # -- housekeeping -------------------------------------------------------------------------------------------------

    def entries(self) -> Iterator[tuple[Path, int, float]]:
        """(path, bytes, seconds since the last use) of every file that the cache wrote.

        The folder may hold other files.
        """
        now = time.time()
        for path in sorted(path for places in PLACES for path in self.folder.glob(places)):
            with contextlib.suppress(FileNotFoundError):  # another run renames its temporary files
                own = OWN.fullmatch(path.relative_to(self.folder).as_posix())
                if own and path.is_file() and not path.is_symlink():
                    found = path.stat()
                    yield path, found.st_size, now - found.st_mtime

    def made_by_older(self, path: Path) -> bool:
        """Whether an older version wrote the file. Such a file is not damaged, but nothing reads it any more."""
        try:
            with path.open("rb") as file:
                return _older(file.readline(200).rstrip(b"\n"))
        except OSError:
            return False

    def tidy(self) -> None:
        """Remove the half-written files of killed runs."""
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
        """The trajectory of a cell, finished or not."""
        from study.training.trajectory import decode

        return self._decoded("trajectories", sha256(self.keys.training(cell, engine)), decode)

    def keep(self, cell: Cell, engine: Engine, trajectory: Trajectory) -> None:
        """Keep the trajectory of a cell, finished or not."""
        self.cache.write("trajectories", sha256(self.keys.training(cell, engine)), trajectory.encode())

    def rows(self, cell: Cell, engine: Engine) -> Rows | None:
        """The rows of a cell."""
        return self._decoded("rows", sha256(self.keys.measuring(cell, engine)), decode_rows)

    def keep_rows(self, cell: Cell, engine: Engine, rows: Rows) -> None:
        """Keep the rows of a cell."""
        self.cache.write("rows", sha256(self.keys.measuring(cell, engine)), rows.encode())

    def left(self, cell: Cell, engine: Engine) -> int:
        """The number of SGD steps that a cell has still to be trained for, also those up to a new step of `measure`."""
        from study.training.trajectory import NEW

        return self.lacking(cell, self.trajectory(cell, engine) or NEW)

    def lacking(self, cell: Cell, trajectory: Trajectory) -> int:
        """The number of SGD steps that are missing from a cell's trajectory."""
        from study.training.trajectory import boundaries

        return sum(gap.steps for gap in trajectory.gaps(boundaries(cell.schedule, self.keys.reading.measure)))

    def measured(self, cell: Cell, engine: Engine) -> bool:
        """Whether the cache holds undamaged rows of a cell."""
        return self.cache.read("rows", sha256(self.keys.measuring(cell, engine))) is not None

    def states(self, block: Block, entry: int) -> pa.Table | None:
        """The rows of all initial states of the block's network that one entry holds."""
        return self._decoded("states", self._entry(block, entry), decode_states)

    def keep_states(self, block: Block, entry: int, rows: pa.Table) -> None:
        """Keep the rows of an entry, in the place of those that it held."""
        self.cache.write("states", self._entry(block, entry), encode(rows))

    def _entry(self, block: Block, entry: int) -> str:
        return sha256({**self.keys.state(block.network, block.wanted), "entry": entry})

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
    """Keep the facts of the cells that a run has finished, each under its use."""
    path = _last(cache, study)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, json.dumps({**recall(cache, study), **facts}, sort_keys=True).encode())
    except OSError:  # the facts only explain; the entries themselves are on disk
        return


def recall(cache: Cache, study: str) -> dict[str, dict[str, Facts]]:
    """The facts of the cells of earlier runs by their use. Empty where no readable ones are kept."""
    try:
        found = json.loads(_last(cache, study).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _last(cache: Cache, study: str) -> Path:
    return cache.folder / "last" / f"{hashlib.sha256(study.encode()).hexdigest()[:16]}.json"
