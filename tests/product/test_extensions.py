"""The skeletons of examples/extend/, from their files to the page: in this process, in workers, on Dask, from a wheel."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from study import cli, parquet, provenance
from study.analysis.ledger import judge, load_results
from study.analysis.results import Results
from study.report.build import build_report
from study.report.sections.theory import theory_section
from study.spec import extensions
from study.spec.read import read_study
from tests.support.finished import finished

EXAMPLES = Path(__file__).parents[2] / "examples" / "extend"
FILES = ["my_activation.py", "my_norm.py", "my_init.py", "my_metric.py", "my_section.py"]
Study = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True, scope="module")
def put_back() -> Iterator[None]:
    """No entry of an extension is left in the registries."""
    yield
    extensions.withdraw()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the skeletons, and their finished study in `out`, trained in this process."""
    folder = tmp_path_factory.mktemp("extend")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    spec = read_study(folder / "study.yaml", trust="always")
    build_report(spec, finished(spec, folder / "out"), notebooks=False)
    return folder


@pytest.fixture
def results(home: Path) -> Results:
    return load_results(read_study(home / "study.yaml", trust="always"), home / "out")


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Study:
    """`study` with arguments in this process: exit status, output, errors."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["study", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    return run


def run_in_workers(study: Study, file: str, executor: str, home: Path) -> None:
    """Run the study in the working folder with two workers: its tables equal those in `home`."""
    options = ("--engine", "autograd", "--workers", "2", "--executor", executor, "--no-notebooks", "--cache", "cache")
    status, _, told = study("run", file, "--out", "out", *options)
    assert status == 0, told
    there, here = (parquet.read(folder / "out" / "data") for folder in (home, Path()))
    for name, table in there.items():
        pd.testing.assert_frame_equal(table, here[name])


def test_changes_name_every_entry(results: Results) -> None:
    changes = {c.name: "; ".join(c.changes) for c in results.conditions}
    assert "activation 1: tanh → mish" in changes["mish"]
    assert re.search(r"W1: std 0.5 → gain mish, 1/√E φ\(Z\)² / √fan_in", changes["mish"])
    assert changes["centred"] == "norm 1: none → centring"
    assert changes["signs"] == "W1: std 0.5 → signs of size 0.5"


def test_the_metric_is_in_tables_and_claims(results: Results) -> None:
    rows = results.tables["measures"].set_index("metric")
    assert rows.loc["below_zero", ["label", "unit", "of"]].tolist() == ["outputs below 0", "%", "layer"]
    start = results.metric(results.spec.condition("centred"), "below_zero", 0, layer=1)
    h = results.tables["histograms"].query("condition == 'centred' and step == 0 and quantity == 'h'")
    assert float(start.mean()) == pytest.approx(float(h.loc[h["right"] <= 0, "share"].sum()), abs=1e-9)
    assert [entry.verdict for entry in judge(results).entries] == ["holds"]


def test_theory_predicts_the_activation_by_quadrature_and_says_where_it_predicts_nothing(results: Results) -> None:
    content = theory_section.find(results, judge(results))
    assert content is not None
    (table,) = [figure.table for figure in content.figures] or content.tables
    methods: dict[str, set[str]] = {}
    for row in table.rows:
        methods.setdefault(row["condition"].sort, set()).add(str(row["method"]))  # type: ignore[union-attr]
    assert any("quadrature" in method for method in methods["mish"])
    assert not any("no prediction" in method for method in methods["mish"])
    assert "no prediction: there is no theory of centring" in methods["centred"]
    assert "no prediction: a weight is drawn as signs of size 0.5" in methods["signs"]


def test_the_entries_compute_what_they_say(home: Path, results: Results) -> None:
    """Against torch's own mish, the mean over units, and the signs of the draws."""
    from study.network.activations import ACTIVATIONS
    from study.network.norms import NORMS

    z = torch.linspace(-8, 8, 101, dtype=torch.float64, requires_grad=True)
    mish = torch.nn.functional.mish(z)
    (slope,) = torch.autograd.grad(mish.sum(), z)
    assert ACTIVATIONS["mish"].phi(z.detach().numpy()) == pytest.approx(mish.detach().numpy(), abs=1e-14)
    assert ACTIVATIONS["mish"].slope(z.detach().numpy()) == pytest.approx(slope.numpy(), abs=1e-14)
    x = torch.arange(6.0).reshape(1, 2, 3)
    found, _ = NORMS["centre"].normalise(x, {"bias": torch.ones(1, 1, 3)}, None, None)
    assert found.tolist() == [[[0, 1, 2], [0, 1, 2]]]
    signs = results.metric(results.spec.condition("signs"), "preact_std", 0, layer=1)
    assert signs.notna().all()
    weights = results.spec.condition("signs").network.hidden[0].weight
    assert weights.scale(6, 8) == 0.5


