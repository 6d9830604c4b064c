"""The section on the ledger: every sentence that the study asserts, judged by the tables."""

from __future__ import annotations

import math

from study.analysis.ledger import Judged, Ledger, Verdict, count_verdicts, printed, wanted
from study.analysis.results import Results
from study.report.html.page import Table, TableCell, TableColumn, Value
from study.report.html.parts import Tone
from study.report.sections.common import made, signed, span
from study.report.sections.registry import Content, judged_section
from study.spec.claims import check_measure
from study.spec.schema import ClaimEntry

TONES: dict[Verdict, Tone] = {"holds": "good", "fails": "bad", "cannot be told": "unsure"}


@judged_section(
    "Verdict",
    "What does the study assert, and does it hold?",
    needs="claims in the study file",
)
def verdict_section(results: Results, ledger: Ledger) -> Content | None:
    """Show the verdict on every sentence that the study asserts."""
    entries = ledger.entries
    if not entries:
        return None
    by_claim: dict[str, list[Judged]] = {}
    for e in entries:
        by_claim.setdefault(e.claim.id, []).append(e)
    columns = [
        TableColumn("claim", "claim"),
        TableColumn("verdict", "verdict"),
        TableColumn("of", "conditions"),
        TableColumn("wanted", "holds if"),
        TableColumn("because", "ground"),
    ]
    rows: list[dict[str, Value]] = [
        {
            "claim": TableCell(
                group[0].claim.sentence,
                sort=name,
                href=f"#{group[0].claim.section}" if group[0].claim.section else None,
            ),
            "verdict": _overall(group),
            "of": _conditions(group, results),
            "wanted": f"{_words(group[0].claim, results)} {wanted(group[0].claim, results, signed)}",
            "because": group[0].claim.because,
        }
        for name, group in by_claim.items()
    ]
    detail_columns = [
        TableColumn("claim", "claim"),
        TableColumn("condition", "condition"),
        TableColumn("verdict", "verdict"),
        TableColumn("measured", "measured"),
        TableColumn("method", "interval and test"),
        TableColumn("middle", "interquartile mean", "", ".4g"),
        TableColumn("wanted", "holds if"),
        TableColumn("reason", "why it cannot be told"),
    ]
    details = [
        (
            e.claim.id,
            e.condition,
            TableCell(e.verdict, tone=TONES[e.verdict]),
            signed(e.measured),
            e.method,
            e.middle if math.isfinite(e.middle) else None,
            wanted(e.claim, results, signed),
            e.reason,
        )
        for e in entries
    ]
    counts = count_verdicts(entries)
    failing = [e for e in entries if e.verdict == "fails"]
    claims_, judged = len(by_claim), len(entries)
    plural = {"holds": "hold", "fails": "fail", "cannot be told": "cannot be told"}
    answer = [
        f"{claims_} claim{'s' if claims_ > 1 else ''}, {judged} judgement{'s' if judged > 1 else ''}, one for each"
        " condition that a claim is about: "
        + ", ".join(f"{n} {plural[verdict_] if n > 1 else verdict_}" for verdict_, n in counts.items() if n)
        + "."
    ]
    if failing:
        answer += [
            f"Failing: {e.claim.sentence} **{e.condition}** has {signed(e.measured)}; wanted:"
            f" {wanted(e.claim, results, signed)}."
            for e in failing
        ]
    return Content(
        answer=answer,
        tables=(
            Table("The ledger: every claim, judged", columns, rows),
            Table("Every judgement, condition by condition", detail_columns, details, folded=True),
        ),
        made=made(
            "A claim near, above or below a value is about every seed. Differences are paired by seed, tested by sign"
            " flips, and Holm-adjusted over all sign-flip tests of the ledger; equivalence is two one-sided t tests"
            " (TOST). The interquartile mean is that of the middle half of the seeds.",
            "losses, metrics, curves, twins, probe",
            keys="claims",
        ),
    )


def _overall(group: list[Judged]) -> TableCell:
    """The verdict on a whole claim: it holds if it holds for every condition, and fails if it fails for one."""
    verdicts = [e.verdict for e in group]
    order: tuple[Verdict, ...] = ("fails", "cannot be told")
    worst: Verdict = next((v for v in order if v in verdicts), "holds")
    count = f" for {verdicts.count(worst)} of {len(group)}" if len(group) > 1 and worst != "holds" else ""
    return TableCell(worst + count, tone=TONES[worst])


def _conditions(group: list[Judged], results: Results) -> str:
    if len(group) == 1:
        return f"{group[0].condition}: {signed(group[0].measured)}" + (
            f" ({group[0].reason})" if group[0].reason else ""
        )
    label, factor, unit = printed(group[0].claim, results)
    told = [factor * e.effect for e in group if math.isfinite(e.effect)]
    means = f", means {span(told, label.format)}{unit}" if told else ""
    return f"{len(group)} conditions{signed(means)}: {', '.join(e.condition for e in group)}"


def _words(claim: ClaimEntry, results: Results) -> str:
    """The measurement of a claim in words, such as `loss of dev at the end`."""
    name, rest = check_measure(claim.measure)
    what = results.label(name).text
    if name == "probe":
        return f"{what}, {'slope over fan_in on log axes' if rest == 'slope' else f'fan_in {rest}'}:"
    if name == "steps_share":
        return f"{what}:"
    what += f" of {rest.replace('+', ', ')}" if rest else ""
    named = {
        "init": "at the start",
        "end": "at the end",
        "common": "at the common step",
        "best": "at its own best learning rate",
    }
    when = named[claim.at] if isinstance(claim.at, str) else f"after {claim.at:,} steps"
    return f"{what} {when}:"
