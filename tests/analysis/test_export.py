"""report.json: what its schema promises, from a made-up study; JSON that any program reads; the same bytes twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import pytest

from study.analysis import export, ledger
from study.analysis.estimate import paired
from study.analysis.results import Results
from tests.support.synthetic import results, tiny


@pytest.fixture(scope="module")
def made() -> Results:
    return results(tiny())


def dump(found: Results) -> dict[str, object]:
    """report.json, read back by a parser that refuses what is not JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(export.record_text(export.report_record(found, ledger.judge(found))), parse_constant=refuse)


def test_the_file_keeps_its_schema_and_every_field_is_documented(made):
    schema = export.record_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(dump(made), schema)
    for name, record in schema["$defs"].items():
        for field, known in record["properties"].items():
            assert "description" in known or field in ("title", "verdict"), (name, field)


def test_a_report_that_misses_a_field_or_has_one_too_many_breaks_the_schema(made):
    found, schema = dump(made), export.record_schema()
    for broken in ({**found, "claims": [{}]}, {**found, "more": 1}, {k: v for k, v in found.items() if k != "summary"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_every_judgement_of_the_ledger_is_there_in_order(made):
    found = dump(made)["claims"]
    entries = ledger.judge_claims(made)
    assert [(e["id"], e["subjects"][0], e["verdict"], e["n"]) for e in found] == [
        (e.claim.id, e.condition, e.verdict, e.n) for e in entries
    ]
    assert {e["id"]: e["gate"] for e in found} == {c.id: c.gate for c in made.spec.claims}


def test_an_effect_is_the_difference_of_the_seeds_and_carries_its_interval(made):
    found = {e["id"]: e for e in dump(made)["claims"]}["repaired-lower"]
    a, b = (made.loss(made.spec.condition(name), "dev", 0) for name in ("fixed", "baseline"))
    d = paired(a, b)
    assert found["subjects"] == ["Fixed output layer", "Baseline"]
    assert found["effect"] == pytest.approx(float((a - b).mean()))
    assert found["interval"] == pytest.approx([d.low, d.high])


def test_the_summary_holds_the_seeds_of_every_condition(made):
    found = dump(made)["summary"]
    assert [row["condition"] for row in found] == [c.name for c in made.conditions]
    first = found[0]
    loss = made.loss(made.conditions[0], "dev", made.conditions[0].schedule.steps)
    assert first["losses"]["dev"]["mean"] == pytest.approx(loss.mean())
    assert first["initial_loss"]["mean"] == pytest.approx(math.log(9) + 2.005)
    assert first["saturation"]["mean"] == pytest.approx(0.205)
    assert first["losses"]["dev"]["n"] == 2


def test_a_diverged_seed_is_counted_and_its_mean_is_null():
    found = {row["condition"]: row for row in dump(results(tiny(), lost=("fixed", 1)))["summary"]}
    final = found["fixed"]["losses"]["dev"]
    assert (final["n"], final["diverged"], final["mean"], final["low"]) == (2, 1, None, None)
    assert found["fixed"]["initial_loss"]["diverged"] == 0
    assert found["baseline"]["losses"]["dev"]["diverged"] == 0


def test_provenance_is_the_manifest(made):
    assert dump(made)["provenance"] == made.facts


def test_the_same_tables_give_the_same_bytes(made):
    first, again = (export.record_text(export.report_record(r, ledger.judge(r))) for r in (made, results(tiny())))
    assert first == again
    assert str(Path.home()) not in first


def test_a_number_that_json_does_not_know_is_null(made):
    assert dump(Results(made.spec, made.tables, {**made.facts, "x": math.inf}))["provenance"]["x"] is None
