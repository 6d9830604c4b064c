"""Drawings: the plotted data, the theme as classes, the same bytes twice."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from study.report.figures import plots, svg
from study.report.figures.look import FONT_POINTS, PAPER, ROLES, SLOTS
from study.report.figures.text import wrap
from study.report.figures.ticks import tick

NAMES = ["a", "b", "c"]
TITLES = {"a": "First", "b": "Second", "c": "Third"}
SEEDS = pd.DataFrame([{"condition": n, "seed": s, "value": i + s / 10} for i, n in enumerate(NAMES) for s in range(4)])
STYLE = (Path(plots.__file__).parents[1] / "templates" / "style.css").read_text(encoding="utf-8")


def strip_figure(width: int = plots.WIDE, titles: dict[str, str] = TITLES):
    fig, axes = plots.new(1, 1, plots.strip_height(3, width), width)
    intervals = SEEDS.groupby("condition")["value"].agg(["mean", "min", "max"]).reset_index()
    intervals = intervals.rename(columns={"min": "low", "max": "high"})
    plots.draw_strip(axes[0], SEEDS, plots.palette(NAMES), titles, intervals=intervals, label="value")
    plots.reference(axes[0], 1.0, "one", axis="x")
    return fig


def luminance(color: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.1)."""
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colours(mode: int) -> dict[str, str]:
    """Role -> colour in the style sheet; mode 0 is light, 1 is dark."""
    found = re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", STYLE)
    return {name: (light, dark)[mode] for name, light, dark in found}


@pytest.mark.parametrize("count", [1, 2, 6, 20, 60])
def test_every_condition_has_a_look_of_its_own(count):
    looks = plots.palette([f"c{i}" for i in range(count)])
    assert len({(look.slot, look.marker, look.dash) for look in looks.values()}) == count
    assert [look.slot for look in looks.values()][:SLOTS] == list(range(min(count, SLOTS)))


def test_an_added_condition_changes_no_other_look():
    before, after = plots.palette(NAMES), plots.palette([*NAMES, "d"])
    assert {name: after[name] for name in NAMES} == before


@pytest.mark.parametrize("mode", [0, 1])
def test_colours_meet_the_contrast_of_wcag_aa_in_both_modes(mode):
    found = colours(mode)
    assert set(ROLES) <= set(found)
    for role in ("ink", "muted", "link", "good", "bad", "unsure", "reference"):
        for ground in ("paper", "raised"):
            assert contrast(found[role], found[ground]) >= 4.5, (role, ground)
    for slot in range(SLOTS):  # non-text contrast, WCAG 1.4.11
        assert contrast(found[f"c{slot}"], found["paper"]) >= 3, slot


@pytest.mark.parametrize("mode", [0, 1])
def test_hues_stay_apart_for_colour_blind_readers(mode):
    # Machado et al. 2009, severity 1, in linear RGB; distance in OKLab × 100, of which 2 is just noticeable
    visions = {
        "all cones": np.eye(3),
        "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
        "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
    }
    to_lms = [[0.41222, 0.53633, 0.05145], [0.2119, 0.68070, 0.1074], [0.0883, 0.28172, 0.62998]]
    to_lab = [[0.21045, 0.79362, -0.00407], [1.978, -2.42859, 0.45059], [0.0259, 0.78277, -0.80868]]

    def lab(color: str, vision) -> np.ndarray:
        channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return 100 * np.asarray(to_lab) @ np.cbrt(np.asarray(to_lms) @ np.clip(np.asarray(vision) @ linear, 0, 1))

    for name, vision in visions.items():
        points = [lab(colours(mode)[f"c{i}"], vision) for i in range(SLOTS)]
        for count, least in ((6, 8), (8, 6)):
            gaps = [np.linalg.norm(points[i] - points[j]) for i in range(count) for j in range(i)]
            assert min(gaps) > least, (name, count, min(gaps))


def test_the_same_figure_gives_the_same_bytes():
    assert plots.draw("x", "alt", strip_figure) == plots.draw("x", "alt", strip_figure)