def test_the_page_shows_the_section_behind_those_of_the_package_and_the_metric(home: Path) -> None:
    page = build_report(read_study(home / "study.yaml", trust="always"), home / "out", notebooks=False).read_text(
        "utf-8"
    )
    anchors = re.findall(r'<section id="([a-z-]+)"', page)
    assert anchors.index("below-zero") > anchors.index("provenance")
    assert "my_section.py: below_zero_section" in page
    assert "<summary>outputs below 0" in page
    assert "4 conditions were measured." in page


def test_the_manifest_names_the_files_with_their_hashes(home: Path, tmp_path: Path) -> None:
    facts = provenance.read_manifest(home / "out")
    assert [one["name"] for one in facts["extensions"]] == FILES
    for one in facts["extensions"]:
        assert one["files"] == {one["name"]: extensions.digest(home / one["name"])}


# -- without trust ----------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished study, seen from a folder that it does not lie below. Code in it would leave `ran`."""
    shutil.copytree(home, tmp_path / "their", ignore=shutil.ignore_patterns("cache"))
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    extensions.withdraw()
    return tmp_path / "their"


@pytest.mark.parametrize("command", ["run", "verify"])
def test_what_trains_refuses_in_one_line(study: Study, elsewhere: Path, command: str) -> None:
    status, out, told = study(command, elsewhere / "study.yaml", "--out", elsewhere / "out")
    assert (status, out) == (2, "")
    assert told.count("\n") == 1
    assert f"{elsewhere}/study.yaml:3: extensions: the code in {', '.join(FILES)} would run" in told
    assert "--trust" in told


def test_a_plan_says_that_names_are_not_checked(study: Study, elsewhere: Path) -> None:
    status, out, _ = study("plan", elsewhere / "study.yaml")
    assert status == 0
    assert "data: 'words.txt'" in out
    assert f"extensions, not loaded: {', '.join(FILES)}" in out
    assert "names not checked" in out
    status, out, _ = study("plan", elsewhere / "study.yaml", "--trust")
    assert (status, "8 cells" in out) == (0, True)
    assert f"extensions: {', '.join(FILES)}" in out.splitlines()


def test_a_report_and_a_check_run_no_code_and_name_what_they_leave_out(study: Study, elsewhere: Path) -> None:
    before = (elsewhere / "out" / "data" / "conditions.parquet").read_bytes()
    page_at_home = (elsewhere / "out" / "index.html").read_text("utf-8")
    status, out, told = study("check", elsewhere / "study.yaml", "--out", elsewhere / "out")
    assert status == 0 and "passed" in out
    assert "activation mish, norm centre, initialiser signs, metric below_zero, section below-zero" in told
    status, _, told = study("report", elsewhere / "study.yaml", "--out", elsewhere / "out", "--no-notebooks")
    assert status == 0 and "are not loaded" in told and "out of date" not in told
    page = (elsewhere / "out" / "index.html").read_text("utf-8")
    assert "Below zero: needs the extension my_section.py, which is not loaded" in page
    assert "W1: std 0.5 → signs of size 0.5" in page
    assert "<summary>outputs below 0" in page
    assert len(re.findall("quadrature", page)) == page_at_home.count("quadrature") > 0  # as the run has written it
    assert "no prediction: there is no theory of centring" in page
    assert (elsewhere / "out" / "data" / "conditions.parquet").read_bytes() == before
    facts = provenance.read_manifest(elsewhere / "out")
    del facts["tables"]["predictions"]  # as after a run whose page was not made
    provenance.write_manifest(facts, elsewhere / "out")
    study("report", elsewhere / "study.yaml", "--out", elsewhere / "out", "--no-notebooks")
    page = (elsewhere / "out" / "index.html").read_text("utf-8")
    assert "no prediction: the activation mish is of an extension, which is not loaded" in page
    (elsewhere / "my_norm.py").write_text("raise SystemExit(3)\n")
    status, _, told = study("check", elsewhere / "study.yaml", "--out", elsewhere / "out")
    assert status == 0 and "is out of date: my_norm.py changed" in told


