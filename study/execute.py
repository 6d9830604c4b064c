"""The notebook of every condition, executed by papermill from the finished tables and rendered as a page."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from study.page import render_notebook
from study.results import Results
from study.spec import Condition

NOTEBOOK = Path(__file__).parent / "notebooks" / "condition.ipynb"
MARK = re.compile(r"<!-- made from ([0-9a-f]{64}) -->\n\Z")


def render(results: Results, folder: Path, stamp: str) -> None:
    """folder/notebooks/<condition>.html for every condition; one whose tables and code are unchanged is left as it is."""
    target = folder / "notebooks"
    target.mkdir(exist_ok=True)
    wanted = {results.notebook_name(c): c for c in results.conditions}
    for old in target.glob("*.html"):
        if old.name not in wanted:
            old.unlink()
    due = {}
    for name, condition in wanted.items():
        key = _key(results, condition, stamp)
        if _made_from(target / name) != key:
            due[name] = (condition, key)
    jobs = [(str(folder.resolve()), str(results.file), condition.name) for condition, _ in due.values()]
    if not jobs:
        return
    # a kernel each, two at a time: most of a notebook's seconds are imports
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), get_context("spawn")) as pool:
        bodies = list(pool.map(execute, *zip(*jobs, strict=True)))
    for (name, (condition, key)), body in zip(due.items(), bodies, strict=True):
        html = render_notebook(title=condition.title, stamp=stamp, body_html=body)
        path = target / name
        beside = path.with_name(f".{name}.new")
        beside.write_text(f"{html}<!-- made from {key} -->\n", encoding="utf-8")
        os.replace(beside, path)


def execute(folder: str, file: str, condition: str) -> str:
    """The executed notebook's HTML body, without what differs from run to run: timings, paths, counters."""
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    import nbformat
    import papermill
    from nbconvert import HTMLExporter

    logging.getLogger("papermill").setLevel(logging.ERROR)
    parameters = {"condition": condition, "folder": folder, "file": file}
    # papermill only warns of a parameter that the notebook does not have
    known = set(papermill.inspect_notebook(str(NOTEBOOK)))
    assert set(parameters) <= known, f"the notebook has no parameter {set(parameters) - known}"
    with tempfile.TemporaryDirectory() as scratch:
        done = Path(scratch) / "done.ipynb"
        papermill.execute_notebook(
            str(NOTEBOOK), str(done), parameters, kernel_name="python3", progress_bar=False, cwd=str(Path.cwd()),
            extra_arguments=["--log-level=50"],  # the kernel warns of its own transport on loopback
        )  # fmt: skip
        notebook = nbformat.read(done, as_version=4)
    clean(notebook, parameters)
    body, _ = HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True
    ).from_notebook_node(notebook)
    return str(body)


def clean(notebook: Any, parameters: dict[str, str]) -> None:
    """Drop everything of a notebook that depends on when and where it ran."""
    notebook.metadata = {"kernelspec": notebook.metadata.get("kernelspec", {})}
    shown = {"folder": "reports", "file": "experiments.yaml"}
    kept = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            continue
        if "parameters" in tags:  # as a reader would write them: the folders of this machine are not his
            cell.source = "\n".join(f"{name} = {shown.get(name, value)!r}" for name, value in parameters.items())
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                if "execution_count" in output:
                    output["execution_count"] = None
        kept.append(cell)
    notebook.cells = kept


def _key(results: Results, condition: Condition, stamp: str) -> str:
    """What a condition's page depends on: tables, the condition, the notebook, the modules that show it."""
    digest = hashlib.sha256()
    for part in (
        stamp,
        repr(condition),
        repr(results.titles),
        repr(sorted(results.facts["tables"].items())),
        sys.version.split()[0],
    ):
        digest.update(part.encode() + b"\0")
    package = Path(__file__).parent
    files = [
        NOTEBOOK,
        *(package / f"{n}.py" for n in ("view", "execute", "page", "plots", "estimate", "results", "labels")),
    ]
    for file in [*files, *sorted((package / "templates").iterdir())]:
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()


def _made_from(path: Path) -> str | None:
    try:
        found = MARK.search(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None
