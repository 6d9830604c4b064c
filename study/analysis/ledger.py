"""Turn claims and tables into a ledger: effect, interval, n and verdict of every sentence that the study asserts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from study import parquet, provenance
from study.analysis.estimate import Difference, Equivalence, Estimate, can_reach, holm, iqm, over_seeds, paired, tost
from study.analysis.quantities import QUANTITIES
from study.analysis.results import PREDICTIONS, Results
from study.errors import SpecError
from study.measurement.labels import Label
from study.spec.claims import check_measure, select
from study.spec.comparisons import COMPARISONS, value
from study.spec.records import Condition, Spec
from study.spec.schema import ClaimEntry

Verdict = Literal["holds", "fails", "cannot be told"]
ALPHA = 0.05


@dataclass(frozen=True)
class Judged:
    """The judgement of one claim about one condition."""

    claim: ClaimEntry
    condition: str  # its title
    verdict: Verdict
    measured: str  # the effect with its interval, in words
    wanted: str  # the condition under which the claim holds, in words
    n: int
    names: tuple[str, ...] = ()  # the condition (or the probe's init), then the one with which it is compared
    p: float = math.nan  # for a difference: two-sided, and adjusted over the family once it is known
    effect: float = math.nan  # the mean over seeds, or that of the difference; shares are from 0 to 1
    low: float = math.nan  # the ends of the interval, which `method` names; for an equivalence that of 90 %
    high: float = math.nan
    middle: float = math.nan  # the interquartile mean over seeds, in the unit of `measured`
    method: str = ""  # the method of the interval, and of the test where there is one
    reason: str = ""  # the reason why it cannot be told


@dataclass(frozen=True)
class Ledger:
    """All that a study asserts, judged: its claims, and the published numbers that its profile repeats."""

    entries: tuple[Judged, ...]
    reproductions: tuple[tuple[str, bool, str], ...]  # name, whether it was reproduced, words


def judge(results: Results) -> Ledger:
    """The ledger of a study; whoever shows or writes it is handed the one that was made."""
    return Ledger(tuple(judge_claims(results)), tuple(reproductions(results)))


def judge_claims(results: Results) -> list[Judged]:
    """Judge every claim of the study about every condition that it selects.

    Holm's adjustment is made over all claims of a difference. SpecError: the comparison of a claim has no judge.
    """
    for claim in results.spec.claims:
        _check_judge(claim)
    entries = [entry for claim in results.spec.claims for entry in _judge(claim, results)]
    family = [i for i, entry in enumerate(entries) if COMPARISONS[entry.claim.comparison].adjusted]
    adjusted = holm([entries[i].p for i in family]) if family else ()
    for i, p in zip(family, adjusted, strict=True):
        entries[i] = _difference(entries[i], float(p), len(family))
    return entries


def _check_judge(claim: ClaimEntry) -> None:
    """Raise SpecError for a comparison that no function judges."""
    if claim.comparison not in JUDGES:
        line = "{}:{}".format(*COMPARISONS[claim.comparison].origin[0])
        problem = f"the comparison {claim.comparison!r:.60} has no judge"
        raise SpecError(f"{line}: {problem}; add a function of that name under @judges of study.analysis.ledger")


def _judge(claim: ClaimEntry, results: Results) -> list[Judged]:
    if claim.measure.startswith("probe."):
        return [_one(claim, str(claim.of), lambda name: values_of_probe(results, name, claim.measure), results)]
    chosen = select([c for c in results.spec.conditions if not c.sweep], claim.of)
    if not chosen:
        reason = "no condition of this study is selected"
        return [Judged(claim, "–", "cannot be told", "–", wanted(claim, results), 0, reason=reason)]

    def measured(name: str) -> pd.Series | None:
        return values_of(results, results.spec.condition(name), claim)

    return [_one(claim, condition.name, measured, results) for condition in chosen]


def values_of(results: Results, condition: Condition, claim: ClaimEntry) -> pd.Series | None:
    """The values of a claim's measure for a condition, by seed. None: this profile did not measure it."""
    if claim.measure in QUANTITIES:
        return QUANTITIES[claim.measure](
            results, condition, condition.schedule.steps if claim.at == "end" else int(claim.at)
        )
    return results.measured(condition, claim.measure, claim.at, claim.layer)


