"""What the study asserts and on what ground: the ledger, published numbers, method and words, provenance."""

from __future__ import annotations

import json
import math

import pandas as pd

from study.analysis import ledger
from study.analysis.results import Results
from study.report.html.page import Listing, Section, Table, TableCell, TableColumn, Term, Value
from study.report.sections import origin
from study.report.sections.common import made, signed, span
from study.report.sections.registry import section
from study.spec.claims import check_measure
from study.spec.describe import schedule_words
from study.spec.quantities import MEASURES
from study.spec.schema import ClaimEntry

TONES = {"holds": "good", "fails": "bad", "cannot be told": "unsure"}


@section("verdict", "Verdict", "claims in the study file")
def verdict(results: Results) -> Section | None:
    """Every sentence that the study asserts, judged by the tables."""
    entries = ledger.judge_claims(results)
    if not entries:
        return None
    by_claim: dict[str, list[ledger.Judged]] = {}
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
            "of": _conditions(group),
            "wanted": f"{_words(group[0].claim)} {ledger.wanted(group[0].claim, results, signed)}",
            "because": group[0].claim.because,
        }
        for name, group in by_claim.items()
    ]
    detail_columns = [TableColumn("claim", "claim"), TableColumn("condition", "condition"), TableColumn("verdict", "verdict"), TableColumn("measured", "measured"),
                      TableColumn("method", "interval and test"), TableColumn("middle", "interquartile mean", "", ".4g"), TableColumn("wanted", "holds if"),
                      TableColumn("reason", "why it cannot be told")]  # fmt: skip
    details = [
        (e.claim.id, e.condition, TableCell(e.verdict, tone=TONES[e.verdict]), signed(e.measured), e.method, e.middle if math.isfinite(e.middle) else None, ledger.wanted(e.claim, results, signed), e.reason)  # type: ignore[arg-type]
        for e in entries
    ]  # fmt: skip
    counts = ledger.count_verdicts(entries)
    failing = [e for e in entries if e.verdict == "fails"]
    claims_, judged = len(by_claim), len(entries)
    plural = {"holds": "hold", "fails": "fail", "cannot be told": "cannot be told"}
    answer = [f"{claims_} claim{'s' if claims_ > 1 else ''}, {judged} judgement{'s' if judged > 1 else ''}, one for each condition that a claim is about: "
              + ", ".join(f"{n} {plural[verdict_] if n > 1 else verdict_}" for verdict_, n in counts.items() if n) + "."]  # fmt: skip
    if failing:
        answer += [
            f"Failing: {e.claim.sentence} **{e.condition}** has {signed(e.measured)}; wanted: {ledger.wanted(e.claim, results, signed)}."
            for e in failing
        ]
    return Section(
        anchor="verdict",
        short="Verdict",
        question="What does the study assert, and does it hold?",
        answer=answer,
        tables=(Table("The ledger: every claim, judged", columns, rows), Table("Every judgement, condition by condition", detail_columns, details, folded=True)),
        made=made("A claim near, above or below a value is about every seed. Differences are paired by seed, tested by sign flips, and Holm-adjusted over all "
                  "sign-flip tests of the ledger; equivalence is two one-sided t tests (TOST). The interquartile mean is that of the middle half of the seeds.",
                  "study/analysis/ledger.py, study/analysis/estimate.py, experiments.yaml: claims", "losses, metrics, curves, twins, probe"),
    )  # fmt: skip


def _overall(group: list[ledger.Judged]) -> TableCell:
    """One verdict for a claim: it holds if it does for every condition, and fails if it does for any."""
    verdicts = [e.verdict for e in group]
    worst = next((v for v in ("fails", "cannot be told") if v in verdicts), "holds")
    count = f" for {verdicts.count(worst)} of {len(group)}" if len(group) > 1 and worst != "holds" else ""  # type: ignore[arg-type]
    return TableCell(worst + count, tone=TONES[worst])  # type: ignore[arg-type]


def _conditions(group: list[ledger.Judged]) -> str:
    if len(group) == 1:
        return f"{group[0].condition}: {signed(group[0].measured)}" + (
            f" ({group[0].reason})" if group[0].reason else ""
        )
    label, factor, unit = ledger.printed(group[0].claim)
    told = [factor * e.effect for e in group if math.isfinite(e.effect)]
    means = f", means {span(told, label.spec)}{unit}" if told else ""
    return f"{len(group)} conditions{signed(means)}: {', '.join(e.condition for e in group)}"


