"""Turn tables into index.html, report.json and one executed notebook per condition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from study import provenance
from study.analysis import export
from study.analysis.ledger import Ledger, judge, load_results
from study.analysis.predictions import write_predictions
from study.analysis.results import PREDICTIONS, Results
from study.errors import SpecError
from study.files import replace as write
from study.files import writing
from study.report.html.page import Highlight, Section, literal, render_page
from study.report.html.verbatim import Shield
from study.report.notebook import execute
from study.report.sections.contents import sections as all_sections
from study.spec.describe import schedule_words
from study.spec.records import FULL_PROFILE, Spec


def build_report(spec: Spec, folder: Path, notebooks: bool = True) -> Path:
    """Write index.html, report.json and notebooks/*.html into `folder`, from its tables. Returns the path of the page.

    The tables are read once and the claims are judged once, and all files are made from these. Raises SpecError where
    the tables are not those of the study, and where no condition has a training to show.
    """
    results = load_results(spec, folder)
    if not results.conditions:
        raise SpecError(f"{folder}: no condition has a training to show; `study run` tries them again")
    facts = {**results.facts, "document_sha256": spec.document_sha256}
    if spec.extensions and all(one.loaded for one in spec.extensions):
        with writing(folder, "--out"):
            facts["tables"] = {**facts["tables"], PREDICTIONS: write_predictions(results, folder)}
    results = replace(results, facts=facts)
    stamp_ = stamp(results)
    if notebooks:
        execute.render_notebooks(results, folder, stamp_)
    ledger = judge(results)
    html, data = report_page(results, ledger, stamp_), export.record_text(export.report_record(results, ledger))
    with writing(folder, "--out"):
        write(folder / "index.html", html.encode())
        write(folder / "report.json", data.encode())
        provenance.write_manifest(facts, folder)
    return folder / "index.html"


def report_page(results: Results, ledger: Ledger, stamp_: str) -> str:
    """The whole page as HTML. The ledger must be that of the results."""
    shield = Shield.of(results.spec)
    sections: list[Section] = []
    left_out = {}  # a link to such a section leads to the line with the reason for its absence
    for anchor, question in all_sections().items():
        made = question.make(results, ledger)
        if made is None:
            left_out[anchor] = f"{question.short}: needs {question.needs}"
        else:
            sections.append(shield.section(made))
    facts = results.facts
    return render_page(
        title=results.spec.title,
        stamp=stamp_,
        lead=_lead(results),
        footer=shield.text(f"The data: {results.spec.data.about}") if results.spec.data.about else "",
        sections=sections,
        left_out=left_out,
        highlights=[replace(h, label=shield.text(h.label)) for h in _highlights(results, ledger)],
        facts=(
            ("profile", facts["profile"]),
            ("study", facts["spec_sha256"][:16]),
            ("source", facts["source_sha256"][:16]),
            ("data", facts["data"]["sha256"][:16]),
        ),
    )


def stamp(results: Results) -> str:
    """The profile, seeds and steps behind a page, for its top."""
    spec = results.spec
    longest = max(c.schedule.steps for c in spec.conditions)
    seeds = f"{len(spec.seeds)} seed{'s' if len(spec.seeds) > 1 else ''}"
    full = spec.profile == FULL_PROFILE and not results.facts["chosen"]
    kind = (
        "full study"
        if full
        else f"profile {spec.profile}, not the full study"
        if spec.profile != FULL_PROFILE
        else "part of the full study"
    )
    return f"{kind}: {seeds}, {f'up to {longest:,} steps' if longest else 'without a training'}"


def _lead(results: Results) -> list[str]:
    spec = results.spec
    n = len(results.conditions)
    cells = results.tables["cells"].drop_duplicates("cell")
    failed = int((cells["status"] == "failed").sum())
    lost = (
        f"**{failed} of {len(cells)} trainings failed** with an error: they have no measurements, and count as diverged"
        " wherever the others are shown. `run.json` has the tracebacks; the same command tries them again."
    )
    warning = [lost] if failed else []
    seeds = f"{len(spec.seeds)} seed{'s' if len(spec.seeds) > 1 else ''}"
    if not results.trained:
        drawn = f"{n} condition{'s' if n > 1 else ''} of a {_kind(results)}, drawn with {seeds} and not trained"
        return [f"{drawn}: what a start looks like.", _network(results), *warning]
    if n == 1:
        return [f"One condition of a {_kind(results)}, trained with {seeds}: what a start costs.", *warning]
    same = " on the same minibatches" if len({c.schedule.batch_size for c in results.conditions}) == 1 else ""
    return [
        (
            f"{n} conditions of one {_kind(results)}, trained from the same draws{same} with {seeds} each: "
            "what a start costs, and what a repair is worth."
        ),
        _network(results),
        *warning,
    ]


def _kind(results: Results) -> str:
    """The kind of the conditions' model in words: `character-level network`, `bigram table`."""
    layered = f"{results.noun}-level network"
    models = [c.network.model for c in results.conditions]
    kinds = {layered if model.layered else model.label.removeprefix("a ") for model in models}
    return kinds.pop() if len(kinds) == 1 else layered


def _network(results: Results) -> str:
    """The first condition's network and schedule, with the names that the page uses for its parts."""
    c = results.main[0]
    network = c.network
    training = "none; it is measured as it is drawn" if c.untrained else schedule_words(c.schedule)
    if not network.model.layered:
        return (
            f"{literal(c.title)} is {network.model.label}: {results.vocabulary} logits by the last"
            f" {results.noun if network.context == 1 else f'{network.context} {results.noun}s'}, without hidden layers. Its"
            f" training: {training}."
        )
    names = [f"W{i}" + (f" and b{i}" if layer.bias else "") for i, layer in enumerate(network.layers, start=1)]
    layers = [
        f"{width} {layer.activation} units ({name})"
        for width, layer, name in zip(network.widths, network.hidden, names, strict=False)
    ]
    return (
        f"{literal(c.title)} turns each of {network.context} {results.noun}s into {network.embedding_size} numbers (the"
        f" embedding C), and these through {', '.join(layers)} into {results.vocabulary} logits ({names[-1]}). Its"
        f" training: {training}. Outputs of the hidden units are called h, their inputs"
        " pre-activations."
    )


def _highlights(results: Results, ledger: Ledger) -> list[Highlight]:
    """The numbers that a reader should remember: the losses of the first condition and of the best one."""
    main = results.main
    first = main[0]
    start = {c.name: float(results.loss(c, "train", 0).mean()) for c in main}
    found = []
    # the first repair that brings the loss to ln V, and not the one that is nearest by chance
    near = [name for name, loss in start.items() if abs(loss - results.uniform) <= 0.05]
    best = near[0] if near else min(start, key=lambda name: abs(start[name] - results.uniform))
    if best != first.name:
        found.append(
            Highlight(
                f"{start[first.name]:.2f} → {start[best]:.2f}",
                f"initial loss, {first.title} to {results.titles[best]}; ln {results.vocabulary} ="
                f" {results.uniform:.3f}",
            )
        )
    final = {c.name: results.loss(c, "dev", c.schedule.steps) for c in main}
    known = {name: values for name, values in final.items() if len(values) and values.notna().all()}
    if known:
        top = min(known, key=lambda name: float(known[name].mean()))
        found.append(
            Highlight(f"{known[top].mean():.4f}", f"lowest mean dev loss, {results.titles[top]}, n = {len(known[top])}")
        )
    judged = ledger.reproductions
    if judged:
        t = results.tables["published"]
        compared = int(t["comparable"].astype(bool).sum())
        without = compared - len(judged)
        found.append(
            Highlight(
                f"{sum(good for _, good, _ in judged)} of {compared}",
                "published losses reproduced within their tolerance" + (f"; {without} have none" if without else ""),
            )
        )
    return found
