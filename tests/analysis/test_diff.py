"""Two reports are compared entry by entry, row by row, and measurement by measurement over the seeds that both have."""

from __future__ import annotations

import copy
import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from study import cli, parquet, provenance, tables
from study.analysis.diff import Change, Measured, Unpaired, compare
from study.errors import SpecError
from study.execution.collect import measures
from study.report.differences import LISTED, differences_page, differences_text
from tests.support.tiny import HERE, one_line

Rows = dict[str, list[dict[str, Any]]]
Edit = Callable[[Rows], None]

SEEDS = (0, 1, 2, 3)
END = 30


def rows(seeds: Iterable[int] = SEEDS, names: Iterable[str] = ("baseline", "fixed")) -> Rows:
    """The tables of a study of two conditions that is measured at 0, 10 and 30; gradients also at step 1."""
    made: Rows = {name: [] for name in tables.TABLES}
    for i, name in enumerate(names):
        keys = {"condition": name, "statistics": "none"}
        made["conditions"].append(
            {**keys, "title": name.title(), "group": "all", "changes": "W1\nb1", "steps": END, "cell": name}
        )
        for seed in seeds:
            here = {"condition": name, "seed": seed}
            for step in (0, 10, END):
                for j, split in enumerate(("train", "dev")):
                    loss = 3 - step / 20 + i + 0.1 * seed + 0.01 * j
                    made["losses"].append(
                        {**here, "step": step, "split": split, "statistics": "none", "examples": 9, "loss": loss}
                    )
                made["metrics"].append(
                    {
                        **here,
                        "step": step,
                        "layer": 1,
                        "statistics": "none",
                        "metric": "saturation_97",
                        "value": 0.5 + 0.01 * seed,
                    }
                )
            for step in (0, 1, END):
                made["metrics"].append(
                    {**here, "step": step, "parameter": "W1", "metric": "grad_norm", "value": 1.0 + seed}
                )
            made["curves"] += [
                {**here, "first": 10 * k, "step": 10 * k + 4.5, "loss": 3.0 - k + seed} for k in range(3)
            ]
            cell = {"protocol": "paired", "engine": "fused", "twin": False, "steps": END, "status": "done"}
            made["cells"].append({**here, **cell, "sha256": f"{name} {seed}"})
    made["twins"] += [
        {"condition": "baseline", "seed": 0, "steps": END, "step": step, "distance": 1e-9 * step, "loss_gap": gap}
        for step, gap in ((1, None), (END, 1e-3))
    ]
    made["measures"] = measures({name: tables.arrow(name, found) for name, found in made.items()}).to_pylist()
    return made


def report(folder: Path, edit: Edit | None = None, seeds: Iterable[int] = SEEDS, **facts: Any) -> Path:
    """A folder with the tables of rows(), edited, and a manifest with `facts`."""
    made = copy.deepcopy(rows(seeds))
    if edit is not None:
        edit(made)
    (folder / "data").mkdir(parents=True)
    for name, found in made.items():
        parquet.write(name, tables.frame(name, found), folder / "data")
    plain = {key: {} for key in provenance.NEEDED}
    provenance.write_manifest({"format": provenance.MANIFEST_FORMAT, **plain, "seeds": list(seeds), **facts}, folder)
    return folder


def change(table: str, column: str, value: Any, **where: Any) -> Edit:
    """An edit: `value`, or what it makes of the old one, in the rows that match; at least one does."""

    def edit(made: Rows) -> None:
        matching = [row for row in made[table] if all(row.get(key) == wanted for key, wanted in where.items())]
        assert matching
        for row in matching:
            row[column] = value(row) if callable(value) else value

    return edit


def both(*edits: Edit) -> Edit:
    def edit(made: Rows) -> None:
        for each in edits:
            each(made)

    return edit


DEV_END = {"condition": "fixed", "step": END, "split": "dev"}


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return report(tmp_path / "a")


