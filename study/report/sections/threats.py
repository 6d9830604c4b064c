"""The section on threats to the conclusions, and on the measures against them."""

from __future__ import annotations

from study.analysis.quantities import twin_gap
from study.analysis.results import Results
from study.report.html.page import Table, TableColumn, number
from study.report.sections.common import data_words, made
from study.report.sections.registry import Content, section
from study.spec.records import Sweep


@section(
    "Threats to validity",
    "What could make the conclusions wrong?",
    needs="nothing",
)
def threats_section(results: Results) -> Content | None:
    """List the threats to the conclusions, with the measures against them."""
    data, spec = results.facts["data"], results.spec
    swept = _tried(results, spec.sweeps[0]) if spec.sweeps else "nothing: a sweep would answer it"
    shared = "; ".join(
        f"{n:,} of {data['words'][s]:,} words of {s}" for s, n in data.get("shared_with_train", {}).items()
    )
    other = "data set" if "kind" in data else "word list"
    widths = sorted({c.network.widths for c in results.conditions})
    rows = [
        ("One learning rate may suit one condition and not another", swept),
        (
            "A difference may be luck of the draw",
            (
                f"{len(spec.seeds)} seeds; every seed is shown; differences are paired by seed, since all conditions"
                " share draws and minibatches"
                if len(spec.seeds) > 1
                else "nothing: with one seed no interval can be given"
            ),
        ),
        (
            "Many comparisons find something by chance",
            (
                "sign-flip tests are Holm-adjusted over all that the ledger makes, and none is made that the number of"
                " seeds could not support; claims with a bound must hold for every seed"
            ),
        ),
        (
            "One data set",
            f"only {data['file'] or data['kind']} was studied; another {other} is one line in the study file",
        ),
        *(
            [
                (
                    "Words that occur twice stand in two splits",
                    (
                        f"the splits are cut by row: {shared} are in train, too; the comparison between conditions"
                        " shares the bias"
                    ),
                )
            ]
            if data.get("words_twice")
            else []
        ),
        (
            "One size of network",
            (
                f"widths studied: {', '.join('-'.join(map(str, w)) for w in widths)}; model: in a condition takes any"
                " other"
            ),
        ),
        (
            "Choices made on dev",
            "claims rest on train and dev; the losses on test are printed in the ladder and used for nothing",
        ),
        (
            "Rounding",
            _moved(results) if spec.twins else "not examined; twins: in the study file would",
        ),
    ]
    return Content(
        answer=[
            f"{len(rows)} objections of a careful reader stand below, each with what was done about it. All of it rests"
            f" on {len(spec.seeds)} seed{'s' if len(spec.seeds) > 1 else ''} of {len(results.conditions)}"
            f" condition{'s' if len(results.conditions) > 1 else ''}, one data set of {data_words(results)},"
            f" and {len(widths)} size{'s' if len(widths) > 1 else ''} of network."
        ],
        tables=(
            Table("Threats and answers", [TableColumn("threat", "threat"), TableColumn("done", "what was done")], rows),
        ),
        made=made("The answers are read from the study file and the manifest.", "conditions", keys="sweeps, twins"),
    )


def _moved(results: Results) -> str:
    """The change of the final dev loss by the last bit of one weight, for each condition, in words."""
    ends = {c: twin_gap(results, c, c.schedule.steps) for c in results.conditions}
    gaps = {c.title: float(found.max()) for c, found in ends.items() if found is not None and found.notna().any()}
    if not gaps:
        return "twins differ in the last bit of one weight and are compared above"
    listed = "; ".join(f"{title} {number(gap, '.0e')}" for title, gap in gaps.items())
    return f"moving one weight by its last bit moves the final dev loss by at most, in nats: {listed}"


def _tried(results: Results, sweep: Sweep) -> str:
    """The rates, conditions, steps and seeds of a sweep, in words."""
    short = results.spec.condition(next(iter(sweep.yielded.values())))
    seeds = min(short.seeds or len(results.spec.seeds), len(results.spec.seeds))
    return (
        f"{len(sweep.rates)} rate{'s' if len(sweep.rates) > 1 else ''} for {len(sweep.conditions)} of"
        f" {len(results.conditions)} conditions, {short.schedule.steps:,} steps, {seeds}"
        f" seed{'s' if seeds > 1 else ''}, each judged at its own best; the other trainings were run at the rates that"
        " the study file gives"
    )
