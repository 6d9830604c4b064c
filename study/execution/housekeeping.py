"""The size of the cache, and its entries that nobody has used for long."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from study.errors import SpecError
from study.execution.cache import Cache

UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}


def clean_cache(cache: Cache, older: str = "") -> str:
    """Remove the entries older than `older` (30d, 12h, 5m), none if it is empty; what was removed and what is left."""
    limit = age(older) if older else None
    removed, held, kept, sizes = 0, 0, Counter[str](), Counter[str]()
    for path, size, unused in list(cache.entries()):
        if limit is not None and unused >= limit:
            if _removed(path):
                removed += size
                continue
            held += 1
        kind = path.relative_to(cache.folder).parts[0]
        kept[kind] += 1
        sizes[kind] += size
    lines = [f"{cache.folder}: {sum(sizes.values()) / 1e6:,.1f} MB"]
    lines += [f"  {kind}: {kept[kind]:,} files, {sizes[kind] / 1e6:,.1f} MB" for kind in sorted(kept)]
    if limit is not None:
        lines.append(f"removed {removed / 1e6:,.1f} MB not used for {older}")
    if held:
        lines.append(f"{held:,} files could not be removed: they, or their folders, may only be read")
    return "\n".join(lines)


def _removed(path: Path) -> bool:
    """Remove a file; False where that is not allowed."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def age(text: str) -> float:
    """Seconds of `30d`, `12h` or `5m`; SpecError for anything else."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if found is None:
        raise SpecError(f"--older: expected a number of days, hours or minutes such as 30d, 12h or 5m, got '{text}'")
    return int(found[1]) * UNITS[found[2]]
