"""The page of a user's own study has any number of conditions, any depth and any norm, and leaves out empty sections."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest

from study.report.build import build_report
from study.report.figures import svg
from study.report.sections.contents import SECTIONS
from study.spec.anchors import SECTION_ORDER
from tests.support.finished import finished
from tests.support.pages import sections, text
from tests.support.tiny import GONE, load

pytestmark = pytest.mark.slow

DRAWN = {"weight": {"std": 1}, "bias": {"std": 1}}
NORMED = {"weight": {"std": 1}, "norm": "batch"}
OUTPUT = {"weight": {"std": 3}, "bias": {"std": 1}}
BASE = {"title": "Baseline", "embedding": {"std": 1}, "hidden": DRAWN, "output": OUTPUT}
FIXED = {"title": "Fixed output", "from": "baseline", "output": {"weight": {"std": 0.01}, "bias": {"std": 0}}}
RELU = {"weight": {"gain": "relu"}, "bias": {"std": 0}, "activation": "relu"}
TWENTY = {
    "baseline": BASE,
    **{
        f"c{i}": {"title": f"Condition {i}", "from": "baseline", "output": {"weight": {"std": 1 - i / 20}}}
        for i in range(1, 20)
    },
}
# no published, no probe, no twins, no sweep, no claims, one group
BARE: dict[str, Any] = dict.fromkeys(
    ("published", "probe", "claims", "groups", "profiles", "evaluation", "measure"), GONE
)
TWO = {"baseline": BASE, "fixed": FIXED}
GATE = {"id": "high", "sentence": "High.", "measure": "loss.train", "of": "baseline", "above": "log(vocabulary) + 0.3"}
STUDIES: dict[str, dict[str, Any]] = {
    "one": {**BARE, "conditions": {"baseline": BASE}, "seeds": 1},
    "two": {**BARE, "conditions": TWO},
    "twenty": {**BARE, "conditions": TWENTY, "seeds": 1},
    "two levels": {**BARE, "conditions": TWO, "model.hidden": [8, 6], "seeds": 1},
    "all BatchNorm, three levels": {
        **BARE,
        "conditions": {"baseline": {**BASE, "hidden": NORMED}, "fixed": FIXED},
        "model.hidden": [8, 6, 5],
    },
    "relu only": {**BARE, "conditions": {"baseline": {**BASE, "hidden": RELU}, "fixed": FIXED}},
    "the tiny study, one seed": {"seeds": 1, "claims": [GATE]},
}
NEEDS = {  # a section -> the studies that have what it is about
    "verdict": {"the tiny study, one seed"},
    "published": {"the tiny study, one seed"},
    "growth": {"the tiny study, one seed"},
    "variants": {"the tiny study, one seed"},
    "calibration": {"all BatchNorm, three levels", "the tiny study, one seed"},
    "saturation": set(STUDIES) - {"relu only"},
    "learning-rate": set(),
    "twins": set(),
    "waste": set(STUDIES) - {"one"},
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The page of every study, its figures drawn, but not written as SVG, which takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            svg, "svg_text", lambda fig, ident, alt: f'<svg class="plot" id="{ident}"><desc>figure</desc></svg>'
        )
        found = {}
        for name, changes in STUDIES.items():
            folder = tmp_path_factory.mktemp("study")
            spec = load(folder, changes)
            found[name] = build_report(spec, finished(spec, folder / "out"), notebooks=False).read_text("utf-8")
        yield found


@pytest.mark.parametrize("name", STUDIES)
def test_a_section_is_on_the_page_or_said_to_be_left_out(pages: dict[str, str], name: str) -> None:
    found = sections(pages[name])
    left = found.pop("left-out", "")
    assert list(found) == [anchor for anchor in SECTION_ORDER if anchor in found]
    for anchor in SECTION_ORDER:
        assert (f'<li id="{anchor}">{html.escape(SECTIONS[anchor].short)}: needs ' in left) is (anchor not in found), (
            anchor
        )
    for anchor, studies in NEEDS.items():
        assert (anchor in found) is (name in studies), anchor
    contents = re.findall(r'<a href="#([a-z0-9-]+)"', pages[name].partition("<main")[0])
    assert set(found) <= set(contents)


@pytest.mark.parametrize("name", STUDIES)
def test_no_section_is_empty(pages: dict[str, str], name: str) -> None:
    for anchor, section in sections(pages[name]).items():
        assert re.search(r"<table|<figure|<dl|<pre|<li>", section), anchor
        assert not re.search(r"<tbody>\s*</tbody>|<p>\s*</p>|<h2[^>]*>\s*</h2>", section), anchor


@pytest.mark.parametrize("name", STUDIES)
def test_no_value_is_shown_that_is_none(pages: dict[str, str], name: str) -> None:
    read = text(pages[name])
    assert "Baseline" in read
    assert re.findall(r".{20}\b(?:nan|NaN|inf|NaT|None(?! of)|<NA>)\b.{20}", read) == []


def test_the_page_names_every_condition_of_twenty(pages: dict[str, str]) -> None:
    read = text(pages["twenty"])
    assert "20 conditions" in read
    assert all(f"Condition {i} " in read for i in range(1, 20))
    assert len(pages["twenty"]) < 3_000_000


@pytest.mark.parametrize("name", ["two levels", "all BatchNorm, three levels"])
def test_every_level_is_measured_and_shown(pages: dict[str, str], name: str) -> None:
    levels = 2 if name == "two levels" else 3
    saturation = text(sections(pages[name])["saturation"])
    assert f"Baseline {levels} " in saturation
    assert f"Baseline {levels + 1} " not in saturation


@pytest.mark.parametrize("name", STUDIES)
def test_one_is_not_many_and_nothing_is_compared_with_itself(pages: dict[str, str], name: str) -> None:
    read = text(pages[name])
    assert re.findall(r".{20}(?<!, )\b1 (?:seeds|conditions|cells|trainings|pairs|others|claims)\b.{20}", read) == []
    assert re.findall(r"\bof Baseline [^.]{0,90}; of Baseline\b|in Baseline and [\d.]+ in Baseline\b", read) == []


def test_a_page_of_one_condition_and_one_seed_speaks_of_no_other(pages: dict[str, str]) -> None:
    read = " ".join(re.findall(r'<p class="lead">.*?</p>|<div class="answer">.*?</div>', pages["one"], flags=re.S))
    assert (
        re.findall(r"[^.]*\b(?:others|best condition|each condition|same draws|paired|ten seeds)\b[^.]*", text(read))
        == []
    )


def test_no_difference_is_measured_by_an_error_of_rounding(pages: dict[str, str]) -> None:
    assert re.findall(r"[+−-]\d{5,}\.\d", text(sections(pages["all BatchNorm, three levels"])["theory"])) == []
