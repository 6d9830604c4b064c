"""The manifest: the origin of a set of tables, as JSON. The same code, data and kind of CPU give the same manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

from study.environment import cpu_level, cpuinfo, installed
from study.errors import SpecError
from study.files import replace
from study.spec.extensions import changed_files
from study.spec.records import Spec

MANIFEST_FORMAT = 2
NEEDED = {"profile", "chosen", "seeds", "data", "tables", "spec_sha256", "document_sha256", "source_sha256"}
NAMED_PACKAGES = (
    "torch",
    "numpy",
    "numba",
    "llvmlite",
    "safetensors",
    "pandas",
    "pyarrow",
    "scipy",
    "matplotlib",
    "seaborn",
    "jinja2",
    "papermill",
    "nbconvert",
    "pydantic",
)


def versions() -> dict[str, str]:
    """The versions of all packages on which a number or a page may depend."""
    # a run without the report's packages is still a run
    found = {package: installed(package) for package in ("study", *NAMED_PACKAGES)}
    return {"python": platform.python_version(), **found}


def cpu() -> dict[str, str]:
    """The kind of CPU as far as results may depend on it: architecture, model, and the features that torch and BLAS use."""
    import torch

    build = torch.__config__.show()
    settings = build.replace(",", " ").split()
    blas = next((part.removeprefix("BLAS_INFO=") for part in settings if part.startswith("BLAS_INFO=")), "")
    return {
        "architecture": platform.machine(),
        "model": cpuinfo().get("model name") or platform.processor() or "unknown",
        "capability": torch.backends.cpu.get_cpu_capability(),
        "blas": blas or "unknown",
        "level": cpu_level(),
        "threads_per_process": "1",
    }


def write_manifest(manifest: dict[str, Any], folder: Path, name: str = "manifest.json") -> None:
    """Write the manifest as folder/manifest.json, with its keys in order, one on each line."""
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    replace(folder / name, text.encode())


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a report folder. Raises SpecError where there is none."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SpecError(f"{path}: not there; make the tables with `study run`") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not readable ({error!s:.80}); remake it with `study run`") from None
    made = manifest.get("format") if isinstance(manifest, dict) else None
    if type(made) is int and made != MANIFEST_FORMAT:
        which = "an older" if made < MANIFEST_FORMAT else "a newer"
        problem = f"made by {which} version of study (format {made}; this one reads format {MANIFEST_FORMAT})"
        raise SpecError(f"{path}: {problem}; make it again with `study run`, or read it with that version")
    if made != MANIFEST_FORMAT or not NEEDED.issubset(manifest):
        raise SpecError(f"{path}: not a manifest of format {MANIFEST_FORMAT}; remake it with `study run`")
    return manifest


def intact(manifest: dict[str, Any], folder: Path) -> None:
    """Raise SpecError unless the tables beside a manifest are those that it names. A crash may have left others."""
    for name, expected in manifest["tables"].items():
        path = folder / "data" / f"{name}.parquet"
        with contextlib.suppress(OSError):  # what is not there is said by whoever reads it
            if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
                raise SpecError(f"{path}: not the table that manifest.json names; remake it with `study run`")


def same_words(manifest: dict[str, Any], spec: Spec, folder: Path) -> None:
    """Raise SpecError where the tables were made from another file of data. A missing file is no error."""
    if spec.data.path is None:
        return
    with contextlib.suppress(OSError, ValueError):  # ValueError: a NUL in the name
        found = hashlib.sha256((spec.folder / spec.data.path).read_bytes()).hexdigest()
        if found != manifest["data"]["sha256"]:
            problem = f"out of date: {spec.data.path} is another file than the tables were made from"
            raise SpecError(f"{folder}: {problem}; make them again with `study run`")


def stale(facts: dict[str, Any], spec: Spec, page: bool = True) -> list[str]:
    """The changes since the tables and the page were made, in words. Empty when the study would give the same."""
    from study import codehash

    found = []
    if facts["spec_sha256"] != spec.digest():
        found.append("the study file asks for other trainings; make it again with `study run`")
    elif page and facts["document_sha256"] != spec.document_sha256:
        found.append("the study file's words or claims changed; render it again with `study report`")
    if not all(
        one.loaded for one in spec.extensions
    ):  # the hash of their entries is not known, but that of their files is
        changed = [name for one in spec.extensions for name in changed_files(one)]
        found += [f"{name} changed; make it again with `study run`" for name in changed]
    elif facts["source_sha256"] != codehash.source_digest(spec.entries.values()):
        found.append("the source of the modules that determine the numbers changed; make it again with `study run`")
    return found