def only(measured: list[Measured]) -> Measured:
    (one,) = measured
    return one


# -- measurements -------------------------------------------------------------------------------------------------


def test_equal_reports_differ_in_nothing_and_every_measurement_is_counted(a: Path, tmp_path: Path) -> None:
    found = compare(a, report(tmp_path / "b"))
    assert found.equal
    assert (found.study, found.environment, found.conditions, found.tables, found.measured, found.unpaired) == ([],) * 6
    # per condition: 3 steps of 2 splits and a curve; saturation at 3 steps and the gradient at 2 of them. Of the twin:
    # a distance at 2 steps and a gap at one
    assert found.same == {"loss": 2 * 7, "metric": 2 * 5, "other": 3}
    assert (found.cells.equal, found.cells.differ) == (8, {})


def test_one_changed_loss_is_a_paired_difference_with_its_t_interval(a: Path, tmp_path: Path) -> None:
    b = report(tmp_path / "b", change("losses", "loss", lambda row: row["loss"] + 0.01 * row["seed"] ** 2, **DEV_END))
    found = compare(a, b)
    one = only(found.measured)
    assert (one.kind, one.condition, one.what, one.at) == ("loss", "fixed", "loss (nats), dev", "end")
    by_hand = stats.ttest_1samp([0, 0.01, 0.04, 0.09], 0)
    interval = by_hand.confidence_interval(0.95)
    assert one.difference.mean == pytest.approx(0.035)
    assert (one.difference.low, one.difference.high) == pytest.approx((interval.low, interval.high))
    assert (one.difference.n, one.diverged) == (4, (0, 0, 0))
    assert (one.a, one.b) == pytest.approx((2.66, 2.695))
    assert found.same == {"loss": 13, "metric": 10, "other": 3}
    (table,) = found.tables
    assert (table.name, table.rows_a, table.rows_b, table.differ) == ("losses", 48, 48, 3)  # seed 0 keeps its loss


def test_the_difference_is_b_minus_a(a: Path, tmp_path: Path) -> None:
    b = report(tmp_path / "b", change("losses", "loss", lambda row: row["loss"] + 1, **DEV_END))
    assert only(compare(a, b).measured).difference.mean == pytest.approx(1)
    assert only(compare(b, a).measured).difference.mean == pytest.approx(-1)


def test_shares_are_percentages(a: Path, tmp_path: Path) -> None:
    b = report(tmp_path / "b", change("metrics", "value", 0.75, condition="fixed", step=10, metric="saturation_97"))
    one = only(compare(a, b).measured)
    assert (one.what, one.at) == ("tanh outputs with |h| > 0.97 (%), layer 1", "step 10")
    assert (one.a, one.b) == pytest.approx((51.5, 75))


def test_the_largest_share_of_a_measurements_size_comes_first(a: Path, tmp_path: Path) -> None:
    edit = both(
        change("losses", "loss", lambda row: row["loss"] + 0.3, **DEV_END),  # of 2.9 on average
        change(
            "metrics", "value", lambda row: row["value"] + 0.2, metric="saturation_97", condition="baseline", step=0
        ),
        change("twins", "distance", 4e-8, step=END),  # of 3e-8, 1e-9 and the change itself
    )
    found = compare(a, report(tmp_path / "b", edit))
    assert [m.kind for m in found.measured] == ["other", "metric", "loss"]
    shares = [m.share for m in found.measured]
    assert shares == sorted(shares, reverse=True)
    everything = [0.5 + 0.01 * seed for seed in SEEDS]
    assert shares[1] == pytest.approx(0.2 / ((12 * sum(everything) + 4 * 0.2) / 48))
    assert "n = 1 (" in differences_text(found)


def test_a_gradient_is_compared_where_losses_are_read(a: Path, tmp_path: Path) -> None:
    found = compare(a, report(tmp_path / "b", change("metrics", "value", 9.0, step=1)))
    assert found.measured == []
    assert [(t.name, t.differ) for t in found.tables] == [("metrics", 8)]
    assert not found.equal


