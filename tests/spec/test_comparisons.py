"""A comparison is one entry with a judge: a study file may use it, and the ledger shows it in the entry's words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from study.analysis.ledger import JUDGES, Judged, bound, every_seed, judge, judge_claims, judges
from study.analysis.results import Results
from study.errors import SpecError
from study.report.sections.verdict import verdict_section
from study.spec.comparisons import COMPARISONS, Comparison, Partner, register
from study.spec.schema import ClaimEntry
from tests.support import synthetic
from tests.support.tiny import GONE, load, refusal


def test_every_comparison_has_a_judge_and_every_judge_a_comparison() -> None:
    assert list(JUDGES) == list(COMPARISONS)


# -- two comparisons of a user ------------------------------------------------------------------------------------


@pytest.fixture
def registries() -> Iterator[None]:
    """What a test adds to the registries is taken out again."""
    before = dict(COMPARISONS), dict(JUDGES)
    yield
    for registry, known in zip((COMPARISONS, JUDGES), before, strict=True):
        for key in registry.keys() - known.keys():
            del registry[key]  # type: ignore[attr-defined]


@pytest.fixture
def outside(registries: None) -> None:
    """Claims may say `outside: 2, reach: 0.5`: every seed is farther than 0.5 from 2."""
    register(Comparison("outside", words="outside {value} ± {partner}{unit}{minus}", partner=Partner("reach", float)))

    @judges
    def outside(entry: Judged, values: pd.Series, against: pd.Series | None, results: Results) -> Judged:
        return every_seed(entry, values, (values - bound(entry.claim, results)).abs() > entry.claim.partner, results)


@pytest.fixture
def increases(registries: None) -> None:
    """Claims may say `increases: true`: the values rise from seed to seed."""
    register(Comparison("increases", words="rising from seed to seed", kind=bool))

    @judges
    def increases(entry: Judged, values: pd.Series, against: pd.Series | None, results: Results) -> Judged:
        return every_seed(entry, values, values.diff().fillna(1.0) > 0, results)


BY_A_NEW_ONE: dict[str, Any] = {"claims.0.above": GONE, "claims.0.at": "end", "claims.0.of": "baseline"}


def ledger_of(folder: Path, claim: dict[str, Any]) -> tuple[Judged, Results]:
    """The judgement of the first claim of the tiny study, which compares by other keys, over made-up tables."""
    results = synthetic.results(load(folder, BY_A_NEW_ONE | {f"claims.0.{key}": value for key, value in claim.items()}))
    return judge_claims(results)[0], results


@pytest.mark.usefixtures("increases")
def test_a_claim_by_a_new_comparison_is_judged_and_shown_in_its_words(tmp_path: Path) -> None:
    entry, results = ledger_of(tmp_path, {"increases": True})  # the synthetic losses rise with the seed
    assert entry.verdict == "holds" and entry.wanted == "rising from seed to seed" and entry.n == 2
    t = results.tables["losses"]
    falling = replace(results, tables={**results.tables, "losses": t.assign(loss=-t["loss"])})
    assert judge_claims(falling)[0].verdict == "fails"
    content = verdict_section.find(results, judge(results))
    assert content is not None
    assert "rising from seed to seed" in str(content.tables[0].rows[0])


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("given", "verdict", "wanted"),
    [
        (2, "fails", "outside 2 ± 0.5"),
        ("log(vocabulary)", "holds", "outside 2.197 ± 0.1"),
        ("log(vocabulary) - 0.19", "fails", "outside 2.007 ± 0.1"),
    ],
)
def test_a_new_comparison_may_have_a_bound_and_a_partner(tmp_path: Path, given: Any, verdict: str, wanted: str) -> None:
    reach = float(wanted.rpartition(" ")[2])
    entry, _ = ledger_of(tmp_path, {"outside": given, "reach": reach})  # the losses are 2 and 2.01
    assert (entry.verdict, entry.wanted) == (verdict, wanted)


@pytest.mark.usefixtures("outside", "increases")
@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        ({"outside": 2}, "outside and reach belong together"),
        ({"reach": 2, "increases": True}, "outside and reach belong together"),
        ({"outside": 2, "reach": "far"}, "expected a number, got 'far'"),
        ({"outside": "log(words)", "reach": 1}, "expected a number, log(vocabulary), "),
        ({"increases": 1}, "expected true or false, got 1"),
        ({"increases": True, "outside": 2, "reach": 1}, "expected one of near, above, below, less_than,"),
        ({"increase": True}, "unknown key 'increase'; did you mean 'increases'?"),
    ],
)
def test_a_claim_that_a_new_comparison_cannot_take_is_refused(
    tmp_path: Path, claim: dict[str, Any], problem: str
) -> None:
    changes = BY_A_NEW_ONE | {f"claims.0.{key}": value for key, value in claim.items()}
    assert problem in refusal(tmp_path, changes)


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize(
    ("key", "partner", "kind", "names", "problem"),
    [
        ("none", None, float, False, "expected a name of printable characters that is not none"),
        ("near", None, float, False, "the name is taken"),
        ("within", None, float, False, "the name is taken"),
        ("beyond", Partner("within", float), float, False, "the key of its partner is taken"),
        ("beside", None, float, True, "expected kind=str"),
    ],
)
def test_a_comparison_that_cannot_serve_is_refused(
    key: str, partner: Partner | None, kind: Any, names: bool, problem: str
) -> None:
    with pytest.raises(SpecError, match=f"test_comparisons.py:.*: comparison '{key}': .*{problem}"):
        register(Comparison(key, words="", kind=kind, partner=partner, names_a_condition=names))


@pytest.mark.usefixtures("registries")
def test_a_comparison_with_the_name_of_another_key_of_claims_is_refused() -> None:
    register(Comparison("sentence", words="", kind=str))
    with pytest.raises(SpecError, match="comparison 'sentence': a claim has another key of this name"):
        ClaimEntry.model_validate({"id": "a", "sentence": "b", "measure": "loss.dev", "of": "c", "above": 1})
