"""Turn the arguments of the `study` command into calls: one thin function for each subcommand.

Torch, pandas and matplotlib are loaded only where they are used.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from study import console
from study.environment import installed
from study.errors import SpecError

if TYPE_CHECKING:
    from study.spec.document import Document
    from study.spec.records import Spec
    from study.spec.study_file import StudyFile, Told

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A study of how a network starts: conditions × seeds, trained, measured, judged, reported.",
)

File = Annotated[Path, typer.Argument(help="The study file.", show_default=True)]
Profile = Annotated[str, typer.Option(help="A profile of the study file; full is the study as written.")]
Only = Annotated[str, typer.Option(help="Conditions to run, separated by commas.", show_default="all")]
SeedsOption = Annotated[
    str, typer.Option(help="A number of seeds, or a list: 0,3,7.", show_default="as the profile says")
]
Out = Annotated[Optional[Path], typer.Option(help="Output folder.", show_default="as the file says, or build/<name>")]  # noqa: UP045
Workers = Annotated[
    str, typer.Option(help="Processes, one compute thread each; 0: this process alone.", show_default="all cores")
]
Anywhere = Annotated[bool, typer.Option("--data-anywhere", help="Allow a data.path to any file.")]
TrustOption = Annotated[
    bool,
    typer.Option("--trust", help="Load the extensions of a study file outside of the working folder: they are code."),
]
Notebooks = Annotated[bool, typer.Option(help="Execute the notebook of every condition whose tables changed.")]
Picture = Annotated[Optional[Path], typer.Option(help="Also write the page's top to this PNG.", show_default=False)]  # noqa: UP045
EngineOption = Annotated[str, typer.Option(help="auto (fused where it can be used), autograd or fused.")]
Executor = Annotated[str, typer.Option(help="local, dask, or tcp://host:port of a Dask scheduler.")]
CacheFolder = Annotated[
    Path,
    typer.Option(
        "--cache", envvar="STUDY_CACHE", help="The folder in which trainings are kept, so that none is repeated."
    ),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first cell that fails.")]
Device = Annotated[str, typer.Option(help="cpu, or cuda where torch finds a GPU.")]

UsageError: Any = typer.BadParameter.__base__  # the class of click, which newer versions of typer include
STUDY = Path("experiments.yaml")
CACHE = Path("build/cache")


@app.command()
def run(
    file: File = STUDY,
    profile: Profile = "full",
    only: Only = "",
    seeds: SeedsOption = "",
    workers: Workers = "",
    engine: EngineOption = "auto",
    device: Device = "cpu",
    executor: Executor = "local",
    cache: CacheFolder = CACHE,
    fail_fast: FailFast = False,
    out: Out = None,
    notebooks: Notebooks = True,
    data_anywhere: Anywhere = False,
    trust: TrustOption = False,
) -> None:
    """Train, measure and report. Results in the cache are used again."""
    from study.spec.output import output_folder

    written = _open(file, trust)
    spec = _spec(written, profile, only, seeds, data_anywhere)
    chosen = {key: value for key, value in (("only", only), ("seeds", seeds)) if value}
    folder = out or output_folder(written.document, file, profile, bool(chosen))
    if out is None:
        _free(folder, file)
    from study.execution.run import RunOptions, run_study
    from study.execution.usage import Usage

    usage = Usage()
    with usage.stage("training"):
        done = run_study(
            spec, folder, RunOptions(_workers(workers), engine, device, executor, cache, fail_fast, chosen)
        )
    log = {"study": os.path.relpath(file.resolve(), folder.resolve()), **done.log()}
    usage.write(folder, log)  # before the page, so that an error in rendering loses no traceback
    if done.conditions:
        with usage.stage("report"):
            # imported after the training, when the memory of the workers is free for matplotlib
            from study.report.build import build_report

            print(build_report(spec, folder, notebooks))
        usage.write(folder, log)
    print(usage, file=sys.stderr)
    if done.failures:
        cells, states = (sum(counts) for counts in zip(*((len(f.cells), f.states) for f in done.failures), strict=True))
        lost = [f"{cells} of {done.cells} cells"] * (cells > 0) + [f"{states} of {done.states:,} initial states"] * (
            states > 0
        )
        page = "" if done.conditions else "; no condition has a training to show, so no page was made"
        print(f"{' and '.join(lost)} failed; tracebacks in {folder / 'run.json'}{page}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def report(
    file: File = STUDY,
    profile: Profile = "full",
    out: Out = None,
    notebooks: Notebooks = True,
    data_anywhere: Anywhere = False,
    trust: TrustOption = False,
    screenshot: Picture = None,
) -> None:
    """Render the page again from the tables, without any training."""
    from study.report.build import build_report as render
    from study.report.screenshot import browser, take_screenshot

    if screenshot:
        browser(screenshot)  # a missing browser is reported before the page is rendered
    spec, folder = _finished(file, profile, out, data_anywhere, trust, page=False)
    page = render(spec, folder, notebooks)
    print(page)
    if screenshot:
        print(take_screenshot(page, screenshot))


@app.command()
def plan(
    file: File = STUDY,
    profile: Profile = "full",
    only: Only = "",
    seeds: SeedsOption = "",
    workers: Workers = "",
    engine: EngineOption = "auto",
    device: Device = "cpu",
    cache: CacheFolder = CACHE,
    data_anywhere: Anywhere = False,
    trust: TrustOption = False,
) -> None:
    """List cells and their status, stacks, shards and the expected duration, without any training."""
    from study.execution.listing import plan_text
    from study.spec.study_file import not_checked

    if left := not_checked(file, str(file), "always" if trust else "below"):
        print(left)
        return
    print(
        plan_text(
            _spec(_open(file, trust), profile, only, seeds, data_anywhere), _workers(workers), engine, device, cache
        )
    )


@app.command()
def clean(
    older: Annotated[
        str,
        typer.Option(help="Remove entries not used for so long (30d, 12h; 0d for all), and all of an older version."),
    ] = "",
    cache: CacheFolder = CACHE,
) -> None:
    """Show the size of the cache; with --older, remove what was not used for so long, or is of an older version."""
    from study.execution.cache import Cache
    from study.execution.housekeeping import clean_cache

    print(clean_cache(Cache(cache), older))


@app.command()
def check(
    file: File = STUDY,
    profile: Profile = "full",
    out: Out = None,
    data_anywhere: Anywhere = False,
    trust: TrustOption = False,
) -> None:
    """Judge the claims by the tables. The exit status is 1 when a gate claim fails or cannot be told."""
    from study.analysis.ledger import verdicts

    spec, folder = _finished(file, profile, out, data_anywhere, trust)
    text, passed = verdicts(spec, folder)
    print(text)
    raise typer.Exit(0 if passed else 1)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(help="The folder of a report.")],
    b: Annotated[Path, typer.Argument(help="The folder of the report to compare it with.")],
    html: Annotated[Optional[Path], typer.Option(help="Also write a page to this file.", show_default=False)] = None,  # noqa: UP045
) -> None:
    """Compare two reports: study, environment, and every measurement, paired by seed.

    The exit status is 1 when a table differs.
    """
    from study.analysis.diff import compare
    from study.report.differences import differences_text, save

    found = compare(a, b)
    if html is not None:
        save(found, html)
    print(differences_text(found))
    raise typer.Exit(0 if found.equal else 1)


@app.command()
def verify(
    file: File = STUDY,
    profile: Profile = "full",
    out: Out = None,
    cells: Annotated[int, typer.Option(min=1, help="How many cells to train again.")] = 3,
    every: Annotated[bool, typer.Option("--all", help="Train all cells again.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the choice of cells.")] = 0,
    workers: Workers = "",
    data_anywhere: Anywhere = False,
    trust: TrustOption = False,
) -> None:
    """Train some cells of a report again. The exit status is 1 when a result differs."""
    from study.execution.verify import verify_cells

    spec, folder = _finished(file, profile, out, data_anywhere, trust, trains=True)
    text, passed = verify_cells(spec, folder, None if every else cells, seed, _workers(workers))
    print(text)
    raise typer.Exit(0 if passed else 1)


@app.callback(invoke_without_command=True)
def version(
    context: typer.Context, show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """A study of how a network starts: conditions × seeds, trained, measured, judged, reported."""
    if show or context.invoked_subcommand is None:
        print(installed("study") if show else context.get_help())
        raise typer.Exit


def _finished(
    file: Path, profile: str, out: Path | None, anywhere: bool, trust: bool, page: bool = True, trains: bool = False
) -> tuple[Spec, Path]:
    """The study, cut down as it was for a report, and the folder of the report.

    A warning is written where the tables, or the `page`, are out of date, and where extensions are not loaded. A command
    that `trains` needs them.
    """
    from study import provenance
    from study.spec.output import output_folder
    from study.spec.stand_ins import left_out

    def told(document: Document) -> Any:
        return provenance.read_manifest(out or output_folder(document, file, profile)).get("extensions")

    written = _open(file, trust, None if trains else told)
    folder = out or output_folder(written.document, file, profile)
    if left := left_out(written.extensions):
        console.warn(f"{file}: {left}")
    facts = provenance.read_manifest(folder)
    chosen = facts["chosen"]
    spec = _spec(written, facts["profile"], chosen.get("only", ""), chosen.get("seeds", ""), anywhere)
    for warning in provenance.stale(facts, spec, page):
        console.warn(f"{folder} is out of date: {warning}")
    provenance.same_words(facts, spec, folder)
    provenance.intact(facts, folder)
    return spec, folder


def _open(file: Path, trust: bool, told: Told | None = None) -> StudyFile:
    """The study file, opened once for its study and for the folder of its results."""
    from study.spec.study_file import open_study

    return open_study(file, str(file), "always" if trust else "below", told)


def _spec(written: StudyFile, profile: str, only: str, seeds: str, anywhere: bool) -> Spec:
    """The study in an opened file as the command cuts it down."""
    from study.spec.read import resolve_study
    from study.spec.subset import only_conditions

    spec = resolve_study(written, profile, _seeds(seeds), anywhere)
    return only_conditions(spec, [name.strip() for name in only.split(",")]) if only else spec


def _seeds(text: str) -> list[int] | None:
    """The seeds of --seeds: `3` is the seeds 0, 1, 2; `0,5` and `5,` are lists."""
    if not text:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) < 2**63 for part in parts):
        raise SpecError(f"--seeds: expected a number of seeds or a list such as 0,3,7, got '{text}'")
    from study.spec.schema import MAX_SEEDS

    numbers = [int(part) for part in parts]
    if "," not in text:
        if not 0 < numbers[0] <= MAX_SEEDS:
            raise SpecError(f"--seeds: expected from 1 to {MAX_SEEDS:,} seeds, or a list such as 0,3,7, got {text}")
        return list(range(numbers[0]))
    if len(set(numbers)) < len(numbers):
        raise SpecError(f"--seeds: expected distinct seeds, got {text}")
    return numbers


def _workers(text: str) -> int:
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or int(text) > 1024:
        raise SpecError(f"--workers: expected from 0 to 1,024 processes, got '{text}'")
    return int(text)


def _free(folder: Path, file: Path) -> None:
    """Raise SpecError where the folder holds the report of another study file.

    Two study files may lead to the same folder, as by the same name.
    """
    try:
        other = (folder / json.loads((folder / "run.json").read_bytes())["study"]).resolve(strict=True)
    except (OSError, ValueError, KeyError, TypeError):  # no report, an older version's, or one of a file that is gone
        return
    if not other.samefile(file):
        raise SpecError(f"{folder}: holds the report of {os.path.relpath(other)}; choose another folder with --out")


def main() -> None:
    """Run the command in a process that ends with its exit status."""
    console.run(_command)


def _command() -> int:
    """The exit status of the subcommand that the arguments name."""
    try:
        return app(standalone_mode=False) or 0
    except UsageError as error:
        raise SpecError(f"{error.format_message()} (see `study --help`)") from None
    except typer.Abort:
        raise KeyboardInterrupt from None
