"""This machine and this Python as far as numbers depend on them: the kind of CPU, the versions of packages. No torch."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def installed(package: str) -> str:
    """Version of a package, which is not imported for it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def cpuinfo() -> dict[str, str]:
    """What Linux says of the first CPU; nothing elsewhere."""
    info = Path("/proc/cpuinfo")
    text = info.read_text("utf-8", "replace") if info.exists() else ""
    fields = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


def cpu_level() -> str:
    """Architecture, maker and widest vectors of the CPU: what torch and BLAS choose their kernels by."""
    fields = cpuinfo()
    flags = fields.get("flags", fields.get("Features", "")).split()
    widest = next((level for level in ("avx512f", "avx2", "avx", "sve", "asimd") if level in flags), "")
    return " ".join(filter(None, (platform.machine(), fields.get("vendor_id", ""), widest)))
