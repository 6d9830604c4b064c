"""The vocabulary of claims selects conditions, names measurements and reads values, or says what it does not know."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.errors import SpecError, suggest
from study.spec.claims import check_at, check_measure, check_section, probed, select
from study.spec.comparisons import value
from study.spec.quantities import QUANTITY_LABELS, measures, of_twins
from study.spec.records import Condition
from tests.support.tiny import load

ALL = ["baseline", "fixed", "batchnorm", "calibrated", "zero"]


@pytest.fixture(scope="module")
def conditions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Condition, ...]:
    return load(tmp_path_factory.mktemp("study")).conditions


@pytest.mark.parametrize(
    ("of", "names"),
    [
        ("fixed", ["fixed"]),
        (["zero", "baseline"], ["baseline", "zero"]),  # in the order of the study
        ({}, ALL),
        ({"parent": None}, ["baseline"]),
        ({"parent": "none"}, ["baseline"]),
        ({"parent": "fixed"}, ["batchnorm", "zero"]),
        ({"norm": "batch"}, ["batchnorm", "calibrated"]),
        ({"norm": "none"}, ["baseline", "fixed", "zero"]),
        ({"norm": None}, ["baseline", "fixed", "zero"]),
        ({"statistics": ["running", "batch"]}, ["batchnorm"]),
        ({"output_std": {"max": 0.01}}, ["fixed", "batchnorm", "calibrated", "zero"]),
        ({"output_std": {"min": 0.001, "max": 0.01}}, ["fixed", "batchnorm", "calibrated"]),
        ({"output_std": 0}, ["zero"]),
        ({"output_bias_std": {"min": 1}}, ["baseline"]),
        ({"group": "side"}, ["zero"]),
        ({"depth": 1, "activation": "tanh", "norm": "batch"}, ["batchnorm", "calibrated"]),
        ({"depth": 2}, []),
        ({"name": {"min": 0}}, []),  # a text has no order
    ],
)
def test_conditions_are_selected_by_name_or_by_property(
    conditions: tuple[Condition, ...], of: Any, names: list[str]
) -> None:
    assert [c.name for c in select(conditions, of)] == names


def test_a_gain_counts_as_the_std_that_it_draws_with(conditions: tuple[Condition, ...]) -> None:
    std = (5 / 3) / math.sqrt(2 * 3)  # context 2, embedding 3
    near = {"hidden_std": {"min": std - 1e-12, "max": std + 1e-12}}  # one rounding apart at most
    assert [c.name for c in select(conditions, near)] == ["batchnorm", "calibrated"]


@pytest.mark.parametrize(
    ("of", "problem"),
    [
        ("fixd", "no condition 'fixd'; did you mean 'fixed'?"),
        (["fixed", "x"], "no condition 'x'; known: baseline"),
        ({"nrm": "batch"}, "unknown property 'nrm'; did you mean 'norm'?"),
        ({"depth": 9, "nrm": "batch"}, "unknown property 'nrm'"),  # although nothing has depth 9
        ({"depth": {}}, "property 'depth': expected a value, a list of values, or"),
        ({"depth": {"most": 1}}, "property 'depth'"),
        ({"depth": {"max": "1"}}, "property 'depth'"),
        ({"depth": {"max": True}}, "property 'depth'"),
        ({"depth": [[1]]}, "property 'depth'"),
    ],
)
def test_what_selects_nothing_that_could_be_is_refused(
    conditions: tuple[Condition, ...], of: Any, problem: str
) -> None:
    with pytest.raises(SpecError) as refused:
        select(conditions, of)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("measure", "meant"),
    [
        ("loss.train", ("loss", "train")),
        ("loss.test", ("loss", "test")),
        ("saturation_99", ("saturation_99", "")),
        ("grad_norm.W1", ("grad_norm", "W1")),
        ("grad_norm.C+W1+bnbias2", ("grad_norm", "C+W1+bnbias2")),
        ("update_ratio.bngain12", ("update_ratio", "bngain12")),
        ("grad_std.C", ("grad_std", "C")),
    ],
)
def test_a_measurement_has_a_name_and_where_it_needs_one_a_split_or_a_parameter(
    measure: str, meant: tuple[str, str]
) -> None:
    assert check_measure(measure) == meant


@pytest.mark.parametrize(
    "measure",
    [
        "",
        "los",
        "loss",
        "loss.val",
        "loss.",
        "grad_norm",
        "grad_norm.W",
        "grad_norm.W0",
        "grad_norm.W1+",
        "grad_norm.W1+W",
        "update_ratio.W1+b1",
        "dead.1",
        "dead.",
        "probe",
        "probe.0",
        "probe.x",
    ],
)
def test_any_other_measurement_is_refused(measure: str) -> None:
    with pytest.raises(SpecError):
        check_measure(measure)


def test_every_measurement_that_has_a_label_can_be_claimed() -> None:
    of_parameters = dict.fromkeys(("grad_norm", "grad_std", "update_ratio"), ".W1")
    rests = {"loss": ".train", "probe": ".100", **of_parameters}
    for name in measures():
        assert check_measure(name + rests.get(name, ""))[0] == name


@pytest.mark.parametrize("measure", QUANTITY_LABELS)
def test_a_measurement_of_a_whole_training_is_asked_for_at_its_end(measure: str) -> None:
    check_at(measure, "end")
    for at in ("init", "common", "best", *([] if of_twins(measure) else [1000])):
        with pytest.raises(SpecError, match=f"'{measure}' is of a whole training; write at: end.*, got '?{at}"):
            check_at(measure, at)


def test_twins_may_be_asked_about_at_a_step_and_all_else_at_any_time() -> None:
    check_at("twin_distance", 1000)
    for at in ("init", "common", "end", "best", 20):
        check_at("loss.dev", at)


def test_a_section_that_the_page_does_not_have_is_refused() -> None:
    check_section("")
    check_section("initial-loss")
    with pytest.raises(SpecError, match="no section 'inital-loss'; did you mean 'initial-loss'"):
        check_section("inital-loss")


@given(st.floats(0, 99).map(lambda x: round(x, 3)), st.integers(2, 5000))
@settings(max_examples=50, deadline=None)
def test_a_formula_is_the_logarithm_of_the_vocabulary_and_an_offset(offset: float, vocabulary: int) -> None:
    assert value("log(vocabulary)", vocabulary) == math.log(vocabulary)
    assert value(f"log(vocabulary) + {offset:f}", vocabulary) == math.log(vocabulary) + offset
    assert value(f" log(vocabulary)-{offset:f} ", vocabulary) == math.log(vocabulary) - offset
    assert value(offset, vocabulary) == offset
    assert value(f"entropy(characters) + {offset:f}", vocabulary, entropy=2.5) == 2.5 + offset
    assert value(f"sqrt({vocabulary})", vocabulary) == math.sqrt(vocabulary)


@pytest.mark.parametrize(
    "formula",
    [
        "",
        "log(V)",
        "log(vocabulary) * 2",
        "log(vocabulary) + 1.2.3",
        "log(vocabulary)-.",
        "sqrt(2.5)",
        f"sqrt({'9' * 400})",
    ],
)
def test_any_other_formula_is_refused(formula: str) -> None:
    with pytest.raises(SpecError, match=r"expected a number, log\(vocabulary\)"):
        value(formula, 27)


@pytest.mark.parametrize("of", ["rough", ["raw"], {"raw": 1}])
def test_what_the_probe_does_not_draw_is_refused(of: Any) -> None:
    with pytest.raises(SpecError, match="the probe has no"):
        probed(of)


def test_a_message_is_one_line_whatever_the_name_that_it_quotes() -> None:
    assert str(SpecError("no condition 'a\nb\ud800\x1b[31m'")) == r"no condition 'a\nb\ud800\x1b[31m'"


def test_a_suggestion_is_the_nearest_name_or_a_list_that_ends() -> None:
    assert suggest("bach", ["batch", "none"]) == "; did you mean 'batch'?"
    assert suggest("zzz", ["batch", "none"]) == "; known: batch, none"
    assert suggest("zzz", []) == ""
    assert suggest("zzz", map(str, range(1000))).endswith("18, 19, …")