def values_of_probe(results: Results, name: str, measure: str) -> pd.Series | None:
    """The std of x @ w for an init of the probe, at the fan_in that `probe.<fan_in>` names, by seed.

    `probe.slope` is the slope of a straight line through log std over log fan_in: 1/2 where the std grows as √fan_in.
    """
    t, rest = results.tables["probe"], measure.removeprefix("probe.")
    rows = t[t["init"] == name]
    if rest == "slope":
        found = {int(seed): _slope(here) for seed, here in rows.groupby("seed") if here["fan_in"].nunique() > 1}
        return pd.Series(found) if found else None
    rows = rows[rows["fan_in"] == int(rest)]
    return pd.Series(rows["std_y"].to_numpy(float), index=rows["seed"].to_numpy(int)) if len(rows) else None


def _slope(rows: pd.DataFrame) -> float:
    return float(np.polyfit(np.log(rows["fan_in"].to_numpy(float)), np.log(rows["std_y"].to_numpy(float)), 1)[0])


def _one(claim: ClaimEntry, name: str, measured: Callable[[str], pd.Series | None], results: Results) -> Judged:
    """Judge one claim about one condition (or one init of the probe)."""
    values, other = measured(name), claim.other
    against = measured(other) if other is not None else None
    names = (name,) if other is None else (name, other)
    entry = Judged(claim, results.titles.get(name, name), "cannot be told", "–", wanted(claim, results), 0, names=names)
    if values is None or (other is not None and against is None):
        where = names[0] if values is None else names[-1]
        return replace(entry, reason=f"{results.titles.get(where, where)}: not measured in this profile")
    judge = JUDGES[claim.comparison]
    if against is None:
        return judge(entry, values, None, results)
    both = values.index.intersection(against.index)
    if not len(both):
        return replace(entry, reason="no seed was measured on both sides")
    return judge(entry, values.loc[both].sort_index(), against.loc[both].sort_index(), results)


def printed(claim: ClaimEntry, results: Results) -> tuple[Label, float, str]:
    """The label of a claim's measure, the factor for its numbers, and the text that is printed after them."""
    label = results.label(check_measure(claim.measure)[0])
    return label, label.factor, " (in %)" if label.unit == "%" else ""


def _shares(e: Estimate | Difference | Equivalence, factor: float) -> dict[str, Any]:
    """The effect and its interval in the unit of the tables."""
    found = {"effect": e.mean, "low": e.low, "high": e.high}
    return {name: math.nan if math.isnan(x) else x / factor for name, x in found.items()}


# -- the judges -------------------------------------------------------------------------------------------------------

# (the claim about one condition, its values by seed, the values of the other condition by the same seeds or None where
# there is no other one, results) -> the judgement
Judge = Callable[[Judged, pd.Series, "pd.Series | None", Results], Judged]

JUDGES: dict[str, Judge] = {}


def judges(judge: Judge) -> Judge:
    """Register a judge under the name of its function, the key of a comparison in `spec/comparisons.py`."""
    JUDGES[judge.__name__] = judge
    return judge


@judges
def near(entry: Judged, values: pd.Series, against: pd.Series | None, results: Results) -> Judged:
    """Judge whether every seed lies at most `within` from the bound."""
    found = _beyond(values, against)
    good = (found - bound(entry.claim, results)).abs() <= entry.claim.partner
    return every_seed(entry, found, good, results)


@judges
def above(entry: Judged, values: pd.Series, against: pd.Series | None, results: Results) -> Judged:
    """Judge whether every seed lies above the bound."""
    found = _beyond(values, against)
    return every_seed(entry, found, found > bound(entry.claim, results), results)


@judges
def below(entry: Judged, values: pd.Series, against: pd.Series | None, results: Results) -> Judged:
    """Judge whether every seed lies below the bound."""
    found = _beyond(values, against)
    return every_seed(entry, found, found < bound(entry.claim, results), results)


def _beyond(values: pd.Series, against: pd.Series | None) -> pd.Series:
    """The values, or their differences from those of the condition that the claim subtracts."""
    return values if against is None else values - against


