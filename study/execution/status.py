"""The states of cells for `study plan`: done, new or stale, and the reason. No torch."""

from __future__ import annotations

from collections.abc import Container

from study.execution.cache import Store, recall, remember
from study.execution.keys import KEY_FORMAT, Facts, difference
from study.execution.plan import Plan, Use
from study.spec.records import Spec
from study.training.cells import Cell
from study.training.trajectory import Trajectory


def statuses(spec: Spec, work: Plan, store: Store) -> dict[Cell, str]:
    """The state of every cell in words: `done`, `new`, `stale: training.steps 10000 → 200000`."""
    earlier = recall(store.cache, _study(spec))
    return {cell: _status(cell, uses[0], work, store, earlier) for cell, uses in work.uses.items()}


def _status(cell: Cell, use: Use, work: Plan, store: Store, earlier: dict[str, dict[str, Facts]]) -> str:
    engine = work.engines[cell]
    if store.measured(cell, engine):
        return "done"
    trajectory, known = store.trajectory(cell, engine), earlier.get(_slot(cell, use))
    if trajectory is not None:
        again = "" if known is None else _again(known["measuring"], store.keys.measuring(cell, engine))
        return _trained(cell, trajectory, store, again)
    if known is None:
        return "new"
    if known["training"].get("format", 0) < KEY_FORMAT:  # its facts may have had another meaning
        return "stale: made by an older version"
    reason = difference(known["training"], store.keys.training(cell, engine))
    return f"stale: {reason}" if reason else "new: its entry is gone from the cache"


def _trained(cell: Cell, trajectory: Trajectory, store: Store, again: str) -> str:
    """The state of a cell that has a trajectory, finished or not, and no rows.

    `again` is the reason for which it has none.
    """
    left = store.lacking(cell, trajectory)
    if trajectory.step < cell.schedule.steps:
        return f"stopped at step {trajectory.step:,}; {left:,} steps to go"
    first = f"trained; {left:,} steps of it again, for states that were not kept; then" if left else "trained;"
    return f"{first} to be measured" + (f" again: {again}" if again else "")


def _again(measured: Facts, now: Facts) -> str:
    """The reason for which a cell is measured again."""
    old, new = ({k: v for k, v in facts.items() if k != "training"} for facts in (measured, now))
    return difference(old, new) or "its rows are gone"


def remember_keys(spec: Spec, work: Plan, store: Store, done: Container[Cell]) -> None:
    """Keep the facts of the finished cells, so that the next plan can name the differences."""
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
    """The place of a cell in its study, which does not depend on the cell's network or schedule."""
    return f"{use.kind} {use.condition.name}, seed {cell.seed}{', twin' if cell.twin else ''}"