def test_pairs_are_of_equal_seed_whatever_the_order_of_rows(a: Path, tmp_path: Path) -> None:
    found = compare(a, report(tmp_path / "b", lambda made: made["losses"].reverse()))
    assert (found.measured, found.same["loss"]) == ([], 14)
    assert [t.name for t in found.tables] == ["losses"]  # the rows are others, place by place


def test_seeds_that_both_have_are_compared(a: Path, tmp_path: Path) -> None:
    edit = change("losses", "loss", lambda row: row["loss"] + row["seed"], **DEV_END)
    found = compare(a, report(tmp_path / "b", edit, seeds=(2, 3, 4)))
    one = only(found.of("loss"))
    assert (one.difference.n, one.difference.mean) == (2, pytest.approx(2.5))
    assert found.study == [Change("seeds", "[0, 1, 2, 3]", "[2, 3, 4]")]
    assert (found.cells.equal, found.cells.only_a, found.cells.only_b) == (4, 4, 2)
    assert (found.tables[0].name, found.tables[0].differ) == ("losses", None)


def test_without_a_common_seed_nothing_is_compared(a: Path, tmp_path: Path) -> None:
    found = compare(a, report(tmp_path / "b", seeds=(7, 8)))
    assert found.of("loss") == found.of("metric") == []
    assert found.same == {"loss": 0, "metric": 0, "other": 3}
    assert found.unpaired == [Unpaired(name, "for no seed of both", 12) for name in ("baseline", "fixed")]


def test_a_missing_condition_is_named_and_its_measurements_are_counted(a: Path, tmp_path: Path) -> None:
    def edit(made: Rows) -> None:
        for name, found in made.items():
            made[name] = [row for row in found if row.get("condition") != "fixed"]

    b = report(tmp_path / "b", edit)
    for found, why, entry in (
        (compare(a, b), "only in A", Change("fixed", "“Fixed”", "–")),
        (compare(b, a), "only in B", Change("fixed", "–", "“Fixed”")),
    ):
        assert found.measured == []
        assert found.unpaired == [Unpaired("fixed", why, 12)]
        assert found.conditions == [entry]
        assert not found.equal


def test_a_renamed_title_or_parent_is_a_change_of_the_condition(a: Path, tmp_path: Path) -> None:
    edit = both(
        change("conditions", "title", "Repaired", condition="fixed"),
        change("conditions", "parent", "baseline", condition="fixed"),
        change("conditions", "changes", "W1\nb2", condition="fixed"),
    )
    assert compare(a, report(tmp_path / "b", edit)).conditions == [
        Change("fixed: title", "Fixed", "Repaired"),
        Change("fixed: parent", "–", "baseline"),
        Change("fixed: changes", "W1; b1", "W1; b2"),
    ]


def test_trainings_of_other_lengths_are_compared_at_their_ends_and_at_common_steps(a: Path, tmp_path: Path) -> None:
    def shorter(made: Rows) -> None:
        change("conditions", "steps", 10, condition="fixed")(made)
        for name in ("losses", "metrics"):
            made[name] = [row for row in made[name] if (row["condition"], row["step"]) != ("fixed", END)]

    found = compare(a, report(tmp_path / "b", shorter))
    # of the shorter training step 10 is the end, 1 nat above the end of the longer one, and still step 10
    assert {(m.what, m.at, round(m.difference.mean, 6)) for m in found.measured} == {
        ("loss (nats), train", "end", 1.0),
        ("loss (nats), dev", "end", 1.0),
    }
    # the longer's step 30, and each one's curve; the gradient was measured at the end of the longer only
    assert {(u.why, u.count) for u in found.unpaired} == {("only in A", 6), ("only in B", 1)}


def diverge(condition: str, seed: int, step: int) -> Edit:
    where = {"condition": condition, "seed": seed}
    return both(change("cells", "status", "diverged", **where), change("cells", "step", step, **where))


