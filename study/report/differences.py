"""Turn the differences between two reports into text for a terminal and into one HTML page."""

from __future__ import annotations

import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from study.analysis.diff import NOT_THERE, Change, Diff, Measured
from study.analysis.measurements import Kind
from study.errors import SpecError
from study.report.html.page import Interval, Section, Table, TableCell, TableColumn, Value, literal, plain, render_page

LISTED = 20  # the largest number of entries of a list in the text; the page shows all
KINDS: dict[Kind, tuple[str, str]] = {
    "loss": ("losses", "Which losses differ?"),
    "metric": ("metrics", "Which metrics differ?"),
    "other": ("other", "What differs in probe, twins and published runs?"),
}
CHANGE_ORDER = (
    "Differences are B − A: the mean over the seeds that both have, with its 95 % t interval. The largest come first,"
    " each as a share of the mean size that its measurement has over all conditions of both reports; diverged seeds"
    " come before all."
)


def answer(found: Diff) -> str:
    """The answer in one sentence."""
    if found.equal:
        return "Every table holds the same rows."
    names = [table.name for table in found.tables]
    return f"{_count(len(names), 'table')} {_differ(len(names))}: {', '.join(names)}."


def differing(found: Diff, kind: Kind) -> str:
    """The number of measurements of a kind that differ, and the number of all, in words."""
    differ, same = len(found.of(kind)), found.same[kind]
    return f"{differ:,} of {_count(differ + same, 'measurement')} {_differ(differ)}"


def equal_cells(found: Diff) -> str:
    """The number of cells that end with equal parameters, in words."""
    c = found.cells
    differ = sum(map(len, c.differ.values()))
    parts = [f"{c.equal:,} of {_count(c.equal + differ, 'cell')} that both have end with equal parameters (sha256)"]
    if c.without:
        parts.append(f"{c.without:,} more have none in one report")
    if c.only_a or c.only_b:
        parts.append(f"only in A: {c.only_a:,}, only in B: {c.only_b:,}")
    return "; ".join(parts)


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _differ(n: int) -> str:
    return "differs" if n == 1 else "differ"


def _diverged(m: Measured) -> str:
    """The number of diverged seeds in each report, in words: `1 in A, 2 in both`."""
    only_a, only_b, both = m.diverged
    parts = [f"{n} in {where}" for n, where in ((only_a, "A"), (only_b, "B"), (both, "both")) if n]
    return ", ".join(parts)


def _rows(differ: int | None) -> str:
    return "different numbers of rows" if differ is None else f"{_count(differ, 'row')} {_differ(differ)}"


# -- text ---------------------------------------------------------------------------------------------------------


def differences_text(found: Diff) -> str:
    """All differences as lines. Lists are cut to LISTED entries."""
    lines = [f"A  {found.a}", f"B  {found.b}", "", answer(found)]
    for title, changes in (
        ("study", found.study),
        ("environment", found.environment),
        ("conditions", found.conditions),
    ):
        lines += ["", f"{title}: {_count(len(changes), 'difference') if changes else 'equal'}"]
        lines += _listed([f"  {c.place}: {c.a} → {c.b}" for c in changes])
    lines += ["", f"tables: {_count(len(found.tables), 'difference') if found.tables else 'equal'}"]
    lines += [f"  {t.name}: {t.rows_a:,} → {t.rows_b:,} rows, {_rows(t.differ)}" for t in found.tables]
    lines += ["", f"cells: {equal_cells(found)}"]
    lines += _listed([f"  {name}: seeds {', '.join(seeds)}" for name, seeds in found.cells.differ.items()])
    for kind, (title, _) in KINDS.items():
        differ = found.of(kind)
        note = "; B − A, largest first" if differ else ""
        lines += ["", f"{title}: {differing(found, kind)}{note}"]
        lines += _listed([*_lost(differ), *(_line(m) for m in differ if not math.isnan(m.difference.mean))])
    if found.unpaired:
        lines += ["", "without a pair"]
        lines += _listed([f"  {u.condition}: {_count(u.count, 'measurement')} {u.why}" for u in found.unpaired])
    return "\n".join(plain(line) for line in lines)


def _listed(lines: list[str]) -> Iterator[str]:
    yield from lines[:LISTED]
    if len(lines) > LISTED:
        yield f"  … and {len(lines) - LISTED:,} more; --html FILE shows all"


def _lost(differ: list[Measured]) -> list[str]:
    """A line per condition for all measurements that have no mean, because a seed diverged."""
    lost = Counter((m.condition, _diverged(m)) for m in differ if math.isnan(m.difference.mean))
    return [
        f"  {condition}: {_count(n, 'measurement')}, diverged seeds: {seeds}" for (condition, seeds), n in lost.items()
    ]


