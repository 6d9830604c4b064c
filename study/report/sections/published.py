"""The section that compares published numbers with those of this study."""

from __future__ import annotations

import math

import pandas as pd

from study.analysis.ledger import Ledger
from study.analysis.results import Results
from study.report.html.page import Table, TableCell, TableColumn, Value
from study.report.sections.common import made
from study.report.sections.registry import Content, judged_section


@judged_section(
    "Published numbers",
    "Do the published numbers come out?",
    needs="published numbers in the study file",
)
def published_section(results: Results, ledger: Ledger) -> Content | None:
    """Compare published numbers with those of this study."""
    t = results.tables["published"]
    if not len(t):
        return None
    columns = [
        TableColumn("run", "run"),
        TableColumn("split", "split"),
        TableColumn("statistics", "statistics"),
        TableColumn("origin", "printed in"),
        TableColumn("published", "published", "nats", ".8g"),
        TableColumn("reproduced", "reproduced", "nats", ".7f"),
        TableColumn("difference", "difference", "nats", "+.1e"),
        TableColumn("tolerance", "tolerance", "nats", ".0e"),
        TableColumn("verdict", "verdict"),
    ]
    rows: list[dict[str, Value]] = []
    for r in t.itertuples():
        gap = float(r.reproduced - r.published)
        if math.isnan(gap):
            words, tone = "failed", "bad"
        elif not r.comparable:
            words, tone = f"{r.steps:,} steps only", ""
        elif pd.isna(r.tolerance):
            words, tone = "shown, not judged", ""
        else:
            words, tone = ("reproduced", "good") if abs(gap) <= r.tolerance else ("not reproduced", "bad")
        rows.append(
            {
                "run": r.title,
                "split": r.split,
                "statistics": r.statistics,
                "origin": r.origin,
                "published": r.published,
                "reproduced": None if math.isnan(gap) else r.reproduced,
                "difference": gap if r.comparable and not math.isnan(gap) else None,
                "tolerance": None if pd.isna(r.tolerance) else r.tolerance,
                "verdict": TableCell(words, tone=tone),  # type: ignore[arg-type]
            }
        )
    judged = ledger.reproductions
    if t["comparable"].astype(bool).any():
        answer = (
            []
            if not judged
            else [
                f"{sum(good for _, good, _ in judged)} of {len(judged)} published losses come out within their"
                " tolerance, run by the published protocol: one generator of the given seed feeds parameters and"
                " minibatches. The tolerances are those of the study file."
            ]
        )
        loose = t[t["comparable"].astype(bool) & t["tolerance"].isna() & t["reproduced"].notna()]
        if len(loose):
            names = ", ".join(dict.fromkeys(loose["title"]))
            most = float((loose["reproduced"] - loose["published"]).abs().max())
            answer.append(
                f"{names} differs by up to {most:.4f} nats and is shown without a verdict, as it has no tolerance."
            )
    else:
        answer = [
            "This profile does not train the published runs to their last step, so nothing is compared; the full"
            " profile does."
        ]
    return Content(
        answer=answer,
        tables=(Table(f"Published and reproduced losses. Source: {t['source'].iloc[0]}", columns, rows),),
        made=made(
            (
                f"Seed {results.spec.published.seed}, protocol {results.spec.published.protocol}."
                if results.spec.published
                else ""
            ),
            "published, cells",
            keys="published",
        ),
    )
