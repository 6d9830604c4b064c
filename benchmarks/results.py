"""The results of a benchmark as one JSON value: their keys, the check of the peers' curves, and the ratios."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("results.json")
PACKAGES = ("torch", "numpy", "numba", "llvmlite", "jax", "jaxlib")

FACTS = {"engine", "norm", "models", "note", "low", "high"}
KEYS = {
    "rows": FACTS | {"title", "cores", "us_per_model_step"},
    "scaling": FACTS | {"cores", "us_per_model_step", "axis", "value", "mflop"},
    "gpu": FACTS | {"model_steps_per_second"},
    "curves": {"engine", "norm", "models", "steps", "first", "last", "gap", "note"},
}  # of every row of a table

# The end of a curve may differ from the lecture's loop by this many nats. Rounding in another order was seen to move it
# by about 1e-6; a learning rate that is 1 % off moves it by 2e-4, another seed's draws by 1e-2 or more.
TOLERANCE = 1e-4
REFERENCE = "lecture"


def machine(cores: int) -> dict[str, Any]:
    """The kind of machine. Machines of one kind have the same entries."""
    from study.provenance import cpu

    kind = cpu()
    named = {"cpu": kind["model"], "architecture": kind["architecture"], "cores": cores}
    return {**named, "vectors": kind["capability"], "pinned": hasattr(os, "sched_setaffinity")}


def versions() -> dict[str, str]:
    """The versions of the packages that are timed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # the rows of its peer say so
            found[package] = "not installed"
    return found


def curve_row(engine: str, norm: str, answer: dict[str, Any], reference: dict[str, Any], steps: int) -> dict[str, Any]:
    """Compare a peer's curve with the reference's, over the models that both have: losses, and the gap at the end."""
    facts = {"engine": engine, "norm": norm, "steps": steps}
    if "absent" in answer:
        return {**facts, "models": None, "first": None, "last": None, "gap": None, "note": answer["absent"]}
    ends = [answer[end][: len(reference[end])] for end in ("first", "last")]
    gap = max(abs(a - b) for a, b in zip(ends[1], reference["last"], strict=True))
    first, last = (sum(values) / len(values) for values in ends)
    measured = {"first": round(first, 6), "last": round(last, 6), "gap": float(f"{gap:.2g}")}
    return {**facts, "models": len(ends[0]), **measured, "note": ""}


def check_curves(curves: list[dict[str, Any]]) -> None:
    """Check the curves. AssertionError: a loss does not fall as the lecture's, so that its peer's time is not valid."""
    for row in curves:
        if row["first"] is not None:
            where = f"{row['engine']}, norm {row['norm']}"
            assert row["last"] < row["first"], f"{where}: the loss goes from {row['first']} to {row['last']}"
            assert row["gap"] <= TOLERANCE, f"{where}: {row['gap']} nats from the lecture's loop, more than {TOLERANCE}"


def check(results: dict[str, Any]) -> None:
    """Check the tables. AssertionError: a table is missing, or a row has other keys than its table."""
    assert results.keys() == {"machine", "versions", "work", *KEYS}, sorted(results)
    for table, keys in KEYS.items():
        for row in results[table]:
            assert row.keys() == keys, f"{table}: {sorted(row)}, expected {sorted(keys)}"


def cost(results: dict[str, Any], engine: str, norm: str, cores: int = 1) -> float | None:
    """The µs per model-step per core of a row. None: there is no such row."""
    wanted = (engine, norm, cores)
    rows = [r for r in results["rows"] if (r["engine"], r["norm"], r["cores"]) == wanted]
    return rows[0]["us_per_model_step"] if rows else None


def ratios(results: dict[str, Any], norm: str) -> dict[str, float]:
    """The ratios of the targets: the fused engine to the loop, to the best other peer, to the limit, to more cores."""
    fused, cores = cost(results, "fused", norm), results["machine"]["cores"]
    if fused is None:
        return {}
    found, loop, limit = {}, cost(results, REFERENCE, norm), cost(results, "limit", norm)
    peers = [cost(results, name, norm) for name in ("torch.compile", "jax")]
    best = min((p for p in (*peers, loop) if p is not None), default=None)
    if loop is not None:
        found["loop"] = loop / fused
    if best is not None:
        found["best"] = best / fused
    if limit is not None:
        found["limit"] = fused / limit
    spread = cost(results, "fused", norm, cores)
    if cores > 1 and spread is not None:
        found["cores"] = cores * fused / spread
    return found


def write(results: dict[str, Any], path: Path = PATH) -> None:
    """Write the results as JSON, with a row per line."""
    check(results)
    parts = []
    for key, value in results.items():
        if key in KEYS:
            rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value)
            parts.append(f" {json.dumps(key)}: [\n{rows}\n ]")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def read(path: Path = PATH) -> dict[str, Any]:
    """Read the results at `path`, and check them."""
    results = json.loads(path.read_text("utf-8"))
    check(results)
    return results  # type: ignore[no-any-return]
