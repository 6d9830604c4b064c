"""The command: every mistake of its user is one line and exit 2, and what was there before is there still."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from study import cli, provenance
from study.analysis import ledger
from study.analysis.results import Results
from study.errors import SpecError
from study.execution import pool
from study.execution.run import RunOptions, run_study
from study.spec.read import read_study
from study.tables import TABLES
from study.training.cells import Cell
from tests.support.finished import ENGINE, block
from tests.support.tiny import GONE, HERE, one_line, tiny, write

HOME = HERE.parents[1]


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Study = Callable[..., Done]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Study:
    """`python -m study …` in this process: what it printed and how it ended."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
        monkeypatch.setattr(signal, "signal", lambda *_: None)  # the handler of SIGTERM stays the tests' own
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        status = end.value.code or 0
        assert isinstance(status, int)
        return Done(status, *capsys.readouterr())

    return run


def refused(done: Done) -> str:
    """The one line of a command that was refused."""
    assert (done.status, done.out) == (2, ""), done
    assert done.err.endswith("\n")
    message = done.err.removesuffix("\n")
    return one_line(message) if ":" in message else message


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A report that must survive."""
    out = tmp_path / "reports"
    (out / "data").mkdir(parents=True)
    (out / "index.html").write_text("precious")
    (out / "manifest.json").write_text("{}")
    (out / "data" / "losses.parquet").write_bytes(b"precious")
    return out


BAD_STUDIES: dict[str, tuple[dict[str, Any], bytes | None, str]] = {
    "an unknown key": ({"conditions.fixed.hiden": {}}, None, "unknown key 'hiden'; did you mean 'hidden'?"),
    "a wrong type": ({"training.steps": "many"}, None, "training.steps: expected a whole number, got 'many'"),
    "an unknown parent": ({"conditions.fixed.from": "bass"}, None, "no condition 'bass'"),
    "a cycle": ({"conditions.fixed.from": "zero"}, None, "the parents form a cycle: "),
    "impossible splits": ({"data.splits.dev": 0.9}, None, "the shares must add up to 1, got 1.7"),
    "a split without words": ({}, b"a\nb\n", "2 words leave none for data.splits.dev"),
    "an empty word list": ({}, b"\n", "holds no words; expected one word per line"),
    "a missing word list": ({"data.path": "nope.txt"}, None, "nope.txt: cannot be read"),
    "a word list that is not UTF-8": ({}, b"ab\n\xff\n", "tiny.txt:2: byte 0xff is not UTF-8"),
    "a changed word list": ({"data.sha256": "0" * 64}, None, "data.sha256 expects 000"),
    "characters outside the vocabulary": ({"data.vocabulary": "abc"}, None, "which data.vocabulary does not"),
    "the boundary in a word": ({"data.boundary": "a"}, None, "contains the boundary character 'a'"),
    "no seeds": ({"seeds": 0}, None, "expected a number of seeds from 1"),
    "a published run of nothing": ({"published.runs.fixed.from": GONE}, None, "missing key 'from'"),
    "a claim with two comparisons": ({"claims.0.below": 3}, None, "got above, below"),
    "a claim about nothing known": ({"claims.0.measure": "joy"}, None, "unknown measurement 'joy'"),
}


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("kind", BAD_STUDIES)
def test_a_bad_study_is_one_line_and_leaves_what_was_there(
    study: Study, tmp_path: Path, kept: Path, kind: str, command: str
) -> None:
    changes, word_list, message = BAD_STUDIES[kind]
    file, before = write(tmp_path, changes, word_list), content(kept)
    arguments = [command, file, *(["--out", kept] if command == "run" else [])]
    assert message in refused(study(*arguments))
    assert content(kept) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--profile", "quik"], "no profile 'quik'; did you mean 'quick'?"),
        (["--profile", ""], "no profile ''; known: full, quick"),
        (["--only", "fixd"], "--only: no condition 'fixd'; did you mean 'fixed'?"),
        (["--only", "fixed,"], "--only: no condition ''"),
        (["--seeds", "x"], "--seeds: expected a number of seeds or a list such as 0,3,7, got 'x'"),
        (["--seeds", "0"], "--seeds: expected from 1 to 100,000 seeds"),
        (["--seeds", "-1"], "--seeds: expected a number of seeds"),
        (["--seeds", "1.5"], "--seeds: expected a number of seeds"),
        (["--seeds", ","], "--seeds: expected a number of seeds"),
        (["--seeds", "1,1"], "--seeds: expected distinct seeds, got 1,1"),
        (["--seeds", f"{2**63},0"], "--seeds: expected a number of seeds"),
        (["--seeds", "100001"], "--seeds: expected from 1 to 100,000 seeds"),
        (["--workers", "-1"], "--workers: expected from 0 to 1,024 processes, got '-1'"),
        (["--workers", "1025"], "--workers: expected from 0 to 1,024 processes, got '1025'"),
        (["--workers", "two"], "--workers: expected from 0 to 1,024 processes, got 'two'"),
        (["--engine", "torch"], "--engine: expected one of auto, autograd, fused, got 'torch'"),
        (["--nope"], "No such option: --nope"),
        (["--seeds"], "requires an argument"),
        (["another.yaml"], "unexpected extra argument"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_bad_option_is_one_line_and_leaves_what_was_there(
    study: Study, tmp_path: Path, kept: Path, options: list[str], message: str, command: str
) -> None:
    file, before = write(tmp_path), content(kept)
    arguments = [command, file, *(["--out", kept] if command == "run" else []), *options]
    assert message in refused(study(*arguments))
    assert content(kept) == before


@pytest.mark.parametrize("device", ["cuda:99", "tpu", ""])
def test_a_device_that_is_not_there_is_one_line_and_leaves_what_was_there(
    study: Study, tmp_path: Path, kept: Path, device: str
) -> None:
    before = content(kept)
    message = refused(study("run", write(tmp_path), "--out", kept, "--device", device))
    assert message.startswith(f"--device {device}: ")
    assert content(kept) == before


def test_a_folder_that_cannot_be_written_is_one_line(study: Study, tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "taken").write_text("a file, not a folder")
    for out in (tmp_path / "taken", tmp_path / "taken" / "below"):
        assert "cannot be written" in refused(study("run", file, "--out", out))
    assert (tmp_path / "taken").read_text() == "a file, not a folder"


def test_a_cache_that_cannot_be_written_is_one_line_before_anything_is_trained(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    monkeypatch.setattr("study.execution.run.run_work", None)
    options = ("--workers", 0, "--cache", tmp_path / "notes.txt", "--out", tmp_path / "out")
    assert "notes.txt: cannot be written" in refused(study("run", write(tmp_path), *options))
    assert (tmp_path / "notes.txt").read_text() == "precious"


HERE_ALONE = ("--workers", 0, "--engine", ENGINE)  # trained in this process, and nothing compiled


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path, Callable[[Cell], bool]], None]:
    """Have some cells fail in `study run`, at once: (study file, cache, which cells)."""
    monkeypatch.setattr(pool, "BACKOFF", (0.0, 0.0))
    return lambda file, cache, lost: block(read_study(file), cache, lost)


@pytest.mark.parametrize(("lost", "count"), [("every cell", 10), ("all but the published runs", 8)])
def test_where_nothing_can_be_shown_the_tracebacks_are_kept_and_there_is_no_page(
    study: Study, failing: Callable[..., None], tmp_path: Path, lost: str, count: int
) -> None:
    file, out, cache = write(tmp_path), tmp_path / "out", tmp_path / "cache"
    failing(file, cache, lambda cell: lost == "every cell" or cell.protocol == "paired")
    done = study("run", file, "--out", out, "--cache", cache, *HERE_ALONE)
    assert (done.status, done.out) == (1, "")
    last = done.err.splitlines()[-1]
    assert f"{count} of 10 cells failed; tracebacks in {out / 'run.json'}; no condition has a training to show" in last
    assert len(json.loads((out / "run.json").read_bytes())["failures"]) == count
    again = refused(study("report", tmp_path / "tiny.yaml", "--out", out))
    assert again.endswith("no condition has a training to show; `study run` tries them again")
    assert not (out / "index.html").exists()


def test_a_run_and_a_report_read_every_table_once_and_judge_once(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    judged: list[Results] = []
    read_table, judge_claims = pq.read_table, ledger.judge_claims

    def counted(path: Path, **options: Any) -> Any:
        opened.append(path.stem)
        return read_table(path, **options)

    def counted_judge(results: Results) -> list[ledger.Judged]:
        judged.append(results)
        return judge_claims(results)

    monkeypatch.setattr(pq, "read_table", counted)
    monkeypatch.setattr(ledger, "judge_claims", counted_judge)
    monkeypatch.setattr(
        "study.report.figures.svg.svg_text", lambda fig, ident, alt: "<svg/>"
    )  # it takes most of the time
    options = ("--out", tmp_path / "out", "--no-notebooks")
    training = ("--cache", tmp_path / "cache", *HERE_ALONE)
    for command, more in (("run", training), ("report", ())):
        opened.clear()
        judged.clear()
        assert study(command, write(tmp_path), *options, *more).status == 0
        assert sorted(opened) == sorted(TABLES), command
        assert len(judged) == 1, command


def test_a_report_that_is_out_of_date_is_said_to_be_by_every_command_that_reads_it(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.report.build.build_report", lambda *_: "page")
    file, out = write(tmp_path), tmp_path / "out"
    assert study("run", file, "--out", out, "--cache", tmp_path / "cache", *HERE_ALONE).status == 0
    facts = json.loads((out / "manifest.json").read_bytes())
    (out / "manifest.json").write_text(json.dumps({**facts, "source_sha256": "0", "document_sha256": "0"}))
    for command in (["report"], ["check"], ["verify", "--cells", "1", "--workers", "0"]):
        done = study(command[0], file, "--out", out, *command[1:])
        assert done.status == 0
        assert f"warning: {out} is out of date: the source of the modules" in done.err
        assert ("render it again" in done.err) == (command != ["report"])


@pytest.mark.parametrize("command", ["report", "check", "verify"])
def test_a_report_of_another_word_list_is_refused_in_one_line(study: Study, tmp_path: Path, command: str) -> None:
    file, out = write(tmp_path), tmp_path / "out"
    spec = read_study(file)
    run_study(spec, out, RunOptions(workers=0, cache=tmp_path / "cache"))
    with (tmp_path / "tiny.txt").open("ab") as words:
        words.write(b"abba\n")
    before = content(out)
    message = refused(study(command, file, "--out", out))
    assert "out of date: tiny.txt is another file than the tables were made from" in message
    assert content(out) == before
    (tmp_path / "tiny.txt").unlink()
    if command == "check":
        assert study(command, file, "--out", out).status == 0


def test_another_study_file_of_the_same_name_overwrites_no_report(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.report.build.build_report", lambda *_: "page")
    monkeypatch.chdir(tmp_path)
    a, b = (write(tmp_path / name) for name in "ab" if (tmp_path / name).mkdir() is None)
    options = ("--cache", tmp_path / "cache", *HERE_ALONE)
    for _ in range(2):
        assert study("run", a, *options).status == 0
    before = content(tmp_path / "build")
    message = refused(study("run", b, *options))
    assert message == f"build/tiny: holds the report of {Path('a/tiny.yaml')}; choose another folder with --out"
    assert content(tmp_path / "build") == before
    assert study("run", b, *options, "--out", "build/tiny").status == 0  # as the user says
    b.unlink()
    assert study("run", a, *options).status == 0


def test_a_rendering_that_breaks_off_loses_no_traceback(
    study: Study, failing: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise SpecError("broken")

    file, out, cache = write(tmp_path), tmp_path / "out", tmp_path / "cache"
    failing(file, cache, lambda cell: cell.seed == 1)
    monkeypatch.setattr("study.report.build.build_report", broken)
    assert study("run", file, "--out", out, "--cache", cache, *HERE_ALONE).err.endswith("\nbroken\n")
    log = json.loads((out / "run.json").read_bytes())
    assert len(log["failures"]) == 4
    assert log["seconds"].keys() == {"training"}


@pytest.mark.parametrize("command", ["run", "plan", "report", "check"])
def test_a_study_file_that_is_not_there_is_one_line(study: Study, tmp_path: Path, command: str) -> None:
    write(tmp_path)
    out = [] if command == "plan" else ["--out", tmp_path / "out"]
    assert refused(study(command, tmp_path / "nope.yaml", *out))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["report", "check"])
def test_a_report_that_was_not_made_is_one_line(study: Study, tmp_path: Path, kept: Path, command: str) -> None:
    file = write(tmp_path)
    assert "not there; make the tables with `study run`" in refused(study(command, file, "--out", tmp_path / "no"))
    before = content(kept)
    assert "remake it with `study run`" in refused(study(command, file, "--out", kept))
    assert content(kept) == before


@pytest.mark.parametrize("command", ["report", "check", "verify", "diff"])
def test_a_report_of_an_older_version_is_one_line(study: Study, tmp_path: Path, kept: Path, command: str) -> None:
    (kept / "manifest.json").write_text('{"format": 1}')
    before = content(kept)
    done = study("diff", kept, kept) if command == "diff" else study(command, write(tmp_path), "--out", kept)
    assert "made by an older version of study (format 1; this one reads format 2)" in refused(done)
    assert content(kept) == before


def test_no_workers_and_another_place_contradict_each_other(study: Study, tmp_path: Path) -> None:
    options = ("--workers", 0, "--executor", "dask", "--out", tmp_path / "out", "--cache", tmp_path / "cache")
    assert "--workers: 0 stands for this process alone" in refused(study("run", write(tmp_path), *options))


def test_a_word_list_outside_the_folder_needs_a_flag(study: Study, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    file = write(tmp_path / "own", {"data.path": "../tiny.txt"})
    (tmp_path / "own" / "tiny.txt").rename(tmp_path / "tiny.txt")
    (out := tmp_path / "out").mkdir()
    data = {"sha256": hashlib.sha256((tmp_path / "tiny.txt").read_bytes()).hexdigest()}
    facts = {"profile": "full", "chosen": {}, "tables": {}, "data": data}
    provenance.write_manifest({"format": provenance.MANIFEST_FORMAT, **dict.fromkeys(provenance.NEEDED), **facts}, out)
    for command in ("run", "plan", "report", "check"):
        options = [] if command == "plan" else ["--out", out]
        assert "leads out of the study file's folder and the working folder, got '../tiny.txt'" in refused(
            study(command, file, *options)
        )
        if command in ("report", "check"):
            assert "tables are of another study" in study(command, file, *options, "--data-anywhere").err
    assert study("plan", file, "--data-anywhere").status == 0


def test_a_command_that_is_not_there_is_one_line(study: Study) -> None:
    assert "No such command 'pln'" in refused(study("pln"))


def test_the_command_alone_shows_its_help(study: Study) -> None:
    alone = study()
    assert alone.status == 0
    for command in ("run", "report", "plan", "check"):
        assert command in alone.out


def test_the_version_is_that_of_the_package(study: Study) -> None:
    version = tomllib.loads((HOME / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert study("--version") == Done(0, f"{version}\n", "")


def test_a_plan_lists_the_seeds_and_conditions_that_were_asked_for(study: Study, tmp_path: Path) -> None:
    file = write(tmp_path)
    cache = ("--cache", tmp_path / "cache")
    done = study("plan", file, "--only", "fixed, zero", "--seeds", "4,9", "--workers", 3, *cache)
    assert done.status == 0
    assert "\n4 cells (4 new):" in done.out
    assert "seed 4 " in done.out
    assert "seed 9 " in done.out
    assert "baseline" not in done.out
    assert "\n2 cells (2 new):" in study("plan", file, "--only", "batchnorm,calibrated", "--seeds", 2, *cache).out
    assert "profile quick" in study("plan", file, "--profile", "quick").out


def test_a_report_is_looked_for_where_its_study_file_says(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"out": "results"})
    where = {"tiny.yaml": "results", "tiny.yaml --profile quick": "build/tiny-quick", "tiny.yaml --out x": "x"}
    for arguments, folder in where.items():
        assert refused(study("check", *arguments.split())).startswith(f"{folder}/manifest.json: not there")
    write(tmp_path)
    assert refused(study("check", "tiny.yaml")).startswith("build/tiny/manifest.json: not there")


def test_results_go_anywhere_only_when_the_user_says_so(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    file = write(tmp_path / "own", {"out": "../results"})
    for command in ("run", "report", "check", "verify"):
        assert "out: leads out of the study file's folder" in refused(study(command, file))
    for command in ("report", "check", "verify"):
        assert "manifest.json: not there" in refused(study(command, file, "--out", "../results"))
    assert study("plan", file).status == 0  # it writes nothing
    assert not (tmp_path / "results").exists()


def test_an_interrupt_is_one_line_and_exit_130(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("study.spec.read.resolve_study", interrupted)
    assert study("plan") == Done(130, "", "interrupted; the same command goes on from here\n")


# -- the same from outside ----------------------------------------------------------------------------------------


def outside(*arguments: str, cwd: Path = HOME) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "study", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=environment)


def test_from_outside_a_mistake_is_one_line_and_exit_2(tmp_path: Path) -> None:
    write(tmp_path, {"conditions": {"a\nb\x1b[31m": tiny()["conditions"]["baseline"]}})
    done = outside("plan", "tiny.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(r"tiny.yaml:")
    assert r"conditions.a\nb\x1b[31m: expected a name" in done.stderr
    missing = outside("plan", cwd=tmp_path)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("experiments.yaml: cannot be read")


def test_a_plan_needs_no_torch_and_no_pandas(tmp_path: Path) -> None:
    script = (
        "import sys; from study import cli; sys.argv = ['study', 'plan', sys.argv[1]]\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    command = [sys.executable, "-c", script, str(write(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=HOME)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    file = write(tmp_path, {"seeds": 2000})  # more than a pipe holds
    with subprocess.Popen(
        [sys.executable, "-m", "study", "plan", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=HOME
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