def _words(claim: ClaimEntry) -> str:
    """`loss of dev at the end`: what is measured, for readers."""
    name, rest = check_measure(claim.measure)
    what = MEASURES[name].text
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


@section("published", "Published numbers", "published numbers in the study file")
def published(results: Results) -> Section | None:
    """Somebody else's numbers beside ours."""
    t = results.tables["published"]
    if not len(t):
        return None
    columns = [
        TableColumn("run", "run"), TableColumn("split", "split"), TableColumn("statistics", "statistics"), TableColumn("origin", "printed in"),
        TableColumn("published", "published", "nats", ".8g"), TableColumn("reproduced", "reproduced", "nats", ".7f"),
        TableColumn("difference", "difference", "nats", "+.1e"), TableColumn("tolerance", "tolerance", "nats", ".0e"), TableColumn("verdict", "verdict"),
    ]  # fmt: skip
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
        rows.append({
            "run": r.title, "split": r.split, "statistics": r.statistics, "origin": r.origin, "published": r.published,
            "reproduced": None if math.isnan(gap) else r.reproduced, "difference": gap if r.comparable and not math.isnan(gap) else None,
            "tolerance": None if pd.isna(r.tolerance) else r.tolerance, "verdict": TableCell(words, tone=tone),  # type: ignore[arg-type]
        })  # fmt: skip
    judged = ledger.reproductions(results)
    if t["comparable"].astype(bool).any():
        answer = [] if not judged else [f"{sum(good for _, good, _ in judged)} of {len(judged)} published losses come out within their tolerance, run by the published protocol: "
                  "one generator of the given seed feeds parameters and minibatches. The tolerances are those of the study file."]  # fmt: skip
        loose = t[t["comparable"].astype(bool) & t["tolerance"].isna() & t["reproduced"].notna()]
        if len(loose):
            names = ", ".join(dict.fromkeys(loose["title"]))
            most = float((loose["reproduced"] - loose["published"]).abs().max())
            answer.append(
                f"{names} differs by up to {most:.4f} nats and is shown without a verdict, as it has no tolerance."
            )
    else:
        answer = [
            "This profile does not train the published runs to their last step, so nothing is compared; the full profile does."
        ]
    return Section(
        anchor="published",
        short="Published numbers",
        question="Do the published numbers come out?",
        answer=answer,
        tables=(Table(f"Published and reproduced losses. Source: {t['source'].iloc[0]}", columns, rows),),
        made=made(f"Seed {results.spec.published.seed}, protocol {results.spec.published.protocol}." if results.spec.published else "",
                  "study/rng.py, study/execution/run.py, experiments.yaml: published", "published, cells"),
    )  # fmt: skip


