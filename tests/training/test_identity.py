"""What a cell is identified by: the ids of published reports stay, whatever classes and fields are called."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from study.execution.keys import Keys
from study.execution.plan import plan_study
from study.measurement.rows import Request
from study.network.inits import Init
from study.network.layers import Layer, Network
from study.spec.records import Spec
from study.training import identity
from study.training.cells import Cell, Schedule
from study.training.identity import cell_id, cell_values, gained, network_values, schedule_values, sha256

REPORTS = Path(__file__).parents[2] / "reports"

# (condition, protocol, twin) -> id with its first seed; from data/cells.parquet of the report of commit b2ae15e, the
# same in the reports of that study from two other kinds of CPU
PUBLISHED = {
    ("baseline", "paired", False): "f91df6a4fb5f8305",
    ("baseline", "paired", True): "228d1906fea5d4e4",
    ("fixed-output", "paired", False): "0a59ec675874ded9",
    ("scaled-w1", "paired", False): "876e98e9ba1b412a",
    ("kaiming", "paired", False): "2312ac655b7b586e",
    ("batchnorm", "paired", False): "c2b209daa3daf4da",
    ("batchnorm", "lecture", False): "e0ecbf5a6eb21859",
    ("w1-zero", "paired", False): "d2eef9945884dbeb",
    ("kaiming at lr 0.3", "paired", False): "7dafb507e188a966",
}


def test_ids_are_those_of_the_published_report(study: Spec) -> None:
    found: dict[tuple[str, str, bool], str] = {}
    for cell, uses in plan_study(study).uses.items():
        for use in uses:
            found.setdefault((use.condition.name, cell.protocol, cell.twin), cell_id(cell))
    assert {key: found[key] for key in PUBLISHED} == PUBLISHED


def test_every_cell_of_the_committed_report_is_known(study: Spec) -> None:
    committed = set(pq.read_table(REPORTS / "data" / "cells.parquet")["cell"].to_pylist())
    assert len(committed) > 300
    assert committed <= {cell_id(cell) for cell in plan_study(study).uses}


@dataclass(frozen=True)
class LaterInit(Init):
    spare: str = "normal"


@dataclass(frozen=True)
class LaterLayer(Layer):
    options: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LaterNetwork(Network):
    residual: bool = False


@dataclass(frozen=True)
class LaterSchedule(Schedule):
    optimizer: str = "sgd"


@dataclass(frozen=True)
class LaterCell(Cell):
    initial_state: bool = False


def grown(kind: type, record: Any, **more: Any) -> Any:
    """The record with the fields that a later version of it has."""
    return kind(**{f.name: getattr(record, f.name) for f in fields(record)}, **more)


@pytest.fixture
def cell(study: Spec) -> Cell:
    return next(iter(plan_study(study).uses))


KINDS = {
    "init": (LaterInit, {"spare": "uniform"}),
    "layer": (LaterLayer, {"options": {"eps": 1e-5}}),
    "network": (LaterNetwork, {"residual": True}),
    "schedule": (LaterSchedule, {"optimizer": "adam"}),
    "cell": (LaterCell, {"initial_state": True}),
}


def with_later(cell: Cell, which: str, **more: Any) -> Cell:
    """The cell, one kind of its records with a field that came later."""
    kind, network = KINDS[which][0], cell.network
    layer = network.hidden[0]
    if which == "init":
        layer = replace(layer, weight=grown(kind, layer.weight, **more))
    elif which == "layer":
        layer = grown(kind, layer, **more)
    network = replace(network, hidden=(layer, *network.hidden[1:]))
    if which == "network":
        network = grown(kind, network, **more)
    cell = replace(cell, network=network)
    if which == "schedule":
        cell = replace(cell, schedule=grown(kind, cell.schedule, **more))
    return grown(kind, cell, **more) if which == "cell" else cell


@pytest.mark.parametrize("which", KINDS)
def test_a_later_field_enters_only_where_it_is_not_at_its_default(which: str, cell: Cell, study: Spec) -> None:
    keys = Keys({}, Request((), ()), "cpu", "x86_64")
    same, other = with_later(cell, which), with_later(cell, which, **KINDS[which][1])
    assert cell_id(same) == cell_id(cell)
    assert cell_id(other) != cell_id(cell)
    for engine in ("autograd", "fused"):
        assert keys.training(same, engine) == keys.training(cell, engine)
        assert keys.training(other, engine) != keys.training(cell, engine)
        assert keys.measuring(same, engine) == keys.measuring(cell, engine)

    def digest(of: Cell) -> str:
        first, *others = study.conditions
        return replace(study, conditions=(replace(first, network=of.network, schedule=of.schedule), *others)).digest()

    assert digest(same) == digest(cell) == study.digest()
    if which != "cell":  # a condition is no cell
        assert digest(other) != digest(cell)


def test_a_later_field_without_a_default_is_refused() -> None:
    @dataclass(frozen=True)
    class Bare:
        old: int
        new: int

    with pytest.raises(AssertionError, match="new has none"):
        gained(Bare(1, 2), "old")


def test_values_are_written_by_name_and_value() -> None:
    """Every field of today's records is written, at its default as well: a rename of one is seen here."""
    init, layer = Init(std=0.2), Layer(Init(gain=1.0), None)
    network = Network(3, 10, (200,), init, (layer,), layer)
    one = Cell(network, 5, "paired", Schedule(32, 9, ((0, 0.1),)))
    values = {"weight": {"std": None, "gain": 1.0}, "bias": None, "norm": "none", "activation": "tanh"}
    sizes = {"context": 3, "embedding_size": 10, "widths": (200,), "embedding": {"std": 0.2, "gain": None}}
    assert network_values(network) == {**sizes, "hidden": [values], "output": values}
    assert schedule_values(one.schedule) == {"batch_size": 32, "steps": 9, "lr": ((0, 0.1),)}
    assert cell_values(one) == {
        "setup": network_values(network),
        "seed": 5,
        "protocol": "paired",
        "training": schedule_values(one.schedule),
        "twin": False,
    }
    assert len(cell_id(one)) == 16


def test_a_hash_is_of_the_canonical_form() -> None:
    assert sha256({"a": (1, 2), "b": None}) == sha256({"b": None, "a": [1, 2]})
    assert sha256({"a": 1}) != sha256({"a": 1.5})
    assert identity.sha256([]) == sha256(json.loads("[]"))