def test_a_drawing_is_themed_by_classes_alone():
    drawing = plots.draw("x", 'what & "how"', strip_figure)
    for text, ident in ((drawing.wide, "x-w"), (drawing.narrow, "x-n")):
        root = ET.fromstring(text)
        assert root.get("role") == "img"
        assert root.get("aria-labelledby") == f"{ident}-desc"
        assert root[0].tag == "desc"
        assert root[0].text == 'what & "how"'
        assert "viewBox" in root.attrib
        assert "width" not in root.attrib
        assert "style=" not in text
        assert "<style" not in text
        assert "xlink" not in text
        assert "metadata" not in text
        assert not re.search(r"#[0-9a-f]{6}\b", text), "a colour is left"
        classes = {name for element in root.iter() for name in element.get("class", "").split()}
        assert classes >= {"f-c0", "f-c1", "f-c2", "s-reference", "f-ink"}
        assert all(f".{name}" in STYLE for name in classes), classes
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        assert all(name.startswith(ident) for name in ids)
        used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
        assert {a or b for a, b in used} <= set(ids)


def test_text_stays_text():
    root = ET.fromstring(plots.draw("x", "alt", strip_figure).wide)
    assert {"First", "Second", "Third", "value", "one"} <= {text.text for text in root.iter("text")}


def test_hostile_titles_are_text():
    titles = {"a": "<script>alert(1)</script> $x_1$", "b": "\u202eשלום\x00\x07 🧠\ud800", "c": "unbroken" * 40}
    for width in (plots.WIDE, plots.NARROW):
        root = ET.fromstring(plots.svg_text(strip_figure(width, titles), "x", "alt"))
        texts = " ".join(text.text or "" for text in root.iter("text"))
        assert "script" not in {element.tag for element in root.iter()}
        assert "<script>" in texts
        assert "…" in texts
        assert max(len(text.text or "") for text in root.iter("text")) <= 46


def test_missing_alt_text_and_bad_names_are_refused():
    with pytest.raises(ValueError, match="alt text is empty"):
        plots.svg_text(strip_figure(), "x", "  ")
    with pytest.raises(ValueError, match="figure name"):
        plots.svg_text(strip_figure(), "X y", "alt")


def test_a_colour_that_dark_mode_cannot_change_is_refused():
    fig, axes = plots.new()
    axes[0].plot([0, 1], [0, 1], color="#ff0000")
    with pytest.raises(ValueError, match="#ff0000 is no role"):
        plots.svg_text(fig, "x", "alt")


def test_every_seed_is_a_dot_at_its_value():
    ax = strip_figure().axes[0]
    dots = np.concatenate([collection.get_offsets() for collection in ax.collections])
    assert sorted(dots[:, 0]) == pytest.approx(sorted(SEEDS["value"]))


def test_a_title_above_its_row_covers_the_line_of_a_reference():
    titles = [text for text in strip_figure(plots.NARROW).axes[0].texts if text.get_text() in TITLES.values()]
    assert len(titles) == 3
    for title in titles:
        assert title.get_bbox_patch().get_facecolor() == to_rgba(PAPER)
        assert title.get_zorder() > 1  # that of the line


def test_a_diverged_seed_leaves_the_others_in_place():
    frame = SEEDS.assign(value=SEEDS["value"].where(SEEDS.index != 1))
    fig, axes = plots.new()
    plots.draw_strip(axes[0], frame, plots.palette(NAMES), TITLES)
    assert sum(len(collection.get_offsets()) for collection in axes[0].collections) == len(SEEDS) - 1
    assert "NaN" not in plots.svg_text(fig, "x", "alt")