def test_a_seed_that_diverged_in_one_report_leaves_no_mean_from_then_on(a: Path, tmp_path: Path) -> None:
    found = compare(a, report(tmp_path / "b", diverge("fixed", 2, 5)))
    assert {m.at for m in found.measured} == {"step 10", "end", "steps 0 to 30"}
    for m in found.measured:
        assert (m.condition, m.diverged, m.difference.diverged) == ("fixed", (0, 1, 0), 1)
        assert math.isnan(m.difference.mean)
        assert m.share == math.inf
    assert "fixed: 5 measurements, diverged seeds: 1 in B" in differences_text(found)
    assert found.same["loss"] == 14 - 5


def test_a_seed_that_diverged_in_both_is_equal_and_left_out_of_means(a: Path, tmp_path: Path) -> None:
    lost = report(tmp_path / "lost", diverge("fixed", 2, 5))
    assert compare(lost, report(tmp_path / "b", diverge("fixed", 2, 5))).measured == []
    edit = both(diverge("fixed", 2, 5), change("losses", "loss", lambda row: row["loss"] + row["seed"], **DEV_END))
    found = compare(lost, report(tmp_path / "c", edit))
    one = only(found.measured)
    assert (one.difference.n, one.difference.mean, one.diverged) == (3, pytest.approx(4 / 3), (0, 0, 1))
    assert "n = 3, diverged seeds: 1 in both" in differences_text(found)
    assert "1 in both" in differences_page(found)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_in_both_is_equal(tmp_path: Path, value: float) -> None:
    edit = change("losses", "loss", value, seed=1, **DEV_END)
    found = compare(report(tmp_path / "a", edit), report(tmp_path / "b", edit))
    assert (found.equal, found.measured) == (True, [])


def test_published_runs_and_the_probe_are_measurements(tmp_path: Path) -> None:
    def more(shift: float) -> Edit:
        def edit(made: Rows) -> None:
            made["published"] = [
                {"condition": "run", "split": s, "published": 2.0, "reproduced": 2.0 + shift} for s in ("train", "dev")
            ]
            made["probe"] = [
                {"init": "std 1", "fan_in": n, "seed": s, "std_y": 3.0 + shift * n} for n in (4, 16) for s in (0, 1)
            ]

        return edit

    found = compare(report(tmp_path / "a", more(0)), report(tmp_path / "b", more(0.1)))
    assert {(m.condition, m.what): (m.difference.n, round(m.difference.mean, 6)) for m in found.measured} == {
        ("run", "loss (nats), train, published run"): (1, 0.1),
        ("run", "loss (nats), dev, published run"): (1, 0.1),
        ("std 1", "std after x @ w, fan_in 4"): (2, 0.4),
        ("std 1", "std after x @ w, fan_in 16"): (2, 1.6),
    }


# -- entries and cells --------------------------------------------------------------------------------------------


def test_entries_of_study_and_environment_are_told_apart(tmp_path: Path) -> None:
    a = report(tmp_path / "a", profile="full", versions={"torch": "2.4", "numpy": "2.0"}, draws={"0": "x", "1": "y"})
    b = report(
        tmp_path / "b",
        profile="quick",
        versions={"torch": "2.5", "numpy": "2.0"},
        draws={"0": "z", "9": "y"},
        extra=[1],
    )
    found = compare(a, b)
    assert found.study == [Change("extra", "–", "[1]"), Change("profile", "full", "quick")]
    assert found.environment == [Change("versions.torch", "2.4", "2.5"), Change("draws.0", "x", "z")]
    assert found.equal  # only tables decide


def test_a_long_value_is_cut_to_where_it_differs(tmp_path: Path) -> None:
    long = [["x"] * 100, ["x"] * 90 + ["y"] + ["x"] * 9]
    a, b = (report(tmp_path / name, title=value) for name, value in zip("ab", long, strict=True))
    (change_,) = compare(a, b).study
    assert change_.a != change_.b
    assert '"y"' in change_.b
    assert max(len(change_.a), len(change_.b)) < 70


