"""The sections, from a made-up study: their order, what each must have, what is left out and why, how each was made."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from study.analysis.ledger import judge
from study.analysis.results import Results
from study.report import build as report
from study.report.figures import plots
from study.report.figures.looks import looks_of
from study.report.html.page import Made, Section
from study.report.sections.contents import SECTIONS
from study.spec.anchors import SECTION_ORDER
from study.spec.records import Spec
from tests.support.synthetic import UNJUDGED, results, tiny
from tests.support.tiny import GONE, write

HOME = Path(__file__).parents[3]
WORDS = (
    "verdict",
    "all-measurements",
    "threats",
    "method",
    "provenance",
    "published",
)  # sections of text and tables: nothing to draw


def sections(made: Results) -> dict[str, Section]:
    """Every section that has something to say, in order."""
    ledger = judge(made)
    found = {anchor: SECTIONS[anchor].make(made, ledger) for anchor in SECTION_ORDER}
    return {anchor: section for anchor, section in found.items() if section is not None}


@pytest.fixture(scope="module")
def whole() -> dict[str, Section]:
    return sections(results(tiny()))


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are laid out at phone width but not turned into SVG, which takes most of a section's time."""

    def draw(name: str, alt: str, drawing: Any) -> plots.Drawing:
        drawing(plots.NARROW)
        return plots.Drawing(name, alt, "<svg/>", "<svg/>")

    monkeypatch.setattr(plots, "draw", draw)


def facts(section: Section) -> dict[str, str]:
    assert isinstance(section.made, Made)
    return dict(section.made.facts)


def changed(folder: Path, changes: dict[str, Any]) -> Spec:
    return tiny(write(folder, changes))


def test_the_report_asks_its_questions_in_order():
    assert SECTION_ORDER == (
        "verdict",
        "ladder",
        "initial-loss",
        "saturation",
        "distributions",
        "gradients",
        "growth",
        "theory",
        "initial-states",
        "calibration",
        "curves",
        "waste",
        "final-losses",
        "variants",
        "learning-rate",
        "twins",
        "published",
        "all-measurements",
        "threats",
        "method",
        "provenance",
    )


def test_every_file_of_a_section_is_on_the_page_and_says_its_anchor() -> None:
    files = {path.stem for path in (HOME / "study" / "report" / "sections").glob("*.py")}
    shared = {"__init__", "common", "contents", "origin", "registry"}
    assert files - shared == {anchor.replace("-", "_") for anchor in SECTION_ORDER}
    assert [question.anchor for question in SECTIONS.values()] == list(SECTIONS) == list(SECTION_ORDER)


def test_every_section_has_a_question_an_answer_a_figure_and_its_origin(whole):
    assert {"saturation", "gradients", "final-losses", "calibration"} <= set(whole)
    for anchor, section in whole.items():
        assert section.question.endswith("?"), anchor
        assert 1 <= len(section.answer) <= 4, anchor
        if anchor not in ("method", "provenance"):
            assert any(c.isdigit() for c in " ".join(section.answer)), anchor
        assert section.figures or anchor in WORDS, anchor
        assert section.tables or section.figures or section.terms, anchor
        told = facts(section)
        own, *others = told["code"].split(", ")
        path, _, function = own.partition(": ")
        assert path == f"study/report/sections/{anchor.replace('-', '_')}.py"
        assert f"\ndef {function}(" in (HOME / path).read_text("utf-8"), anchor
        assert all((HOME / other).is_file() for other in others), anchor
        assert told["command"].startswith("study run tiny.yaml"), anchor


def test_the_origin_names_the_lines_that_a_section_rests_on(whole):
    lines = (HOME / "tests" / "support" / "tiny.yaml").read_text("utf-8").splitlines()
    for line in facts(whole["ladder"])["config"].splitlines():
        place, key = line.split()
        first, _, last = place.partition(":")[2].partition("-")
        block = lines[int(first) - 1 : int(last or first)]
        assert block[0].lstrip().startswith(f"{key.split('.')[-1]}:"), line
    assert "conditions.fixed" in facts(whole["ladder"])["config"]
    assert "conditions.zero" not in facts(whole["ladder"])["config"]  # another group
    assert facts(whole["growth"])["config"].endswith("probe")


def test_the_origin_counts_the_cells_that_a_section_shows(whole):
    told = facts(whole["ladder"])["cells"].splitlines()
    assert told[0].startswith("6 cells")  # of two seeds: calibrated only reads batchnorm's training
    assert [line.split("  ")[1].split(",")[0] for line in told[1:]] == ["baseline", "fixed", "batchnorm"]


def test_the_command_makes_no_more_than_the_section_shows(whole):
    assert (
        facts(whole["final-losses"])["command"]
        == "study run tiny.yaml --profile full --only fixed,batchnorm,calibrated"
    )
    assert "--only" not in facts(whole["initial-loss"])["command"]
    assert "--only" not in facts(whole["published"])["command"]