def _line(m: Measured) -> str:
    d = m.difference
    interval = "" if math.isnan(d.low) else f" [{d.low:+.4g}, {d.high:+.4g}]"
    parts = [
        f"{d.mean:+.4g}{interval}",
        f"n = {d.n}",
        *([f"diverged seeds: {_diverged(m)}"] if any(m.diverged) else []),
    ]
    return f"  {m.condition}: {m.what}, {m.at}: {', '.join(parts)} ({m.a:.6g} → {m.b:.6g})"


# -- page ---------------------------------------------------------------------------------------------------------


def save(found: Diff, path: Path) -> None:
    """Write the page to `path`. Raises SpecError where it cannot be written."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as beside:
            new = Path(beside) / "page.html"
            new.write_text(differences_page(found), encoding="utf-8")
            os.replace(new, path)
    except OSError as error:
        raise SpecError(f"--html {path}: cannot be written ({error.strerror}); choose another file") from None


def differences_page(found: Diff) -> str:
    """All differences as one self-contained HTML page in the style of the report."""
    return render_page(
        title="What differs between two reports?",
        stamp=f"{found.a} → {found.b}",
        lead=[f"A is `{literal(found.a)}`, B is `{literal(found.b)}`. {answer(found)}", CHANGE_ORDER],
        sections=[
            _changes(
                "study", "Is it the same study?", "manifest", [("entry", found.study), ("condition", found.conditions)]
            ),
            _changes("environment", "Is it the same environment?", "environment", [("entry", found.environment)]),
            _tables(found),
            _cells(found),
            *(_measurements(found, kind) for kind in KINDS),
            *([_unpaired(found)] if found.unpaired else []),
        ],
    )


def _changes(anchor: str, question: str, short: str, parts: Sequence[tuple[str, list[Change]]]) -> Section:
    columns = [TableColumn("a", "A", numeric=False), TableColumn("b", "B", numeric=False)]
    captions = {"entry": "Entries that are not the same", "condition": "Conditions that are not the same"}
    shown = [
        Table(
            captions[noun],
            [TableColumn("place", noun), *columns],
            [[c.place, _value(c.a), _value(c.b)] for c in changes],
        )
        for noun, changes in parts
        if changes
    ]
    answer = "No: what is not the same is listed." if shown else "Yes, every entry is equal."
    return Section(anchor, question, [answer], short, tables=shown)


def _value(text: str) -> Value:
    return None if text == NOT_THERE else TableCell(text)


def _tables(found: Diff) -> Section:
    columns = [
        TableColumn("table"),
        TableColumn("a", "rows of A"),
        TableColumn("b", "rows of B"),
        TableColumn("differ", "rows that differ"),
    ]
    rows = [[t.name, t.rows_a, t.rows_b, t.differ] for t in found.tables]
    shown = [Table("Tables that are not the same", columns, rows)] if rows else []
    return Section("tables", "Do the tables hold the same rows?", [answer(found)], "tables", tables=shown)


def _cells(found: Diff) -> Section:
    columns = [TableColumn("condition"), TableColumn("seeds", "seeds that end with other parameters", numeric=False)]
    rows = [[name, ", ".join(seeds)] for name, seeds in found.cells.differ.items()]
    shown = [Table("Cells whose final parameters differ", columns, rows)] if rows else []
    return Section(
        "cells", "Do trainings end with the same parameters?", [f"{equal_cells(found)}."], "cells", tables=shown
    )


def _measurements(found: Diff, kind: Kind) -> Section:
    short, question = KINDS[kind]
    columns = [
        TableColumn("condition"),
        TableColumn("measurement", numeric=False),
        TableColumn("at", numeric=False),
        TableColumn("difference", "B − A", "", "+.4g", numeric=True),
        TableColumn("diverged", "diverged seeds", numeric=False),
        TableColumn("a", "A", "", ".6g", numeric=True),
        TableColumn("b", "B", "", ".6g", numeric=True),
        TableColumn("share", "share of its size", "", ".2g", numeric=True),
    ]
    rows: list[list[Value]] = [
        [m.condition, m.what, m.at, _interval(m), _lost_cell(m), m.a, m.b, None if math.isinf(m.share) else m.share]
        for m in found.of(kind)
    ]
    shown = [Table(f"{short.capitalize()} that differ, the largest first", columns, rows)] if rows else []
    return Section(short, question, [f"{differing(found, kind)}."], short, tables=shown)


def _interval(m: Measured) -> Value:
    d = m.difference
    return None if math.isnan(d.mean) else Interval(d.mean, d.low, d.high, d.n)


def _lost_cell(m: Measured) -> Value:
    return TableCell(_diverged(m), tone="bad") if any(m.diverged) else None


def _unpaired(found: Diff) -> Section:
    columns = [TableColumn("condition"), TableColumn("why", numeric=False), TableColumn("count", "measurements")]
    rows: list[list[Value]] = [[u.condition, u.why, u.count] for u in found.unpaired]
    answer = "A measurement that only one report has, or both for different seeds, is not compared."
    return Section(
        "unpaired", "What has no pair?", [answer], "without a pair", tables=[Table("Without a pair", columns, rows)]
    )
