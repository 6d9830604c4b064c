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
from study.errors import SpecError, unknown
from study.measurement.labels import Label
from study.spec.claims import check_measure, select, value
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
    """All that a study asserts, judged: its claims, and the published numbers that its profile repeats to the last step."""

    entries: tuple[Judged, ...]
    reproductions: tuple[tuple[str, bool, str], ...]  # name, whether it was reproduced, words


def judge(results: Results) -> Ledger:
    """The ledger of a study; whoever shows or writes it is handed the one that was made."""
    return Ledger(tuple(judge_claims(results)), tuple(reproductions(results)))


def judge_claims(results: Results) -> list[Judged]:
    """Judge every claim of the study about every condition that it selects.

    Holm's adjustment is made over all claims of a difference.
    """
    entries = [entry for claim in results.spec.claims for entry in _judge(claim, results)]
    family = [i for i, entry in enumerate(entries) if entry.claim.less_than is not None]
    adjusted = holm([entries[i].p for i in family]) if family else ()
    for i, p in zip(family, adjusted, strict=True):
        entries[i] = _difference(entries[i], float(p), len(family))
    return entries


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
    if against is None:
        return _absolute(entry, values, results)
    both = values.index.intersection(against.index)
    if not len(both):
        return replace(entry, reason="no seed was measured on both sides")
    a, b = values.loc[both].sort_index(), against.loc[both].sort_index()
    comparison = claim.comparison
    match comparison:
        case "near" | "above" | "below":
            return _absolute(entry, a - b, results)
        case "less_than":
            return _different(entry, a, b, results)
        case "equivalent_to":
            return _equivalent(entry, a, b, results)
        case _:
            unknown(comparison)


def printed(claim: ClaimEntry, results: Results) -> tuple[Label, float, str]:
    """The label of a claim's measure, the factor for its numbers, and the text that is printed after them."""
    label = results.label(check_measure(claim.measure)[0])
    return label, label.factor, " (in %)" if label.unit == "%" else ""


def _shares(e: Estimate | Difference | Equivalence, factor: float) -> dict[str, Any]:
    """The effect and its interval in the unit of the tables."""
    found = {"effect": e.mean, "low": e.low, "high": e.high}
    return {name: math.nan if math.isnan(x) else x / factor for name, x in found.items()}


def _absolute(entry: Judged, values: pd.Series, results: Results) -> Judged:
    """Judge a claim with near, above or below. It is about every seed, so that one seed can refute it."""
    claim, comparison = entry.claim, entry.claim.comparison
    match comparison:
        case "near":
            assert claim.within is not None
            good = (values - _value(claim.near, claim, results)).abs() <= claim.within
        case "above":
            good = values > _value(claim.above, claim, results)
        case "below":
            good = values < _value(claim.below, claim, results)
        case "less_than" | "equivalent_to":
            raise AssertionError(f"{comparison} is about the mean, not about every seed")
        case _:
            unknown(comparison)
    good &= values.map(math.isfinite)  # a diverged seed is NaN or infinite
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


def _different(entry: Judged, a: pd.Series, b: pd.Series, results: Results) -> Judged:
    """Measure a claim with less_than: a difference paired by seed. Its verdict needs the whole family of claims."""
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


def _equivalent(entry: Judged, a: pd.Series, b: pd.Series, results: Results) -> Judged:
    """Judge a claim with equivalent_to, by two one-sided tests of the differences paired by seed."""
    label, factor, unit = printed(entry.claim, results)
    margin, spec = factor * (entry.claim.margin or 0.0), label.format
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


def _value(given: float | str | None, claim: ClaimEntry, results: Results) -> float:
    """A bound as a number. The entropy of the characters is that of the split of which the claim speaks."""
    name, split = check_measure(claim.measure)
    entropy = results.facts["data"]["character_entropy"][split if name == "loss" else "train"]
    return value(given, results.vocabulary, entropy)


def wanted(claim: ClaimEntry, results: Results, typeset: Callable[[str], str] = str) -> str:
    """The condition under which a claim holds, in words. `typeset` prints its numbers."""
    name, comparison = claim.other, claim.comparison
    other = results.titles.get(name, name) if name else ""
    minus = f", minus that of {other}" if claim.minus else ""
    _, factor, unit = printed(claim, results)
    unit = unit and " %"

    def bound(given: float | str | None) -> str:
        return typeset(f"{factor * _value(given, claim, results):.4g}")

    match comparison:
        case "near":
            return f"{bound(claim.near)} ± {typeset(f'{factor * (claim.within or 0):g}')}{unit}, every seed{minus}"
        case "above":
            return f"above {bound(claim.above)}{unit}, every seed{minus}"
        case "below":
            return f"below {bound(claim.below)}{unit}, every seed{minus}"
        case "less_than":
            return f"less than {other}, paired by seed"
        case "equivalent_to":
            return f"within ± {typeset(f'{factor * (claim.margin or 0):g}')}{unit} of {other}, paired by seed"
        case _:
            unknown(comparison)


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