def test_the_study_file_stands_in_provenance_with_the_lines_that_are_named(whole):
    text = whole["provenance"].listings[0].text
    assert text.splitlines()[4].strip() == "5  model: {context: 2, embedding: 3, hidden: [8]}"


def test_no_init_of_the_probe_looks_like_a_condition():
    made, drawn = results(tiny()), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "loglog", lambda ax, frame, looks, **_: drawn.append(looks))
        patch.setattr(
            plots,
            "draw",
            lambda name, alt, drawing: (drawing(plots.WIDE), plots.Drawing(name, alt, "<svg/>", "<svg/>"))[1],
        )
        SECTIONS["growth"].make(made, UNJUDGED)
    of_conditions = {(look.slot, look.marker) for look in looks_of(made).values()}
    assert drawn and not of_conditions & {(look.slot, look.marker) for look in drawn[0].values()}


def test_growth_is_told_in_means_over_seeds_alone(whole):
    assert set(re.findall(r"\d\.\d{3}", whole["growth"].answer[0])) == {"1.005"}  # of seeds at 1.000 and 1.010


def test_a_difference_is_paired_by_seed_against_the_parent(whole):
    table = whole["final-losses"].tables[0]
    made = results(tiny())
    for row in table.cells:
        condition = made.spec.condition(row[0].sort)
        a, b = (made.loss(c, "dev", 30).to_numpy() for c in (condition, made.spec.condition(condition.parent)))
        assert row[2].mean == pytest.approx(float(np.mean(a - b)))
    assert [row[1] for row in table.cells] == ["Baseline", "Fixed output layer", "BatchNorm"]


def test_shares_by_what_tanh_lets_through_are_those_measured_and_of_the_histogram(whole):
    figure = next(f for f in whole["gradients"].figures if f.drawing.name == "local-gradient")
    for row, saturated in zip(figure.table.cells, whole["saturation"].tables[0].cells, strict=False):
        assert row[1] == saturated[2]  # |h| > 0.99, the same number in both sections
    _, lost, between, passed, _ = figure.table.cells[0]
    # the made-up bins from -0.9 to 0.9 hold 40 %; 1 − h² is one half at ±0.8814
    assert (lost.mean, passed) == pytest.approx((20.5, 40 * 0.8814 / 0.9), abs=0.01)
    assert lost.mean + between + passed == pytest.approx(100)


def test_the_fall_of_the_loss_says_which_steps_it_is_read_at(whole):
    text = whole["curves"].answer[0]  # bins of two steps, 3 / (1 + first) above 2, and 0.005 for two seeds
    assert re.search(r"goes from 5\.0\d \(mean of steps 1 to 2\) to 2\.11 \(mean of steps 29 to 30\)", text)


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"probe": GONE}, {"growth"}),
        ({"published": GONE}, {"published"}),
        ({"claims": GONE}, {"verdict"}),
        ({"seeds": 1}, set()),
    ],
)
def test_a_section_without_data_is_left_out_and_no_other(tmp_path, whole, changes, missing):
    spec = changed(tmp_path, changes)
    assert set(whole) - set(sections(results(spec))) == missing


@pytest.mark.usefixtures("sketched")
def test_without_tanh_nothing_is_said_of_saturation_and_its_gradient(tmp_path, whole):
    layer = {"weight": {"std": 1}, "bias": {"std": 1}, "activation": "relu"}
    found = sections(
        results(
            changed(
                tmp_path, {"conditions.baseline.hidden": layer, "conditions.batchnorm.hidden.weight": {"gain": "relu"}}
            )
        )
    )
    assert set(whole) - set(found) == {"saturation"}
    assert [f.drawing.name for f in found["gradients"].figures] == ["update-ratio"]


@pytest.mark.usefixtures("sketched")
def test_a_single_condition_has_a_report_without_comparisons(tmp_path, whole):
    others = {f"conditions.{name}": GONE for name in ("fixed", "batchnorm", "calibrated", "zero")}
    found = sections(results(changed(tmp_path, {"published": GONE, "claims": GONE, **others})))
    assert set(whole) - set(found) == {"verdict", "published", "calibration", "waste", "final-losses", "variants"}


@pytest.mark.usefixtures("sketched")
def test_a_diverged_seed_breaks_no_section(whole):
    for lost in (("baseline", 0), ("fixed", 1)):
        assert set(sections(results(tiny(), lost=lost))) == set(whole)


@pytest.mark.parametrize("step", [0, 1])
def test_a_study_of_which_every_seed_diverged_has_a_page(tmp_path, step):
    found = results(tiny())
    cells = found.tables["cells"]
    lost = cells.assign(status="diverged", step=pd.array([step] * len(cells), dtype=cells["step"].dtype))
    gone = replace(found, tables={**found.tables, "cells": lost})
    html = report.report_page(gone, judge(gone), "every seed diverged")
    assert "Every condition has diverged seeds; the table says how many." in html
