"""The section on provenance: the origin of the numbers, and the command that makes them again."""

from __future__ import annotations

import json

from study.analysis.results import Results
from study.report.html.page import Listing, Table, TableColumn, Value
from study.report.sections import origin
from study.report.sections.registry import Content, section
from study.spec.describe import schedule_words

FILES = (
    "The same for programs: [`report.json`](report.json) holds the ledger, a summary of every condition and the"
    " provenance; [`manifest.json`](manifest.json) is what the tables in `data/` came from."
)


@section(
    "Provenance",
    "What made these numbers, and how are they made again?",
    needs="nothing",
)
def provenance_section(results: Results) -> Content | None:
    """Show the origin of the numbers, and the command that makes them again."""
    facts = results.facts
    rows: list[tuple[str, Value]] = [
        ("profile", facts["profile"]),
        ("seeds", ", ".join(map(str, facts["seeds"]))),
        ("cells", f"{facts['cells']:,}"),
        ("model-steps", f"{facts['model_steps']:,}"),
        *(
            (
                f"engine {name}",
                f"{e['cells']:,} cell{'s' if e['cells'] > 1 else ''}"
                + (f" ({'; '.join(e['reasons'])})" if e["reasons"] else ""),
            )
            for name, e in facts["engines"].items()
        ),
        ("device", facts["device"]),
        (
            "CPU",
            (
                f"{facts['cpu']['model']}, {facts['cpu']['architecture']}, {facts['cpu']['capability']}, BLAS"
                f" {facts['cpu']['blas']}"
            ),
        ),
        ("data sha256", facts["data"]["sha256"]),
        ("study sha256", facts["spec_sha256"]),
        ("source sha256", facts["source_sha256"]),
        *((f"version of {name}", version) for name, version in facts["versions"].items()),
        *((f"table {name} sha256", digest) for name, digest in facts["tables"].items()),
    ]
    conditions = "\n".join(
        f"{c.name} ({c.title}): {schedule_words(c.schedule)}; read with {c.statistics} statistics\n    "
        + "\n    ".join(c.changes)
        for c in results.spec.conditions
    )
    t = results.tables["cells"]
    trained = t.drop_duplicates("cell")  # conditions that differ only in their statistics share its cells
    lost = int((trained["status"] == "diverged").sum())
    words = (
        f"{lost} of {len(trained)} trainings of the table `cells` diverged."
        if lost
        else (
            f"None of {len(trained)} trainings of the table `cells` diverged."
            if len(trained) > 1
            else "The one training did not diverge."
        )
    )
    if facts["cells"] > len(trained):
        words += (
            f" The other {facts['cells'] - len(trained)} of {facts['cells']} only serve as originals of short twins."
        )
    return Content(
        answer=[
            (
                f"`{origin.command(results)}` makes every number and this page again, out of the study file and its"
                " data; on the same kind of CPU they come out with the same bytes."
            ),
            words,
            FILES,
        ],
        tables=(
            Table(
                "What the numbers depend on",
                [TableColumn("what", "what"), TableColumn("value", "value", numeric=False)],
                rows,
            ),
        ),
        listings=(
            origin.study_file(results),
            Listing("Every condition, with its schedule", conditions),
            Listing(
                "Final parameters of every training, sha256",
                "\n".join(
                    f"{r.sha256}  {r.condition}, seed {r.seed}, {r.protocol}, {r.engine}, {r.steps:,} steps"
                    + (", twin" if r.twin else "")
                    for r in t.itertuples()
                ),
            ),
            Listing(
                "Draws of every seed, sha256",
                "\n".join(f"{digest}  seed {seed}" for seed, digest in facts["draws"].items()),
            ),
            Listing("manifest.json", json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False)),
        ),
    )