@section("method", "Method and words", "nothing")
def method(results: Results) -> Section | None:
    """How everything was measured, and what the words mean."""
    data, V = results.facts["data"], results.vocabulary
    about = f" ({results.spec.data.about})" if results.spec.data.about else ""
    shared = ", ".join(
        f"{n:,} of {data['words'][split]:,} words of {split}" for split, n in data["shared_with_train"].items()
    )
    terms = (
        Term("fan_in", "Number of inputs of a unit: rows of its weight matrix."),
        Term(
            "gain",
            "Factor that makes up for what an activation takes from the spread.",
            "W ~ N(0, (gain / √fan_in)²); gain(tanh) = 5/3, gain(relu) = √2",
        ),
        Term(
            "initial loss",
            "Mean loss before the first step; ln V for a uniform guess.",
            f"ln {V} = {results.uniform:.4f}",
        ),
        Term(
            "saturation",
            "Share of tanh outputs (units × examples) so near ±1 that almost no gradient passes.",
            "|h| > 0.97, |h| > 0.99; local gradient 1 − h²",
        ),
        Term("dead unit", "A unit saturated on every example of the training split (relu: zero on every one)."),
        Term(
            "update : data",
            "Size of an update beside the parameter that it changes.",
            "log₁₀( lr · std(gradient) / std(parameter) )",
        ),
        Term(
            "running statistics",
            "Average of batch means and stds kept during training.",
            "m ← 0.999 · m + 0.001 · batch",
        ),
        Term(
            "calibrated statistics",
            "Mean and unbiased std of every unit over the whole training split, measured once after training.",
        ),
        Term("batch statistics", "Mean and std of the examples that are read together."),
        Term(
            "paired by seed",
            "Seed s gives every condition the same unscaled draws and the same minibatches, so differences are taken within a seed.",
        ),
        Term("cell", "One training: a network, a seed, a schedule; a model-step is one SGD step of one of them."),
        Term("level", "A layer with weights; level 1 is the first hidden one, the last is the output."),
        Term("common step", "The last step of the shortest training: there all conditions can be compared."),
        Term(
            "sign-flip test",
            "How often differences of random sign have a mean as large as the measured one; with n seeds p is at least 2 / 2ⁿ.",
        ),
        Term(
            "Holm",
            "Of m tests the smallest p is multiplied by m, the next by m − 1, …: the chance of any false finding stays below 5 %.",
        ),
        Term(
            "TOST",
            "Two one-sided t tests: equivalent, if the 90 % interval of the difference lies within the margin.",
        ),
        Term("d_z", "Effect size of paired differences: their mean over their standard deviation."),
        Term("BCa", "Bootstrap interval, corrected for bias and skewness."),
        Term("interquartile mean", "Mean of the middle half of the seeds."),
        Term("mean field", "Theory of wide layers: units of a layer are independent draws of one distribution."),
        Term(
            "diverged", "A training with a NaN or an infinity in its loss or parameters: counted, never averaged away."
        ),
    )
    return Section(
        anchor="method",
        short="Method and words",
        question="How was it measured, and what do the words mean?",
        answer=[
            f"The data are {sum(data['words'].values()):,} words over {V} characters{about}, shuffled and cut into {', '.join(f'{k} {v:,}' for k, v in data['examples'].items())} "
            "examples. Every loss and activation figure is that of a full split, in nats.",
            f"{data['words_twice']:,} words occur more than once, so the splits, cut by row, share some: {shared} are in train, too."
            if data["words_twice"]
            else "No word occurs twice, so the splits share none.",
            "The unit of replication is the seed: an interval says what another seed would do, not another example.",
        ],
        terms=terms,
    )


@section("provenance", "Provenance", "nothing")
def provenance(results: Results) -> Section | None:
    """What made these numbers, and how to make them again."""
    facts = results.facts
    rows: list[tuple[str, Value]] = [
        ("profile", facts["profile"]), ("seeds", ", ".join(map(str, facts["seeds"]))), ("cells", f"{facts['cells']:,}"),
        ("model-steps", f"{facts['model_steps']:,}"), *((f"engine {name}", f"{e['cells']:,} cell{'s' if e['cells'] > 1 else ''}" + (f" ({'; '.join(e['reasons'])})" if e["reasons"] else "")) for name, e in facts["engines"].items()), ("device", facts["device"]),
        ("CPU", f"{facts['cpu']['model']}, {facts['cpu']['architecture']}, {facts['cpu']['capability']}, BLAS {facts['cpu']['blas']}"),
        ("data sha256", facts["data"]["sha256"]), ("study sha256", facts["spec_sha256"]), ("source sha256", facts["source_sha256"]),
        *((f"version of {name}", version) for name, version in facts["versions"].items()),
        *((f"table {name} sha256", digest) for name, digest in facts["tables"].items()),
    ]  # fmt: skip
    conditions = "\n".join(
        f"{c.name} ({c.title}): {schedule_words(c.schedule)}; read with {c.statistics} statistics\n    "
        + "\n    ".join(c.changes)
        for c in results.spec.conditions
    )
    t = results.tables["cells"]
    trained = t.drop_duplicates("cell")  # conditions that only read a training differently share its cells
    lost = int((trained["status"] == "diverged").sum())
    words = (
        f"{lost} of {len(trained)} trainings of the table `cells` diverged."
        if lost
        else f"None of {len(trained)} trainings of the table `cells` diverged."
        if len(trained) > 1
        else "The one training did not diverge."
    )
    if facts["cells"] > len(trained):
        words += (
            f" The other {facts['cells'] - len(trained)} of {facts['cells']} only serve as originals of short twins."
        )
    return Section(
        anchor="provenance",
        short="Provenance",
        question="What made these numbers, and how are they made again?",
        answer=[
            f"`{origin.command(results)}` makes every number and this page again, out of the study file and its data; on the same kind of CPU they come out with the same bytes.",
            words,
        ],
        tables=(
            Table(
                "What the numbers depend on",
                [TableColumn("what", "what"), TableColumn("value", "value", numeric=False)],
                rows,
            ),
        ),
        listings=(
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
