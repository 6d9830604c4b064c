"""A table of logits instead of a network: it trains, is resumed and measured, and has a page, alone and beside an MLP."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from study.execution.listing import plan_text
from study.execution.plan import plan_study
from study.execution.prepare import prepare
from study.network.inits import Init
from study.network.layers import Layer, Network
from study.report.build import build_report
from study.report.notebook.view import open_condition
from study.spec.read import read_study
from study.spec.records import Spec
from study.training.autograd import Trainer
from study.training.cells import Stack
from study.training.identity import network_values
from tests.support.finished import finished
from tests.support.nets import cell, flat, network, same, split, trained
from tests.support.tiny import GONE, load, refusal, write

TABLE_NETWORK = Network(1, 0, (), None, (), Layer(Init(std=0.1), None, activation="linear"), "bigram")
TABLE: dict[str, Any] = {"title": "The table", "model": {"kind": "bigram"}, "output": {"weight": {"std": 0.1}}}
BESIDE: dict[str, Any] = {
    "conditions.table": TABLE,
    "published": None,
    "twins": {"of": ["table"], "seeds": 1},
    "initial_states": 3,
}
ALONE: dict[str, Any] = {
    "published": None,
    "model": {"kind": "bigram"},
    "conditions": {"table": {"title": "The table", "output": {"weight": {"std": 0.1}}}},
    "claims": [],
    "groups": GONE,
    "profiles": GONE,
}


def table(out: Path, name: str) -> pd.DataFrame:
    rows = pd.read_parquet(out / "data" / f"{name}.parquet")
    return rows[rows["condition"] == "table"]


@pytest.fixture(scope="module", params=["beside an MLP", "alone"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, Path]:
    folder = tmp_path_factory.mktemp("bigram")
    spec = read_study(write(folder, BESIDE if request.param == "beside an MLP" else ALONE), name="tiny.yaml")
    return spec, finished(spec, folder / "out")


def test_a_bigram_study_has_losses_gradients_and_histograms_of_its_table(study: tuple[Spec, Path]) -> None:
    _, out = study
    assert set(table(out, "cells")["status"]) == {"done"}
    losses = table(out, "losses")
    assert set(losses["split"]) == {"train", "dev", "test"}
    start, end = (losses[(losses["step"] == s) & (losses["split"] == "train")]["loss"].mean() for s in (0, 30))
    assert end < start - 0.01  # it learns
    metrics = table(out, "metrics")
    assert {"grad_norm", "update_ratio"} <= set(metrics[metrics["parameter"] == "W1"]["metric"])
    assert {"logit_std", "entropy"} <= set(metrics["metric"])
    assert "h_std" not in set(metrics["metric"])
    assert set(table(out, "histograms")["quantity"]) == {"logits"}
    assert not len(table(out, "pictures"))


def test_the_page_of_a_bigram_names_the_model_and_that_it_has_no_prediction(study: tuple[Spec, Path]) -> None:
    spec, out = study
    page = build_report(spec, out, notebooks=False).read_text("utf-8")
    alone = len(spec.conditions) == 1
    assert "a bigram table" in page
    assert ("of a bigram table, trained with" in page or "conditions of one bigram table" in page) is alone
    assert ("character-level network" in page) is not alone
    assert "no prediction: there is no theory of a bigram table" in page
    # a section about hidden layers leaves the table out, and is left out with its reason where there is nothing else
    assert ("needs a condition with tanh units" in page) is alone
    assert ("Left out here, since there are no hidden layers" in page) is not alone
    assert ("How large is the gradient?" in page) is alone


def test_every_table_of_the_notebook_of_a_bigram_can_be_shown(study: tuple[Spec, Path]) -> None:
    spec, out = study
    view = open_condition("table", str(out), str(spec.path))
    assert "std of the logits" in str(view.measurements()._repr_html_())
    assert "a bigram table" in str(view.about()._repr_html_())


def test_a_bigram_that_is_done_is_not_trained_again(study: tuple[Spec, Path]) -> None:
    spec, out = study
    text = plan_text(spec, 1, "auto", "cpu", out / "cache")
    assert "a bigram table, 9×9" in text
    assert "the fused engine has no kernel for a bigram table" in text
    cells = [cell for cell in plan_study(spec, "autograd").uses if cell.network.kind == "bigram"]
    store = prepare(spec, "autograd", "cpu", out / "cache").store
    assert all(store.trajectory(cell, "autograd") is not None for cell in cells)


def test_the_logits_are_the_row_of_the_last_character_and_the_training_that_of_a_literal_loop() -> None:
    data, one = split(9, 3), cell(TABLE_NETWORK, steps=20)
    trainer, losses = trained([one], data)
    looking = Trainer(Stack((one,)), data, 9)
    table = flat(looking, 0)["W1"].clone().requires_grad_()
    for step in range(20):
        rows = looking.upcoming()[0]
        loss = F.cross_entropy(table[data.X[rows, -1]], data.Y[rows])
        (gradient,) = torch.autograd.grad(loss, [table])
        with torch.no_grad():
            table += -0.1 * gradient
        assert float(losses[0, step]) == pytest.approx(float(loss.detach()), abs=1e-6)  # 32 terms in another order
        looking.advance(step + 1)
    assert torch.equal(flat(trainer, 0)["W1"], table.detach())


def test_a_bigram_in_a_stack_gets_the_bits_that_it_gets_alone() -> None:
    data, cells = split(9, 3), [cell(TABLE_NETWORK, seed) for seed in range(3)]
    together, _ = trained(cells, data)
    for m, one in enumerate(cells):
        assert same(flat(together, m), flat(trained([one], data)[0], 0))


def test_the_kind_of_model_is_in_the_identity_of_a_cell_and_the_default_is_not() -> None:
    assert network_values(TABLE_NETWORK)["kind"] == "bigram"
    assert "kind" not in network_values(network())


def test_the_changes_from_an_mlp_say_that_the_model_is_another(tmp_path: Path) -> None:
    inherited = {**TABLE, "from": "fixed", "output": {"bias": "none"}}
    spec = load(tmp_path, {"conditions.table": inherited})
    assert spec.condition("table").changes == (
        "a character-level MLP → a bigram table",
        "model a bigram table, context 1",
        "W1: std 0.01",
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model.kind": "trigram"}, "conditions.table.model.kind: no model 'trigram'; did you mean 'bigram'?"),
        ({"output.bias": {"std": 1}}, "conditions.table.output.bias: a bigram table has no bias; write bias: none"),
        ({"output.norm": "batch"}, "conditions.table.output.norm: a bigram table has no norm; write norm: none"),
        ({"output.activation": "tanh"}, "activation: a bigram table has no activation; write activation: linear"),
        ({"output.weight": {"gain": 1}}, "there is no fan_in; expected {std: …}, got"),
        ({"hidden": {"weight": {"std": 1}}}, "a bigram table has no choice of 'hidden'; leave this key out"),
        ({"model.context": 2}, "conditions.table.model.context: a bigram table has no choice of 'context'"),
        ({"output": GONE}, "missing key 'weight'"),
    ],
)
def test_what_a_bigram_cannot_have_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    whole = {"conditions.table": deepcopy(TABLE)} | {f"conditions.table.{key}": value for key, value in changes.items()}
    assert why in refusal(tmp_path, whole)