def test_cells_are_compared_by_the_hash_of_their_parameters(a: Path, tmp_path: Path) -> None:
    edit = both(
        change("cells", "sha256", "other", condition="fixed", seed=1),
        change("cells", "sha256", "other", condition="fixed", seed=3),
        change("cells", "sha256", None, condition="baseline", seed=0),
    )
    found = compare(a, report(tmp_path / "b", edit))
    assert (found.cells.equal, found.cells.differ, found.cells.without) == (5, {"fixed": ["1", "3"]}, 1)
    assert (
        "5 of 7 cells that both have end with equal parameters (sha256); 1 more have none in one report"
        in differences_text(found)
    )


# -- what is shown ------------------------------------------------------------------------------------------------


def test_a_list_is_cut_in_the_text_and_whole_on_the_page(a: Path, tmp_path: Path) -> None:
    b = report(
        tmp_path / "b",
        change("metrics", "value", lambda row: row["value"] * 2, parameter="W1"),
        **{f"k{i:02}": i for i in range(LISTED + 3)},
    )
    found = compare(a, b)
    assert "… and 3 more; --html FILE shows all" in differences_text(found)
    assert "k22" not in differences_text(found)
    assert "k22" in differences_page(found)


def test_a_hostile_name_stays_a_name(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>`x` **y**\x1b[31m"

    def edit(made: Rows) -> None:
        for name_, found in made.items():
            for row in found if name_ != "measures" else ():
                row["condition"] = row["condition"].replace("fixed", name)

    a = report(tmp_path / "a", edit)
    b = report(tmp_path / "b", both(edit, change("losses", "loss", 9.0, condition=name, seed=1, step=0)), title=name)
    found = compare(a, b)
    html = differences_page(found)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;`x` **y**[31m" in html
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;")
    assert "unsafe" not in policy[1]
    assert not re.search(r'(src|href)="(https?:)?//', html)
    assert "\x1b" not in differences_text(found)
    assert differences_text(found).count("\n") == len(differences_text(found).splitlines()) - 1
    assert differences_page(found) == html


# -- bad input ----------------------------------------------------------------------------------------------------


def refusal(a: Path, b: Path) -> str:
    with pytest.raises(SpecError) as refused:
        compare(a, b)
    return one_line(str(refused.value))


def test_what_is_no_report_is_refused(a: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for bad in (tmp_path / "empty", tmp_path / "nowhere", a / "manifest.json"):
        for pair in ((a, bad), (bad, a)):
            assert str(bad / "manifest.json") in refusal(*pair)


@pytest.mark.parametrize("damage", ["gone", "cut", "foreign"])
def test_a_damaged_table_is_refused(a: Path, tmp_path: Path, damage: str) -> None:
    path = report(tmp_path / "b") / "data" / "losses.parquet"
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.write_bytes((a / "data" / "cells.parquet").read_bytes())
    assert "losses.parquet: " in refusal(a, tmp_path / "b")


@pytest.mark.parametrize("table", ["losses", "cells", "twins"])
def test_two_rows_for_one_reading_are_refused(a: Path, tmp_path: Path, table: str) -> None:
    b = report(tmp_path / "b", lambda made: made[table].append(dict(made[table][-1])))
    assert f"{b / 'data'}: two rows for " in refusal(a, b)


def test_empty_cells_of_a_table_are_no_traceback(tmp_path: Path) -> None:
    def edit(made: Rows) -> None:
        for name, found in made.items():
            if found and name != "measures":
                found[-1] = {column: found[-1][column] if column == "metric" else None for column in found[-1]}

    holes = report(tmp_path / "a", edit)
    found = compare(holes, report(tmp_path / "b"))
    assert differences_text(found)
    assert differences_page(found)
    assert compare(holes, holes).equal


@pytest.mark.parametrize("name", ["grad_norm", "", None])
def test_a_metric_without_its_facts_is_refused(a: Path, tmp_path: Path, name: str | None) -> None:
    def edit(made: Rows) -> None:
        if name == "grad_norm":
            made["measures"] = [row for row in made["measures"] if row["metric"] != name]
        else:
            made["metrics"][-1]["metric"] = name

    with pytest.raises(SpecError, match=rf"measures\.parquet: no row for the metric '{name or ''}'; remake it"):
        compare(a, report(tmp_path / "b", edit))


@pytest.mark.parametrize(("fact", "value"), [("label", None), ("better", "up"), ("format", ".3q"), ("interval", "z")])
def test_a_fact_that_this_version_does_not_know_is_refused(a: Path, tmp_path: Path, fact: str, value: Any) -> None:
    b = report(tmp_path / "b", change("measures", fact, value, metric="grad_norm"))
    with pytest.raises(SpecError, match=r"measures\.parquet: the metric 'grad_norm' (lacks a|has the) f.*; remake it"):
        compare(a, b)


def test_numbers_have_the_unit_that_travels_with_the_tables(tmp_path: Path) -> None:
    def told(made: Rows) -> None:
        change("measures", "unit", "%", metric="grad_norm")(made)
        change("measures", "label", "size of a step", metric="grad_norm")(made)

    a = report(tmp_path / "a", told)
    found = compare(a, report(tmp_path / "b", both(told, change("metrics", "value", 9.0, step=0, parameter="W1"))))
    steps = [m for m in found.measured if m.what == "size of a step (%), W1"]
    assert {m.b for m in steps} == {900.0}


def test_a_report_without_a_row_is_compared(a: Path, tmp_path: Path) -> None:
    empty = report(tmp_path / "b", lambda made: [found.clear() for found in made.values()] and None)
    assert compare(empty, empty).equal
    found = compare(a, empty)
    assert [u.why for u in found.unpaired] == ["only in A"] * 2
    assert differences_page(found)


# -- the command --------------------------------------------------------------------------------------------------


def study(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["study", "diff", *map(str, arguments)])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the handler of SIGTERM stays the tests' own
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_status_says_equal_different_or_bad(
    a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    b = report(tmp_path / "b", change("losses", "loss", 9.0, **DEV_END))
    assert study(monkeypatch, a, a) == 0
    assert "Every table holds the same rows." in capsys.readouterr().out
    assert study(monkeypatch, a, b) == 1
    assert "1 table differs: losses." in capsys.readouterr().out
    assert study(monkeypatch, a, tmp_path) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_the_page_is_written_or_one_line_says_why_not(
    a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(monkeypatch, a, a, "--html", tmp_path / "d.html") == 0
    assert (tmp_path / "d.html").read_text("utf-8") == differences_page(compare(a, a))
    capsys.readouterr()
    for bad in (tmp_path, tmp_path / "no" / "d.html", tmp_path / "d.html" / "x", ""):
        assert study(monkeypatch, a, a, "--html", bad) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "cannot be written" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d.html"]


def test_two_reports_are_compared_without_torch(a: Path) -> None:
    script = (
        "import sys; from study import cli; sys.argv = ['study', 'diff', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    command = [sys.executable, "-c", script, str(a), str(a)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stderr


def test_a_manifest_of_any_shape_is_compared(a: Path, tmp_path: Path) -> None:
    b = report(tmp_path / "b", profile=3, versions=[1], draws=None, cpu={"a": {"b": {"c": {"d": 1}}}})
    facts = json.loads((b / "manifest.json").read_text())
    (b / "manifest.json").write_text(json.dumps({**facts, "seeds": {"x\ny": None}}))
    found = compare(a, b)
    assert {change_.place.split(".")[0] for change_ in found.study} == {"profile", "seeds"}
    assert {change_.place.split(".")[0] for change_ in found.environment} == {"cpu", "versions"}
    assert differences_text(found)