def every_seed(entry: Judged, values: pd.Series, good: pd.Series, results: Results) -> Judged:
    """The judgement on a claim about every seed, which one seed can refute: `good` says of each whether it does not.

    A seed whose value is not finite is never good, since it has diverged.
    """
    claim = entry.claim
    good = good & values.map(math.isfinite)
    label, factor, unit = printed(claim, results)
    x = factor * values.to_numpy(float)
    e = over_seeds(x, method="t" if claim.minus else label.interval)
    low, high = (format(end, label.format) for end in (x.min(), x.max()))
    seeds = "" if e.diverged or low == high else f", seeds {low} to {high}"
    return replace(
        entry,
        verdict="holds" if bool(good.all()) else "fails",
        measured=f"{e.text(label.format, label.lost)}{seeds}{unit}",
        n=e.n,
        **_shares(e, factor),
        middle=iqm(x),
        method=e.method,
    )


@judges
def less_than(entry: Judged, a: pd.Series, b: pd.Series | None, results: Results) -> Judged:
    """Measure a difference paired by seed. Its verdict needs the whole family of claims."""
    assert b is not None, entry.names
    label, factor, unit = printed(entry.claim, results)
    d = paired(factor * a, factor * b)
    return replace(
        entry,
        measured=f"{d.text(label.format)}{unit}",
        n=d.n,
        p=d.p,
        **_shares(d, factor),
        middle=_middle(factor * a, factor * b),
        method=d.method,
    )


@judges
def equivalent_to(entry: Judged, a: pd.Series, b: pd.Series | None, results: Results) -> Judged:
    """Judge an equivalence within the margin, by two one-sided tests of the differences paired by seed."""
    assert b is not None, entry.names
    label, factor, unit = printed(entry.claim, results)
    margin, spec = factor * entry.claim.partner, label.format
    e = tost(factor * (a - b).to_numpy(float), margin, ALPHA)
    outside = e.low > margin or e.high < -margin
    verdict: Verdict = "holds" if e.equivalent else "fails" if outside else "cannot be told"
    reason = "the interval reaches beyond the margin" if e.equivalent is False else e.method
    text = f"{e.mean:+{spec}} [{e.low:+{spec}}, {e.high:+{spec}}] (90 %), n = {e.n}{unit}"
    if e.diverged:
        text = f"{e.diverged} of {e.n} pairs diverged"
    elif math.isnan(e.low):
        text = f"{e.mean:+{spec}}, n = {e.n}{unit}"
    return replace(
        entry,
        verdict=verdict,
        measured=text,
        n=e.n,
        p=e.p,
        **_shares(e, factor),
        middle=_middle(factor * a, factor * b),
        method=e.method,
        reason=reason if verdict == "cannot be told" else "",
    )


def _middle(a: pd.Series, b: pd.Series) -> float:
    """The interquartile mean of a - b. A pair of which both diverged, inf - inf, is a diverged pair like any other."""
    return iqm((a - b).to_numpy(float))


def _difference(entry: Judged, p: float, family: int) -> Judged:
    """Add the verdict to a difference, whose p is adjusted over the family."""
    if not entry.n:
        return entry  # not measured
    if not can_reach(entry.n, family, ALPHA):
        return replace(entry, p=p, reason=f"{entry.n} seeds cannot be significant in a family of {family}")
    if math.isnan(p):
        return replace(entry, reason="diverged pairs")
    adjusted = replace(entry, p=p, measured=f"{entry.measured}; p after Holm over {family}: {p:.3g}")
    if p > ALPHA:
        return replace(adjusted, reason=f"not significant at {ALPHA:g}")
    return replace(adjusted, verdict="holds" if entry.effect < 0 else "fails", reason="")


def bound(claim: ClaimEntry, results: Results) -> float:
    """The bound of a claim as a number.

    The entropy of the characters is that of the split of which the claim speaks.
    """
    name, split = check_measure(claim.measure)
    entropy = results.facts["data"]["character_entropy"][split if name == "loss" else "train"]
    return value(claim.value, results.vocabulary, entropy)


