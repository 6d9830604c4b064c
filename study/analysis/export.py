"""Turn results into report.json, for other programs: the ledger, a summary of every condition, and the provenance.

`claims` is a list with an entry per claim and condition, `summary` is a list with an entry per condition, and
`provenance` is the manifest. The records below alone define the layout: `record_schema()` derives the JSON Schema from
them, with the meaning and the unit of every field. Numbers that JSON does not know (NaN, infinities) are null.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from study.analysis.estimate import Estimate
from study.analysis.ledger import Judged, Ledger
from study.analysis.results import Results
from study.spec.records import Condition

RECORD_FORMAT: Final = 1


def _finite(value: object) -> float | None:
    """A number that JSON knows. NaN and infinities, which it does not know, become None."""
    number = math.nan if value is None else float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None


Number = Annotated[float | None, BeforeValidator(_finite)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeedsRecord(_Record):
    """What the seeds say about one quantity."""

    mean: Number = Field(description="mean over seeds; null when a seed has diverged")
    low: Number = Field(description="lower end of the 95 % interval of the mean; null for one seed")
    high: Number = Field(description="upper end of the 95 % interval of the mean; null for one seed")
    median: Number = Field(description="median over seeds, a diverged seed counted as infinite")
    n: int = Field(ge=1, description="seeds, the diverged ones among them")
    diverged: int = Field(ge=0, description="seeds with a NaN or an infinity in loss or parameters")


class Judgement(_Record):
    """One claim about one condition: a line of the ledger."""

    id: str = Field(
        description="the claim's name in the study file; several lines share it when it is about several conditions"
    )
    sentence: str = Field(description="what is asserted")
    verdict: Literal["holds", "fails", "cannot be told"]
    gate: bool = Field(description="whether `study check` exits with 1 unless this holds")
    subjects: list[str] = Field(
        description=(
            "the condition (or probe) that the line is about, then the one that it is compared with, if any; titles"
        )
    )
    measure: str = Field(description="what is measured, as the study file names it")
    at: str = Field(description="init, common, end, best, or a step")
    effect: Number = Field(
        description=(
            "mean over seeds of the measure, or of its difference from that of the second subject, paired by seed; "
            "shares from 0 to 1; null when a seed has diverged or nothing was measured"
        )
    )
    interval: tuple[Number, Number] = Field(
        description=(
            "95 % interval of the effect, of an equivalence the 90 % one, seeds as the unit; null where there is none"
        )
    )
    n: int = Field(ge=0, description="seeds, or pairs of seeds, that it rests on")
    p: Number = Field(
        description="two-sided p of a difference or of an equivalence; null where the claim is about every seed"
    )
    measured: str = Field(description="effect, interval and test, in words")
    wanted: str = Field(description="what would make it hold, in words")
    because: str = Field(description="ground of the claim or of its bound")
    reason: str = Field(description="why it cannot be told; empty when it can")
    section: str = Field(description="anchor of the page's section that shows the evidence; empty where there is none")


class Summary(_Record):
    """One condition, from its first loss to its last."""

    condition: str = Field(description="name in the study file and in the tables")
    title: str
    parent: str | None = Field(
        description="name of the condition that it comes from; null for one that comes from none"
    )
    group: str = Field(description="name of the group that it is shown with")
    changes: list[str] = Field(description="what it changes of its parent; of a condition without one, all that it is")
    statistics: str = Field(description="BatchNorm statistics that its losses are read with")
    steps: int = Field(ge=0, description="SGD steps of its training; 0 where it has none")
    initial_loss: SeedsRecord | None = Field(description="loss of the full training split before the first step, nats")
    saturation: SeedsRecord | None = Field(
        description=(
            "share of the first layer's tanh outputs with |h| > 0.99 before the first step, from 0 to 1; null without"
            " tanh"
        )
    )
    losses: dict[Literal["train", "dev", "test"], SeedsRecord] = Field(
        description="loss of the full split after the last step, nats"
    )


class ReportRecord(_Record):
    """report.json: keys in this order, NaN and infinities as null, the same bytes for the same tables."""

    format: Literal[1] = Field(description="version of this layout")
    title: str = Field(description="title of the study")
    claims: list[Judgement] = Field(description="the ledger, in the order of the study file")
    summary: list[Summary] = Field(
        description="the conditions, in the order of the study file; a sweep's are not among them"
    )
    provenance: dict[str, Any] = Field(
        description="manifest.json: profile, seeds, data, versions, CPU, hashes of study, source, draws and tables"
    )


def record_schema() -> dict[str, Any]:
    """The JSON Schema of report.json (draft 2020-12), with the meaning and the unit of every field."""
    return ReportRecord.model_json_schema()


def report_record(results: Results, ledger: Ledger) -> ReportRecord:
    """The content of report.json. The ledger is that of the results."""
    return ReportRecord(
        format=RECORD_FORMAT,
        title=results.spec.title,
        claims=[_judgement(results, entry) for entry in ledger.entries],
        summary=[_summary(results, c) for c in results.conditions],
        provenance=results.facts,
    )


def record_text(made: ReportRecord) -> str:
    """The text of report.json, with one key per line, in the layout of `record_schema()`."""
    return json.dumps(made.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _summary(results: Results, c: Condition) -> Summary:
    tanh = c.network.activation == "tanh"
    finals = {split: results.estimate(results.loss(c, split, c.schedule.steps)) for split in ("train", "dev", "test")}
    return Summary(
        condition=c.name,
        title=c.title,
        parent=c.parent,
        group=c.group,
        changes=list(c.changes),
        statistics=c.statistics,
        steps=c.schedule.steps,
        initial_loss=_seeds(results.estimate(results.loss(c, "train", 0))),
        saturation=_seeds(results.estimate(results.metric(c, "saturation_99", 0, 1))) if tanh else None,
        losses={split: found for split, e in finals.items() if (found := _seeds(e)) is not None},  # type: ignore[misc]
    )


def _seeds(e: Estimate | None) -> SeedsRecord | None:
    if e is None:
        return None
    return SeedsRecord(mean=e.mean, low=e.low, high=e.high, median=e.median, n=e.n, diverged=e.diverged)


def _judgement(results: Results, entry: Judged) -> Judgement:
    claim = entry.claim
    return Judgement(
        id=claim.id,
        sentence=claim.sentence,
        verdict=entry.verdict,
        gate=claim.gate,
        subjects=[entry.condition, *(results.titles.get(name, name) for name in entry.names[1:])],
        measure=claim.measure,
        at=str(claim.at),
        effect=entry.effect,
        interval=(entry.low, entry.high),
        n=entry.n,
        p=entry.p,
        measured=entry.measured,
        wanted=entry.wanted,
        because=claim.because,
        reason=entry.reason,
        section=claim.section or "",
    )