# -- a source of data -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the skeleton of a source, and its finished study in `out`, trained in this process."""
    folder = tmp_path_factory.mktemp("sums")
    for name in ("sums.yaml", "my_source.py"):
        shutil.copy(EXAMPLES / name, folder)
    finished(read_study(folder / "sums.yaml", trust="always"), folder / "out")
    return folder


def test_a_source_of_a_users_own_is_trained_and_judged_without_its_code(
    study: Study, sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    extensions.withdraw()
    assert study("run", sums / "sums.yaml", "--out", tmp_path / "other")[0] == 2
    status, _, told = study("check", sums / "sums.yaml", "--out", sums / "out")
    assert status == 0 and "source sums" in told and "out of date" not in told
    status, _, _ = study("report", sums / "sums.yaml", "--out", sums / "out", "--no-notebooks")
    page = (sums / "out" / "index.html").read_text("utf-8")
    assert status == 0 and "10 digits" in page and "random digits and the last digit of their sum" in page


def test_a_section_of_a_file_beside_an_extension_is_on_the_page(
    study: Study, sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (sums / "sums.yaml").read_text().replace("[my_source.py]", "[my_source.py, mine.py]")
    (tmp_path / "sums.yaml").write_text(text)
    shutil.copy(sums / "my_source.py", tmp_path)
    shutil.copytree(sums / "out", tmp_path / "out")
    (tmp_path / "mine.py").write_text("import views\n")
    (tmp_path / "views.py").write_text("""
from study.report.sections.registry import Content, section

@section("Mine", "What is beside?", needs="nothing")
def mine_section(results):
    return Content(answer=["A view from a file beside."])
""")
    monkeypatch.chdir(tmp_path)
    extensions.withdraw()
    assert study("report", "sums.yaml", "--out", "out", "--no-notebooks")[0] == 0
    assert "A view from a file beside." in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_an_error_of_a_users_source_or_section_is_one_line_that_names_it(
    study: Study, sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sums.yaml", "my_source.py"):
        shutil.copy(sums / name, tmp_path)
    shutil.copytree(sums / "out", tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    extensions.withdraw()
    section = """
from study.report.sections.registry import section

@section("Mine", "What is wrong?", needs="nothing")
def mine_section(results):
    return results.nothing_of_the_kind
"""
    (tmp_path / "mine.py").write_text(section)
    text = (tmp_path / "sums.yaml").read_text()
    (tmp_path / "sums.yaml").write_text(
        text.replace("extensions: [my_source.py]", "extensions: [my_source.py, mine.py]")
    )
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    status, _, told = study("report", "sums.yaml", "--out", "out", "--no-notebooks")
    last = told.splitlines()[-1]
    assert status == 2 and "mine.py:6: raises AttributeError" in last and "when it makes its section; mend it" in last
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    extensions.withdraw()
    shutil.copytree(tmp_path, tmp_path / "second", ignore=shutil.ignore_patterns("out"))
    source = (tmp_path / "my_source.py").read_text().replace("self.seed)", "self.seed or 1 / 0)")
    (tmp_path / "second" / "my_source.py").write_text(source)
    status, _, told = study("plan", "second/sums.yaml")
    line = next(n for n, text in enumerate(source.splitlines(), 1) if "1 / 0" in text)
    assert status == 2 and f"my_source.py:{line}: raises ZeroDivisionError (division by zero) when it loads" in told


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "dask"])
def test_workers_load_a_source(
    study: Study, sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    for name in ("sums.yaml", "my_source.py"):
        shutil.copy(sums / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    run_in_workers(study, "sums.yaml", executor, sums)


# -- in other processes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["local", pytest.param("dask", marks=pytest.mark.slow)])
def test_workers_load_them_and_give_the_same_tables(
    study: Study, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    shutil.copytree(home, tmp_path / "copy", ignore=shutil.ignore_patterns("out"))
    monkeypatch.chdir(tmp_path / "copy")
    run_in_workers(study, "study.yaml", executor, home)
    if executor == "local":
        status, out, _ = study("verify", "study.yaml", "--out", "out", "--all", "--workers", "2")
        assert (status, "all 8 come out as the report says" in out) == (0, True)
        facts = json.loads(Path("out/manifest.json").read_text("utf-8"))
        assert facts["extensions"] == provenance.read_manifest(home / "out")["extensions"]
