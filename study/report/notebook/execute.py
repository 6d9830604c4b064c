"""Execute the notebook of every condition with papermill, from the finished tables, and render it as a page."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import codehash, processes
from study.files import replace as write
from study.files import writing
from study.report.html.page import TEMPLATES, render_notebook
from study.report.notebook.names import page_name

if TYPE_CHECKING:  # a process that executes notebooks does not need these, and starts sooner
    from study.analysis.results import Results
    from study.spec.records import Condition

NOTEBOOK = Path(__file__).parent / "condition.ipynb"
Execute = Callable[[str, str, Sequence[str]], dict[str, str]]  # (folder, file, conditions) -> condition: HTML body
MARK = re.compile(r"<!-- made from ([0-9a-f]{64}) -->\n\Z")


def render_notebooks(results: Results, folder: Path, stamp: str, execute: Execute | None = None) -> list[str]:
    """Write folder/notebooks/<condition>.html for every condition whose tables or code have changed.

    Notebooks are executed by `execute`, or by `execute_apart` where it is not given. Returns the names of the
    conditions whose notebook was executed.
    """
    target = folder / "notebooks"
    with writing(folder, "--out"):
        target.mkdir(exist_ok=True)
    wanted = {page_name(c.name): c for c in results.conditions}
    for old in target.glob("*.html"):
        if old.name not in wanted:
            old.unlink()
    keys = {name: _key(results, condition, stamp) for name, condition in wanted.items()}
    due = [name for name in wanted if _made_from(target / name) != keys[name]]
    if not due:
        return []
    conditions = [wanted[name].name for name in due]
    bodies = (execute or execute_apart)(str(folder.resolve()), str(results.file), conditions)
    for name in due:
        condition = wanted[name]
        html = render_notebook(title=condition.title, stamp=stamp, body_html=bodies[condition.name])
        with writing(folder, "--out"):
            write(target / name, f"{html}<!-- made from {keys[name]} -->\n".encode())
    return [wanted[name].name for name in due]


def execute_apart(folder: str, file: str, conditions: Sequence[str]) -> dict[str, str]:
    """As `execute_notebooks`, by as many processes as there are cores."""
    workers = min(len(conditions), os.cpu_count() or 1)
    with processes.crew(workers) as pool:
        jobs = [pool.submit(execute_notebooks, folder, file, conditions[i::workers]) for i in range(workers)]
        return {condition: body for job in jobs for condition, body in job.result().items()}


def execute_notebooks(folder: str, file: str, conditions: Sequence[str]) -> dict[str, str]:
    """The HTML body of the executed notebook of every condition, without timings, paths and counters.

    These differ from run to run. One kernel executes all notebooks, since its imports take longer than a notebook, and
    every notebook starts with an empty namespace.
    """
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    import nbformat
    import papermill
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    reset = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%reset -f")])
    # The kernel warns of its own transport on loopback. Older IPythons look for modules in the working
    # folder even where Python itself does not.
    quiet, safe = "--log-level=50", "--InteractiveShellApp.ignore_cwd=True"
    kernel = NotebookClient(reset, kernel_name="python3", extra_arguments=[quiet, safe])

    class Running(Engine):  # type: ignore[misc, unused-ignore]
        """papermill's own engine, but in the kernel that is already running."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> None:
            client = PapermillNotebookClient(nb_man, km=kernel.km, kernel_name=kernel_name)
            client.kc = kernel.kc  # a second client of a kernel would take the first one's replies
            client.execute()

    papermill_engines.register("running", Running)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # papermill only warns of a parameter that the notebook does not have
    known = set(papermill.inspect_notebook(str(NOTEBOOK)))
    assert known == {"condition", "folder", "file"}, f"the notebook has the parameters {known}"
    exporter = HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True
    )
    bodies = {}
    with kernel.setup_kernel():
        for condition in conditions:
            parameters = {"condition": condition, "folder": folder, "file": file}
            kernel.execute_cell(reset.cells[0], 0, store_history=False)
            notebook = papermill.execute_notebook(
                str(NOTEBOOK), None, parameters, "running", kernel_name="python3", progress_bar=False
            )
            clean_notebook(notebook, parameters)
            bodies[condition] = str(exporter.from_notebook_node(notebook)[0])
    return bodies


def clean_notebook(notebook: Any, parameters: dict[str, str]) -> None:
    """Remove from a notebook all that depends on the time and the place of its run."""
    notebook.metadata = {"kernelspec": notebook.metadata.get("kernelspec", {})}
    shown = {"folder": "reports", "file": "experiments.yaml"}
    kept = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            continue
        if "parameters" in tags:  # as a reader would write them, without the folders of this machine
            cell.source = "\n".join(f"{name} = {shown.get(name, value)!r}" for name, value in parameters.items())
        cell.metadata = {}
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace(
                "-p condition NAME", f"-p condition {shlex.quote(parameters['condition'])}"
            )
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                if "execution_count" in output:
                    output["execution_count"] = None
        kept.append(cell)
    notebook.cells = kept


def _key(results: Results, condition: Condition, stamp: str) -> str:
    """The hash of all that a condition's page depends on: rows of tables, condition, notebook, modules, templates."""
    from pandas.util import hash_pandas_object

    from study.report.figures.looks import looks_of
    from study.report.notebook.view import own

    digest = hashlib.sha256()
    for part in (
        stamp,
        repr(condition),
        results.titles.get(condition.parent or "", ""),
        repr(looks_of(results)[condition.name]),
        repr((results.spec.seeds, results.spec.measure, results.vocabulary)),
        sys.version.split()[0],
    ):
        digest.update(part.encode() + b"\0")
    for name, rows in own(results, condition).items():
        digest.update(name.encode() + b"\0" + hash_pandas_object(rows, index=False).to_numpy().tobytes())
    digest.update(codehash.bytes_of("report.notebook.view", "report.notebook.execute").encode())
    for file in (NOTEBOOK, *sorted(path for path in TEMPLATES.iterdir() if path.is_file())):
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()


def _made_from(path: Path) -> str | None:
    try:
        found = MARK.search(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None
