"""The size of the cache, and the removal of entries that were not used for long."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from study.errors import SpecError
from study.execution.cache import Cache

OUTDATED = "of an older version"
UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}


def clean_cache(cache: Cache, older: str = "") -> str:
    """Remove the entries older than `older` (30d, 12h, 5m), none if it is empty; what was removed and what is left.

    Entries of an older version of the program, which nothing reads any more, go with them, however new they are.
    """
    limit = age(older) if older else None
    removed, held, kept, sizes = Counter[bool](), 0, Counter[str](), Counter[str]()
    files_of_old = 0
    for path, size, unused in list(cache.entries()):
        outdated = cache.made_by_older(path)
        if limit is not None and (outdated or unused >= limit):
            if _removed(path):
                removed[outdated] += size
                files_of_old += outdated
                continue
            held += 1
        kind = OUTDATED if outdated else path.relative_to(cache.folder).parts[0]
        kept[kind] += 1
        sizes[kind] += size
    lines = [f"{cache.folder}: {sum(sizes.values()) / 1e6:,.1f} MB"]
    lines += [f"  {kind}: {kept[kind]:,} files, {sizes[kind] / 1e6:,.1f} MB" for kind in sorted({*kept} - {OUTDATED})]
    if kept[OUTDATED]:
        advice = "" if older else "; any --older removes them"
        lines.append(f"  {kept[OUTDATED]:,} files {OUTDATED}, {sizes[OUTDATED] / 1e6:,.1f} MB{advice}")
    if limit is not None:
        lines.append(f"removed {removed[False] / 1e6:,.1f} MB not used for {older}")
    if files_of_old:
        lines.append(f"removed {files_of_old:,} files {OUTDATED}, {removed[True] / 1e6:,.1f} MB")
    if held:
        lines.append(f"{held:,} files could not be removed: they, or their folders, may only be read")
    return "\n".join(lines)


def _removed(path: Path) -> bool:
    """Remove a file. False where that is not allowed."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def age(text: str) -> float:
    """The seconds of `30d`, `12h` or `5m`. Raises SpecError for any other text."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if found is None:
        raise SpecError(f"--older: expected a number of days, hours or minutes such as 30d, 12h or 5m, got '{text}'")
    return int(found[1]) * UNITS[found[2]]
