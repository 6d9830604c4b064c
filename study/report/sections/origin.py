"""Turn a section into its origin: the cells that it shows, the lines of the study file, the code and the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from study import codehash
from study.analysis.results import Results
from study.analysis.values import own_trainings
from study.codehash import Role
from study.measurement.rows import SCHEMAS
from study.report.html.page import Listing, Made, Section, TableCell
from study.spec import document
from study.spec.document import Document, Path_
from study.spec.extensions import PREFIX

ALWAYS = ("data", "model", "training", "seeds")  # the keys that every training depends on
RESTS: dict[str, tuple[str, ...]] = {  # table -> the keys of the study file that it depends on
    "conditions": (),
    "losses": (*ALWAYS, "measure", "evaluation", "groups"),
    "curves": (*ALWAYS, "groups"),
    "metrics": (*ALWAYS, "measure", "groups"),
    "measures": (),
    "states": ("data", "model", "initial_states"),
    "histograms": (*ALWAYS, "measure", "groups"),
    "pictures": ALWAYS,
    "probe": ("probe",),
    "published": ("data", "published"),
    "twins": (*ALWAYS, "twins"),
    "cells": ALWAYS,
}
NOT_ONLY = ("published", "twins", "sweeps", "claims", "probe")  # keys that `--only` leaves out or cannot narrow
NAMED_CONDITIONS = 8  # conditions whose lines are named one by one


def complete(made: Section, results: Results, module: str, function: str) -> Section:
    """The section with its origin filled in. It was made by this function of this module."""
    about = made.made or Made()
    names = _named(made, results)
    keys = tuple(dict.fromkeys([*(key for table in about.tables for key in RESTS[table]), *about.keys]))
    if any(table in about.tables for table in ("losses", "curves", "metrics", "histograms", "pictures", "states")):
        keys = (*keys, "conditions")
    facts = [
        ("cells", _cells(results, about, names, keys)),
        ("tables", ", ".join(f"data/{table}.parquet" for table in about.tables)),
        ("config", _config(results, keys, names)),
        ("code", ", ".join(code_of(module, function, about.tables))),
        ("command", _command(results, keys, names)),
    ]
    return replace(made, made=replace(about, facts=[*about.facts, *(f for f in facts if f[1])]))


def code_of(module: str, function: str, tables: Iterable[str]) -> list[str]:
    """The code behind a section, as lines.

    They name its function, the modules of analysis and measurement that its own module imports, and the first module
    of each role that makes its tables. A table of cells is made by measuring, that of states by `states`, any other by
    collecting. The modules are found by following imports, so that no path is kept here.
    """
    package, _, own = module.partition(".")
    inside = package == __name__.partition(".")[0]  # otherwise it is a file of the user
    imported = codehash.imported_by(own) if inside else []
    used = [name for name in imported if name.startswith(("analysis.", "measurement."))]
    roles: list[Role] = [
        "states" if table == "states" else "measuring" if table in SCHEMAS else "collecting" for table in tables
    ]
    makers = [codehash.ROOTS[role][0] for role in roles]
    others = dict.fromkeys(name for name in (*used, *makers) if name != own)
    file = codehash.file_of(own) if inside else f"{package.removeprefix(PREFIX)}.py"
    return [f"{file}: {function}", *map(codehash.file_of, others)]


def _named(made: Section, results: Results) -> list[str]:
    """The names of the conditions whose look is in the section's tables, in the order of the study file."""
    tables = [*made.tables, *(figure.table for figure in made.figures)]
    found = {v.sort for t in tables for row in t.cells for v in row if isinstance(v, TableCell) and v.look is not None}
    return [c.name for c in results.conditions if c.name in found]


def _cells(results: Results, about: Made, names: Sequence[str], keys: Sequence[str]) -> str:
    """The trainings and their seeds: `50 cells: 5 trainings × seeds 0–9`, and then a line for each."""
    t = results.tables["cells"]
    if "published" in about.tables:
        chosen = t[t["protocol"] == "lecture"]
    elif "twins" in about.tables:
        chosen = t[t["twin"].astype(bool)]
    elif not names:
        return ""
    else:
        swept = {v for s in results.spec.sweeps for v in s.yielded.values()} if "sweeps" in keys else set(names)
        own = own_trainings(t)
        chosen = own[own["condition"].isin(swept)]
    chosen = chosen.drop_duplicates("cell")  # conditions that differ only in their statistics share its cells
    lines = []
    for (name, steps), here in chosen.groupby(["condition", "steps"], sort=False):
        seeds, cells = _span([int(s) for s in here["seed"]]), here["cell"]
        lines.append(f"{cells.iloc[0]}{' …' if len(cells) > 1 else ''}  {name}, seeds {seeds}, {steps:,} steps")
    count = "1 cell" if len(chosen) == 1 else f"{len(chosen)} cells, the first of each training"
    return "\n".join([f"{count}:", *lines]) if lines else ""


def _span(numbers: Sequence[int]) -> str:
    """The seeds in words: `0–9` for consecutive ones, `1, 4, 6` for others."""
    found = sorted(numbers)
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]}–{found[-1]}"
    return ", ".join(map(str, found))


def _config(results: Results, keys: Iterable[str], names: Sequence[str]) -> str:
    """A line per key that the section depends on, such as `experiments.yaml:53-57  conditions.baseline`."""
    found = _document(results.file, results.spec.name)
    paths: list[Path_] = []
    for key in keys:
        if key == "conditions" and 0 < len(names) <= NAMED_CONDITIONS:
            paths += [("conditions", name) for name in names]
        else:
            paths.append((key,))
    if results.spec.profile in (found.value.get("profiles") or {}):
        paths.append(("profiles", results.spec.profile))
    known = [path for path in paths if path in found.lines]
    return "\n".join(f"{found.name}:{extent(found, path)}  {'.'.join(map(str, path))}" for path in known)


def extent(found: Document, path: Path_) -> str:
    """The lines of a key and of all that stands below it: `53-57`, or `11` for a single line."""
    first = found.lines[path]
    last = max(line for known, line in found.lines.items() if known[: len(path)] == path)
    return str(first) if last == first else f"{first}-{last}"


@cache
def _document(file: Path, name: str) -> Document:
    return document.load_document(file, Path(name).name)


def _command(results: Results, keys: Sequence[str], names: Sequence[str]) -> str:
    """The command that makes the section's numbers and the page again."""
    facts, spec = results.facts, results.spec
    words = ["study", "run", facts["study_file"], "--profile", spec.profile]
    only = facts["chosen"].get("only", "")
    every = len(names) in (0, len(results.conditions)) or any("," in name for name in names)
    if not only and not every and not set(keys) & set(NOT_ONLY):
        only = ",".join(names)
    for option, value in (("--only", only), ("--seeds", facts["chosen"].get("seeds", ""))):
        words += [option, str(value)] if value else []
    return shlex.join(words)


def command(results: Results) -> str:
    """The command that makes the whole report again."""
    return _command(results, ("claims",), ())


def study_file(results: Results) -> Listing:
    """The study file with the line numbers that the origins of the sections name."""
    text = results.file.read_text("utf-8-sig").splitlines()
    width = len(str(len(text)))
    return Listing(
        f"`{Path(results.spec.name).name}`, the study file",
        "\n".join(f"{i:>{width}}  {line}" for i, line in enumerate(text, start=1)),
    )
