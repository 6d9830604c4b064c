"""The registry of metrics: what an entry must say, and the line with which it is refused otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.errors import SpecError
from study.measurement.metrics import METRICS, names
from study.spec.quantities import QUANTITY_LABELS, measures
from tests.support.modules import metrics_put_back, run

FACTS = {"of": '"parameter"', "label": '"a number"', "format": '".3f"'}
LAYER = {"of": '"layer"', "reduce": "Mean"}


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    with metrics_put_back():
        yield


def written(name: str, **facts: str | None) -> str:
    """A module whose fourth line decorates a metric, with some facts changed, or left out (None)."""
    told = ", ".join(f"{fact}={value}" for fact, value in {**FACTS, **facts}.items() if value is not None)
    return (
        "from study.measurement.metrics import metric\nfrom study.measurement.reducers import Mean\n\n"
        f"@metric({told})\ndef {name}(p, gradient, lr):\n    return p\n"
    )


def refusal(path: Path, text: str) -> str:
    """The one line with which a module is refused. It begins with the file and the line of the metric."""
    with pytest.raises(SpecError) as refused:
        run(path, text)
    message = str(refused.value)
    assert message.startswith(f"{path}:4: the metric 'mine' ")
    return message


def test_a_metric_keeps_its_facts_and_its_place(tmp_path: Path) -> None:
    run(tmp_path / "own.py", written("mine", unit='"nats"', better='"lower"', interval='"bca"', lost='"gone"'))
    found = METRICS["mine"]
    label = found.label
    assert (label.text, label.unit, label.format) == ("a number", "nats", ".3f")
    assert (label.better, label.of, label.interval, label.lost) == ("lower", "parameter", "bca", "gone")
    assert found.place == f"{tmp_path / 'own.py'}:4"
    assert names("parameter")[-1] == "mine"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"label": None}, "lacks a fact; expected a label"),
        ({"format": None}, "lacks a fact; expected a label, a format"),
        ({"lost": '" "'}, "lacks a fact"),
        ({"of": None}, "has the fact ''; expected one of 'layer', 'output', 'parameter', 'training'"),
        ({"of": '"gradient"'}, "has the fact 'gradient'; expected one of 'layer'"),
        ({"better": '"up"'}, "has the fact 'up'; expected one of 'higher', 'lower', ''"),
        ({"interval": '"z"'}, "has the fact 'z'; expected one of 't', 'bca'"),
        ({"format": '".3q"'}, "has the format '.3q'; expected one for numbers"),
        ({"of": '"layer"'}, "(of='layer') needs reduce="),
        ({"of": '"output"'}, "(of='output') needs reduce="),
        ({"reduce": "Mean"}, "(of='parameter') takes no reduce="),
        ({"activations": '["tanh"]'}, "takes activations= only of a layer, got of='parameter'"),
    ],
)
def test_a_metric_with_a_missing_or_unknown_fact_is_refused(tmp_path: Path, facts: dict[str, str], said: str) -> None:
    before = dict(METRICS)
    assert said in refusal(tmp_path / "own.py", written("mine", **facts))
    assert before == METRICS


def test_a_name_that_two_metrics_take_is_refused_with_both_places(tmp_path: Path) -> None:
    run(tmp_path / "first.py", written("mine", **LAYER))
    message = refusal(tmp_path / "second.py", written("mine"))
    assert f"is defined in {tmp_path / 'first.py'}:4, too" in message


def test_a_metric_with_the_name_of_a_quantity_is_refused_before_a_claim_is_read(tmp_path: Path) -> None:
    run(tmp_path / "own.py", written("twin_gap"))
    with pytest.raises(
        SpecError, match=rf"^{re.escape(str(tmp_path / 'own.py'))}:4: the metric 'twin_gap' has the name"
    ):
        measures()


def test_what_is_measured_beside_the_registry_is_no_metric_of_a_kind() -> None:
    listed = {name for of in ("layer", "output", "parameter", "training") for name in names(of)}  # type: ignore[arg-type]
    assert set(METRICS) - listed == {"loss", "gap_mean", "gap_std", "probe"}


def test_every_measurement_of_a_claim_is_told_as_it_always_was() -> None:
    """Label, unit and format of some of each kind, as the pages have shown them."""
    found = {name: (label.text, label.unit, label.format) for name, label in measures().items()}
    assert list(found)[:3] == ["loss", "saturation_97", "saturation_99"]
    assert list(found)[-4:] == list(QUANTITY_LABELS)
    assert found["loss"] == ("loss", "nats", ".4f")
    assert found["dead"] == ("dead units", "%", ".1f")
    assert found["grad_std"] == ("std of the gradient", "", ".5f")
    assert found["gap_std"] == ("largest gap of a unit's std from the calibrated one", "", ".4f")
    assert found["probe"] == ("std after x @ w", "", ".3f")
    assert measures()["steps_share"].lost == "never there"
