"""Write the results between the two markers of benchmarks/README.md: a table, the ratios in words, and the figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.results import cost, ratios

README = Path(__file__).with_name("README.md")
OPEN, CLOSE = "<!-- bench -->", "<!-- /bench -->"
NORMS = {"none": "no norm", "batch": "BatchNorm"}


def markdown(results: dict[str, Any], alt: str) -> str:
    """The whole part, without the markers. `alt` is the text alternative of the figure."""
    parts = [heading(results), "\n".join(table(results)), *sentences(results)]
    gpu = "\n".join(gpu_table(results))
    return "\n\n".join([*parts, *([gpu] if gpu else []), f"![{alt}](results.svg)"])


def heading(results: dict[str, Any]) -> str:
    """The measurement and its machine in words."""
    machine, work = results["machine"], results["work"]
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items() if v != "not installed")
    return (
        f"µs per model-step per core (one SGD step of one model: {work['setup']}, batch {work['batch_size']}): median"
        f" of {work['rounds']} interleaved rounds, lowest–highest in brackets. {machine['cpu']}, {machine['cores']}"
        f" core{'s' * (machine['cores'] > 1)}, {machine['vectors']}; {versions}."
    )


def table(results: dict[str, Any]) -> list[str]:
    """The lines of the table: a row per engine, a column per norm and number of cores."""
    engines = {row["engine"]: row["title"] for row in results["rows"]}
    columns = list(dict.fromkeys((row["norm"], row["cores"]) for row in results["rows"]))
    columns.sort(key=lambda c: (c[1], list(NORMS).index(c[0])))
    titles = [f"{NORMS[norm]}, {cores} core{'s' * (cores > 1)}" for norm, cores in columns]
    lines = ["| | models | " + " | ".join(titles) + " |", "|---|" + "--:|" * (1 + len(columns))]
    for engine, title in engines.items():
        rows = {(r["norm"], r["cores"]): r for r in results["rows"] if r["engine"] == engine}
        models = next((r["models"] for r in rows.values() if r["models"]), None)
        cells = [cell(rows.get(column)) for column in columns]
        lines.append(f"| {title} | {models or ''} | " + " | ".join(cells) + " |")
    return lines


def cell(row: dict[str, Any] | None) -> str:
    """The median (low–high), or the reason why the peer is absent."""
    if row is None:
        return ""
    if row["us_per_model_step"] is None:
        return str(row["note"])
    return f"{digits(row['us_per_model_step'])} ({digits(row['low'])}–{digits(row['high'])})"


def digits(value: float) -> str:
    """A number with three digits at least."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def sentences(results: dict[str, Any]) -> list[str]:
    """The ratios in words, with the operations that the limit counts."""
    found = []
    words = {
        "loop": "{:.1f} times as fast as the lecture's loop",
        "best": "{:.2f} times as fast as the best of the others",
        "limit": "at {:.2f} times the limit",
        "cores": f"{{:.2f}} times as fast on {results['machine']['cores']} cores as on one",
    }
    for norm, name in NORMS.items():
        parts = [words[key].format(value) for key, value in ratios(results, norm).items()]
        if parts:
            found.append(f"With {name} the fused engine is {', '.join(parts)}.")
    work, limit = results["work"], cost(results, "limit", "none")
    text = (
        f"The limit is the {work['mflop']:.2f} MFLOP of a model-step's matrix products (three per level: output, "
        "gradient of the weight, gradient of the input; nothing else is counted)"
    )
    if limit is not None:
        speed = 1e3 * work["mflop"] / limit
        text += f" at the {speed:.0f} GFLOP/s of a large single-precision product in the same rounds"
        text += f"; with one product per distinct character at the first level it is {work['mflop_distinct']:.2f} MFLOP"
        text += f", {digits(limit * work['mflop_distinct'] / work['mflop'])} µs"
    return [*found, text + "."]


def gpu_table(results: dict[str, Any]) -> list[str]:
    """The lines of the table of model-steps per second on a GPU. There are none where there was no GPU."""
    rows = [row for row in results["gpu"] if row["models"] is not None]
    if not rows:
        return []
    lines = [f"Stacked autograd as a CUDA graph, {rows[0]['note']}:", ""]
    lines += ["| norm | models | model-steps per second |", "|---|--:|--:|"]
    for r in rows:
        rate = r["model_steps_per_second"]
        lines.append(f"| {NORMS[r['norm']]} | {r['models']:,} | {r['note'] if rate is None else f'{rate:,.0f}'} |")
    return lines


def insert(document: str, part: str) -> str:
    """The document with everything between the markers replaced. It is unchanged where it has no markers."""
    before, opened, rest = document.partition(OPEN)
    _, closed, after = rest.partition(CLOSE)
    return f"{before}{OPEN}\n{part}\n{CLOSE}{after}" if opened and closed else document


def update(results: dict[str, Any], alt: str, path: Path = README) -> bool:
    """Replace the part of the README between its markers. False: it has no markers."""
    document = path.read_text("utf-8") if path.exists() else ""
    if not (OPEN in document and CLOSE in document):
        return False
    path.write_text(insert(document, markdown(results, alt)), encoding="utf-8")
    return True
