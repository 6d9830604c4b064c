"""A kind that a study file may name and that a branch was not told of: refused by its name, never treated as another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic.fields import FieldInfo

from study import cli
from study.analysis.ledger import judge_claims
from study.analysis.results import Results
from study.data.examples import Dataset
from study.errors import SpecError
from study.execution.collect import collect_tables
from study.execution.plan import plan_study, seconds
from study.execution.shard import parts, trainer
from study.measurement.measure import loss_rows
from study.measurement.rows import as_rows
from study.network.layers import Network
from study.network.mlp import Params, fresh_statistics, initialise
from study.network.norms import Statistics
from study.rng import streams
from study.spec.comparisons import COMPARISONS, Comparison
from study.spec.records import Spec, Twins
from study.spec.schema import ClaimEntry, ConditionEntry, DataEntry, Entry, PublishedEntry
from study.training.cells import Stack
from study.training.engines import choose
from study.training.trajectory import NEW
from tests.support import synthetic
from tests.support.nets import cell, dataset, network, split
from tests.support.tiny import GONE, one_line, prepare, refusal, write

V = 9


def entries(of: type[Entry] = Entry) -> list[type[Entry]]:
    """Every mapping of a study file, in the order of definition: what stands within another comes before it."""
    return [found for entry in of.__subclasses__() for found in (entry, *entries(entry))]


@contextmanager
def allowed(entry: type[Entry], field: str) -> Iterator[None]:
    """A study file may hold anything under this key of an entry, a known one or a new one."""
    before = dict(entry.model_fields)
    known = before.get(field, FieldInfo(default=None))
    entry.model_fields[field] = FieldInfo(annotation=Any, default=known.default, alias=known.alias)
    try:
        for model in entries():
            model.model_rebuild(force=True)
        yield
    finally:
        entry.model_fields.clear()
        entry.model_fields.update(before)
        for model in entries():
            model.model_rebuild(force=True)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """A comparison by the word `far`, which a claim may use, and which no function judges."""
    monkeypatch.setitem(COMPARISONS, "far", Comparison("far", words="far from {value}{unit}"))
    return COMPARISONS["far"]


def unknown(name: str, where: str = r"\S+") -> str:
    """The one line that names the kind, and the function that does not know it."""
    return rf"^study\.(\S+\.)?{where} got '{name}', which it does not know$"


# -- the whole study ----------------------------------------------------------------------------------------------

SPLITS = {"train": 0.6, "dev": 0.2, "test": 0.2}
STUDIES = {
    "statistics": (ConditionEntry, "statistics", "conditions.calibrated.statistics", "frozen", "batch"),
    "split": (DataEntry, "splits", "data.splits", {**SPLITS, "train": 0.5, "extra": 0.1}, SPLITS),
    "protocol": (PublishedEntry, "protocol", "published.protocol", "mixed", "lecture"),
}


@pytest.mark.parametrize(("entry", "field", "place", "new", "known"), STUDIES.values(), ids=STUDIES)
def test_a_study_is_refused_by_the_name_of_the_kind_before_anything_is_trained(
    tmp_path: Path, entry: type[Entry], field: str, place: str, new: Any, known: Any
) -> None:
    name = "extra" if field == "splits" else new
    assert name in refusal(tmp_path, {place: new})  # as a user's mistake, while nobody may write it
    with allowed(entry, field):
        prepare(write(tmp_path, {place: known}))
        with pytest.raises(AssertionError, match=unknown(name)):
            prepare(write(tmp_path, {place: new}))


def test_a_comparison_that_is_not_registered_is_an_unknown_key(tmp_path: Path) -> None:
    assert "unknown key 'far'" in refusal(tmp_path, {"claims.0.above": GONE, "claims.0.far": 3.0})


def test_the_command_stops_at_the_kind_before_it_writes_anything(tmp_path: Path) -> None:
    path, out = write(tmp_path, {"conditions.batchnorm.statistics": "frozen"}), tmp_path / "out"
    command = ["run", str(path), "--out", str(out), "--cache", str(tmp_path / "cache")]
    with allowed(ConditionEntry, "statistics"), pytest.raises(AssertionError, match=unknown("frozen")):
        cli.app(command, standalone_mode=False)
    assert sorted(tmp_path.iterdir()) == [path.with_suffix(".txt"), path]


# -- every branch by itself ---------------------------------------------------------------------------------------

PLAIN, NORMED = network(), network(norm="batch")


def params(setup: Network) -> Params:
    return initialise([setup], V, [streams(0, "paired")])


def statistics(setup: Network) -> Statistics:
    return fresh_statistics(params(setup), setup)


def spec(**changes: Any) -> Spec:
    """The tiny study with a pair of twins, all conditions changed."""
    study = synthetic.tiny()
    conditions = tuple(replace(c, **changes) for c in study.conditions)
    return replace(study, conditions=conditions, twins=Twins((conditions[0].name,), 1, 1, 1))


def collected(study: Spec, **changes: Any) -> None:
    """The tables of a study whose twins have a distance and nothing else; what its cells are used for, changed."""
    work = plan_study(study)
    work = replace(work, uses={c: tuple(replace(use, **changes) for use in uses) for c, uses in work.uses.items()})
    collect_tables(
        study, work, {c: as_rows({"twins": [{"step": 0, "distance": 0.0}]}) for c in work.uses if c.twin}, []
    )


def extra() -> None:
    """The losses of a split that is none of the three."""
    known = {"calibrated": statistics(NORMED)}
    loss_rows(params(NORMED), NORMED, Dataset({"extra": split()}, V), known, {})  # type: ignore[dict-item]


CLAIM: dict[str, Any] = {"id": "a", "sentence": "b", "measure": "loss.train", "of": "baseline"}


def results(study: Spec) -> Results:
    return synthetic.results(study)


X = torch.zeros((4, 3), dtype=torch.int64)
FROZEN: dict[str, Any] = {"statistics": "frozen"}
BRANCHES: list[tuple[str, str, Callable[[], object]]] = [
    ("choose", "mixed", lambda: choose(cell(PLAIN, protocol="mixed"))),  # type: ignore[arg-type]
    ("choose", "mixed", lambda: choose(cell(PLAIN, protocol="mixed"), "autograd")),  # type: ignore[arg-type]
    ("loss_rows", "extra", extra),
    ("trainer", "turbo", lambda: trainer(Stack((cell(PLAIN),), "turbo"), dataset(), "cpu")),  # type: ignore[arg-type]
    ("parts", "turbo", lambda: list(parts(Stack((cell(PLAIN),), "turbo"), {cell(PLAIN): NEW}, [1], V, "cpu"))),  # type: ignore[arg-type]
    ("seconds", "turbo", lambda: seconds(Stack((cell(PLAIN),), "turbo"))),  # type: ignore[arg-type]
    ("collect_tables", "spare", lambda: collected(spec(), kind="spare")),
    ("reading_at", "frozen", lambda: collected(spec(**FROZEN))),
    ("reading_at", "frozen", lambda: results(spec()).loss(spec(**FROZEN).conditions[0], "train", 0)),
    ("reading_at", "frozen", lambda: results(spec()).metric(spec(**FROZEN).conditions[0], "h_std", 0, 1)),
]


@pytest.mark.parametrize(("where", "name", "reached"), BRANCHES, ids=[f"{where} {name}" for where, name, _ in BRANCHES])
def test_a_branch_that_is_reached_refuses_the_kind(where: str, name: str, reached: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match=unknown(name, where)):
        reached()


def test_random_numbers_are_drawn_by_a_known_protocol_alone() -> None:
    with pytest.raises(ValueError, match="expected the protocol paired or lecture, got 'mixed'"):
        streams(0, "mixed")


def test_a_claim_by_a_comparison_without_a_judge_is_refused_by_its_name(far: Comparison) -> None:
    line = "{}:{}".format(*far.origin[0])
    with pytest.raises(SpecError) as refused:
        judge_claims(results(replace(spec(), claims=(ClaimEntry(**CLAIM, far=3.0),))))
    assert one_line(str(refused.value)).startswith(f"{line}: the comparison 'far' has no judge; add ")