@pytest.mark.parametrize("log", [False, True])
def test_lines_are_thinned_to_150_points_with_both_ends(log):
    frame = pd.DataFrame({"condition": "a", "seed": 0, "step": np.arange(5000), "loss": np.arange(5000.0)})
    thinned = plots.thin(frame, ["condition", "seed"], "step", log=log)
    assert len(thinned) <= FONT_POINTS
    assert thinned["step"].iloc[0] == 0
    assert thinned["step"].iloc[-1] == 4999
    assert thinned["step"].is_monotonic_increasing
    assert thinned["step"].is_unique
    _, axes = plots.new()
    plots.draw_lines(axes[0], plots.palette(["a"]), frame, logx=log)
    assert max(len(line.get_xdata()) for line in axes[0].lines) <= FONT_POINTS


@pytest.mark.parametrize("towards", [-np.inf, np.inf])
def test_the_last_bit_of_log_decides_no_point_of_a_line(towards, monkeypatch):
    """Steps 1 to 10⁴: of 75 points evenly spaced in log x the middle one is 100, a row that is there."""
    frame = pd.DataFrame({"condition": "a", "seed": 0, "step": np.arange(1.0, 10_001), "loss": 1.0})
    plain, before = np.log, plots.thin(frame, ["condition", "seed"], "step", 75, log=True)
    assert 100 in set(before["step"])
    # another make of CPU rounds some results otherwise, not all of them
    monkeypatch.setattr(np, "log", lambda x: np.where(x == 100, np.nextafter(plain(x), towards), plain(x)))
    pd.testing.assert_frame_equal(plots.thin(frame, ["condition", "seed"], "step", 75, log=True), before)


def test_a_mask_marks_what_is_true_and_nothing_else():
    matrix = np.random.default_rng(0).random((8, 30)) < 0.5
    _, axes = plots.new()
    plots.mask(axes[0], matrix)
    found = np.zeros_like(matrix)
    for (start, row), (stop, _) in axes[0].patches[0].get_path().vertices.reshape(-1, 2, 2):
        found[int(row), int(start) : int(stop)] = True
    assert (found == matrix).all()


def test_a_histogram_draws_its_rows():
    frame = pd.DataFrame({"left": [0.0, 1.0, 2.0], "right": [1.0, 2.0, 4.0], "density": [0.5, 0.3, 0.1]})
    _, axes = plots.new()
    plots.histogram(axes[0], frame, plots.palette(["a"])["a"])
    patch = axes[0].patches[0].get_data()
    assert list(patch.edges) == [0, 1, 2, 4]
    assert list(patch.values) == [0.5, 0.3, 0.1]


def test_short_paths_keep_their_points():
    d = "M 10.004 20 \nL 30.5 20 \nL 30.5 -4.25 \nL 12.126 7.3 \nz"
    assert svg._path(d) == "M10 20h20.5v-24.25l-18.37 11.55z"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (-1.5, "−1.5"),
        (200_000, "200,000"),
        (1e-5, "10⁻⁵"),
        (2e7, "2×10⁷"),
        (1000, "1,000"),
    ],
)
def test_ticks_are_typeset(value, text):
    assert tick(value) == text


@pytest.mark.parametrize("limits", [(2.8, 3.3), (2, 30), (1, 200_000), (1e-9, 1e3)])
def test_a_log_axis_has_readable_ticks_whatever_it_spans(limits):
    for width in (plots.WIDE, plots.NARROW):
        _, axes = plots.new(width=width)
        plots.draw_lines(axes[0], plots.palette(["a"]), logx=True)
        axes[0].set_xlim(limits)
        shown = [t for t in axes[0].xaxis.get_majorticklocs() if limits[0] <= t <= limits[1]]
        assert 2 <= len(shown) <= 12, shown


def test_labels_are_cut_and_wrapped_by_cells():
    assert plots.shorten("初期化の条件", 7) == "初期化…"
    assert wrap("a long title of many words", 10) == ["a long", "title of…"]
    assert wrap("", 10) == [""]


@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_legend_names_every_condition(count):
    names = [f"c{i}" for i in range(count)]
    for width in (plots.WIDE, plots.NARROW):
        fig, _ = plots.new(width=width)
        plots.key(fig, plots.palette(names), {name: name * 30 for name in names})
        assert plots.svg_text(fig, "x", "alt").count("…</text>") == count