def wanted(claim: ClaimEntry, results: Results, typeset: Callable[[str], str] = str) -> str:
    """The condition under which a claim holds, in words. `typeset` prints its numbers."""
    comparison, given = COMPARISONS[claim.comparison], claim.value
    _, factor, unit = printed(claim, results)
    if comparison.names_a_condition:
        shown = results.titles.get(given, given)
    elif comparison.takes_a_bound:
        shown = typeset(f"{factor * bound(claim, results):.4g}")
    else:
        shown = str(given)
    return comparison.words.format(
        value=shown,
        partner="" if claim.partner is None else typeset(f"{factor * claim.partner:g}"),
        unit=unit and " %",
        minus=f", minus that of {results.titles.get(claim.minus, claim.minus)}" if claim.minus else "",
    )


def reproductions(results: Results) -> list[tuple[str, bool, str]]:
    """List (name, whether it was reproduced, words) for every published number that this profile repeats completely.

    Numbers without a tolerance are left out.
    """
    found = []
    for row in results.tables["published"].itertuples():
        if bool(row.comparable) and not pd.isna(row.tolerance):
            gap = abs(row.reproduced - row.published)
            text = f"published {row.published:.7f}, reproduced {row.reproduced:.7f}, tolerance {row.tolerance:g}"
            found.append((f"{row.title}, {row.split}", bool(gap <= row.tolerance), text))
    return found


def load_results(spec: Spec, folder: Path) -> Results:
    """Read the results in a folder. SpecError: its tables were made for another study."""
    facts = provenance.read_manifest(folder)
    if facts["spec_sha256"] != spec.digest():
        raise SpecError(
            f"{folder}: its tables are of another study than {spec.name} asks for; make them with `study run`"
        )
    tables = parquet.read(folder / "data")
    return Results(_as_run(spec, tables), tables, facts, _predictions(folder, facts))


def _predictions(folder: Path, facts: dict[str, Any]) -> pd.DataFrame | None:
    """The table of predictions, if the manifest names one."""
    path = folder / "data" / f"{PREDICTIONS}.parquet"
    if PREDICTIONS not in facts["tables"]:
        return None
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SpecError(f"{path}: not a readable table ({reason:.80}); remake it with `study run`") from None


def _as_run(spec: Spec, tables: Mapping[str, pd.DataFrame]) -> Spec:
    """The study with the changes of its conditions in the words of the run, where extensions are not loaded.

    Only an extension has the words of its initialisers.
    """
    if all(extension.loaded for extension in spec.extensions):
        return spec
    told = dict(zip(tables["conditions"]["condition"], tables["conditions"]["changes"], strict=True))
    conditions = tuple(replace(c, changes=tuple(told[c.name].split("\n"))) for c in spec.conditions)
    return replace(spec, conditions=conditions)


def verdicts(spec: Spec, folder: Path) -> tuple[str, bool]:
    """The ledger as text, and whether it passes.

    It passes if every gate holds and every published number that this profile repeats is reproduced.
    """
    results = load_results(spec, folder)
    judged = judge(results)
    entries, numbers = judged.entries, judged.reproductions
    lines = [_line(entry) for entry in entries]
    lines += [f"{'holds' if good else 'FAILS':<15} published  {name}: {text}" for name, good, text in numbers]
    gates = [entry for entry in entries if entry.claim.gate]
    bad = [entry.claim.id for entry in gates if entry.verdict != "holds"] + [
        name for name, good, _ in numbers if not good
    ]
    lines.append(f"{len(entries)} claims judged, {len(gates)} of them gates; {len(numbers)} published numbers repeated")
    lines.append(f"not passed: {', '.join(dict.fromkeys(bad))}" if bad else "passed")
    return "\n".join(lines), not bad


def _line(entry: Judged) -> str:
    verdict = (
        entry.verdict if entry.verdict == "holds" else entry.verdict.upper() if entry.claim.gate else entry.verdict
    )
    because = f" ({entry.reason})" if entry.reason else ""
    kind = "gate" if entry.claim.gate else "claim"
    method = f" ({entry.method})" if entry.method else ""
    judged = f"{entry.claim.id}: {entry.condition}: {entry.measured}{method}"
    return f"{verdict:<15} {kind:<6} {judged}; wanted {entry.wanted}{because}"


def count_verdicts(entries: Sequence[Judged]) -> dict[str, int]:
    """The number of entries with each verdict."""
    return {verdict: sum(e.verdict == verdict for e in entries) for verdict in ("holds", "fails", "cannot be told")}
