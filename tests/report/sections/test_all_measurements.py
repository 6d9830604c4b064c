"""The section with every metric of every condition: complete, right, and small enough for the project's own study."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from study import tables
from study.analysis.results import Results
from study.execution.collect import measures
from study.provenance import read_manifest
from study.report.html.page import Section, Table, TableCell, render_page
from study.report.sections.contents import SECTIONS
from study.spec.read import read_study
from tests.support.pages import sections
from tests.support.synthetic import UNJUDGED, results, tiny
from tests.support.tiny import write

HOME = Path(__file__).parents[3]
MOST = 400_000  # bytes of the section for the project's own study


def made(found: Results) -> Section:
    section = SECTIONS["all-measurements"].make(found, UNJUDGED)
    assert section is not None
    return section


def by_metric(section: Section) -> dict[str, Table]:
    return {table.caption.partition("`")[2].partition("`")[0]: table for table in section.tables}


def cell(section: Section, metric: str, condition: str, part: str, column: str) -> str:
    """The text of one cell."""
    table = by_metric(section)[metric]
    names = [c.name for c in table.columns]
    rows = [row for row in table.cells if isinstance(row[0], TableCell) and (row[0].sort, row[1]) == (condition, part)]
    assert len(rows) == 1, (metric, condition, part)
    found = rows[0][names.index(column)]
    assert isinstance(found, TableCell)
    return found.text


@pytest.fixture(scope="module")
def whole() -> Results:
    return results(tiny())


@pytest.fixture(scope="module")
def section(whole: Results) -> Section:
    return made(whole)


def test_every_metric_of_every_condition_is_there(whole: Results, section: Section) -> None:
    found = {
        (metric, row[0].sort)
        for metric, table in by_metric(section).items()
        for row in table.cells
        if isinstance(row[0], TableCell)
    }
    t = whole.tables["metrics"]
    wanted = set(zip(t["metric"], t["condition"], strict=True))
    assert len(wanted) > 60
    assert found >= wanted | {("loss", c.name) for c in whole.spec.conditions}
    assert list(by_metric(section)) == list(whole.tables["measures"]["metric"])


def test_a_cell_is_the_mean_and_half_its_interval(whole: Results, section: Section) -> None:
    x = 100 * whole.metric(whole.spec.condition("fixed"), "saturation_99", 30, 1).to_numpy()
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    assert cell(section, "saturation_99", "fixed", "1", "end") == f"{x.mean():.1f} ± {half:.1f}"
    column = by_metric(section)["saturation_99"].columns[-1]
    assert (column.name, column.unit) == ("end", "%")


def test_the_common_step_has_a_column_of_its_own_where_trainings_differ(whole: Results, section: Section) -> None:
    labels = [column.label for column in by_metric(section)["loss"].columns]
    assert labels == ["condition", "reading", "seeds", "at the start", "at step 10", "at the end"]
    assert whole.common == 10


def test_every_reading_has_a_line(section: Section) -> None:
    for statistics in ("running", "calibrated"):
        assert cell(section, "h_std", "batchnorm", f"1, {statistics} statistics", "end")
    assert cell(section, "loss", "batchnorm", "dev, batch statistics, batches of 8", "end")


def test_lost_seeds_are_counted_and_not_averaged() -> None:
    found = made(results(tiny(), lost=("baseline", 0)))
    assert cell(found, "h_std", "baseline", "1", "end").startswith("1 of 2 diverged")
    assert "±" in cell(found, "h_std", "fixed", "1", "end")


def test_a_failed_seed_counts_as_lost(whole: Results) -> None:
    cells = whole.tables["cells"].copy()
    gone = (cells["condition"] == "fixed") & (cells["seed"] == 1)
    cells.loc[gone, "status"] = "failed"
    kept = {
        name: t[~((t["condition"] == "fixed") & (t["seed"] == 1)).fillna(False)]
        for name, t in whole.tables.items()
        if name in ("losses", "metrics", "curves")
    }
    found = made(replace(whole, tables={**whole.tables, **kept, "cells": cells}))
    assert cell(found, "h_std", "fixed", "1", "start").startswith("1 of 2 diverged")


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    found = made(results(tiny(write(tmp_path, {"seeds": 1}))))
    assert cell(found, "h_std", "baseline", "1", "end") == "0.700"


def test_an_interval_is_never_printed_as_zero(whole: Results) -> None:
    t = whole.tables["metrics"]
    near = t.assign(value=t["value"].where(t["metric"] != "saturation_97", 0.3 + 1e-6 * t["seed"].astype(float)))
    found = made(replace(whole, tables={**whole.tables, "metrics": near}))
    assert re.fullmatch(r"30\.0 ± \d×10⁻⁴", cell(found, "saturation_97", "baseline", "1", "end"))


def test_a_label_is_that_of_the_tables(whole: Results) -> None:
    facts: dict[str, Any] = {"label": "spread", "unit": "volt", "format": ".1e", "better": "higher", "interval": "bca"}
    t = whole.tables["measures"]
    other = t.assign(**{column: t[column].where(t["metric"] != "h_std", value) for column, value in facts.items()})
    found = made(replace(whole, tables={**whole.tables, "measures": other}))
    table = by_metric(found)["h_std"]
    assert re.search(r"spread.*volt.*higher is better", table.caption)
    assert table.columns[-1].unit == "volt"
    assert cell(found, "h_std", "baseline", "1", "end") == "7.0×10⁻¹"  # two seeds are too few for BCa


def test_a_study_in_which_nothing_was_measured_leaves_it_out(whole: Results) -> None:
    empty = {name: t.iloc[:0] for name, t in whole.tables.items() if name in ("losses", "metrics", "probe", "measures")}
    nothing = replace(whole, tables={**whole.tables, **empty})
    assert SECTIONS["all-measurements"].make(nothing, UNJUDGED) is None


def test_the_section_reads_without_script(section: Section) -> None:
    page = sections(render_page(title="t", stamp="s", lead="l", sections=[section]))["all-measurements"]
    assert page.count("<details") == len(section.tables) + 1  # and how it was made
    assert "<input" not in page
    assert 'class="filter-place"' in page
    assert "<summary>std of h (<code>h_std</code>)</summary>" in page


@pytest.fixture(scope="module")
def projects_own() -> Results:
    """The committed tables of the project's own study, with the facts about their metrics by today's registry."""
    folder = HOME / "reports"
    found = {name: pq.read_table(folder / "data" / f"{name}.parquet") for name in tables.TABLES if name != "measures"}
    whole = {**found, "measures": measures(found)}
    frames: dict[str, pd.DataFrame] = {name: tables.pandas(table) for name, table in whole.items()}
    return Results(read_study(HOME / "experiments.yaml"), frames, read_manifest(folder))


def test_the_section_of_the_projects_own_study_stays_within_its_limit(projects_own: Results) -> None:
    section = made(projects_own)
    page = sections(render_page(title="t", stamp="s", lead="l", sections=[section]))["all-measurements"]
    assert 100_000 < len(page.encode()) <= MOST
    conditions = {row[0].sort for row in by_metric(section)["loss"].cells if isinstance(row[0], TableCell)}
    assert conditions == {c.name for c in projects_own.spec.conditions}
