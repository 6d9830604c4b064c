"""Which cells of a study are done, new or stale, and why: what `study plan` says of the cache. No torch."""

from __future__ import annotations

from collections.abc import Container

from study.cache import Store, recall, remember
from study.keys import Facts, difference
from study.plan import Plan, Use
from study.setup import Cell
from study.spec import Spec


def statuses(spec: Spec, work: Plan, store: Store) -> dict[Cell, str]:
    """Every cell's state in words: `done`, `new`, `stale: training.steps 10000 → 200000`."""
    earlier = recall(store.cache, _study(spec))
    return {cell: _status(cell, uses[0], work, store, earlier) for cell, uses in work.uses.items()}


def _status(cell: Cell, use: Use, work: Plan, store: Store, earlier: dict[str, dict[str, Facts]]) -> str:
    engine = work.engines[cell]
    if store.measured(cell, engine):
        return "done"
    trajectory = store.trajectory(cell, engine)
    if trajectory is not None and trajectory.step < cell.training.steps:
        return f"stopped at step {trajectory.step:,}; goes on from there"
    known = earlier.get(_slot(cell, use))
    if known is None:
        return "new" if trajectory is None else "trained; to be measured"
    reason = difference(known["training"], store.keys.training(cell, engine))
    if trajectory is not None:
        old, now = ({k: v for k, v in facts.items() if k != "training"} for facts in
                    (known["measuring"], store.keys.measuring(cell, engine)))  # fmt: skip
        return f"trained; to be measured again: {difference(old, now) or 'its rows are gone'}"
    return f"stale: {reason}" if reason else "new: its entry is gone from the cache"


def note(spec: Spec, work: Plan, store: Store, done: Container[Cell]) -> None:
    """Remember what the finished cells depend on, so that the next plan can say what has changed."""
    facts = {
        _slot(cell, uses[0]): {
            "training": store.keys.training(cell, work.engines[cell]),
            "measuring": store.keys.measuring(cell, work.engines[cell]),
        }
        for cell, uses in work.uses.items()
        if cell in done
    }
    remember(store.cache, _study(spec), facts)


def _study(spec: Spec) -> str:
    return f"{spec.path.resolve()} {spec.profile}"


def _slot(cell: Cell, use: Use) -> str:
    """The place of a cell in its study, whatever it is made of."""
    return f"{use.kind} {use.condition.name}, seed {cell.seed}{', twin' if cell.twin else ''}"
