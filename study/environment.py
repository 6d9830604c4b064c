"""The parts of the machine and of its packages on which numbers depend: the kind of CPU and the versions.

This module loads no torch.
"""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def installed(package: str) -> str:
    """The version of a package, found without importing the package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def cpuinfo() -> dict[str, str]:
    """The entries of /proc/cpuinfo about the first CPU. On other systems than Linux there are none."""
    info = Path("/proc/cpuinfo")
    text = info.read_text("utf-8", "replace") if info.exists() else ""
    fields = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


def cpu_level() -> str:
    """The architecture, the maker and the widest vectors of the CPU, by which torch and BLAS choose their kernels."""
    fields = cpuinfo()
    flags = fields.get("flags", fields.get("Features", "")).split()
    widest = next((level for level in ("avx512f", "avx2", "avx", "sve", "asimd") if level in flags), "")
    return " ".join(filter(None, (platform.machine(), fields.get("vendor_id", ""), widest)))
