"""Find the initial states of a study: those that it asks for, and those of them that the cache holds. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from study.data.source import Examples
from study.data.words import SPLITS
from study.execution.cache import Store
from study.measurement.initial import SCHEMA, Block, States, Wanted, together
from study.spec.records import Condition, Spec

# the duration of a state on one core: what it takes for any network, and for each number of hidden layers and logits
EACH, NUMBER = 2e-3, 3.2e-8  # seconds
CALIBRATED = 1.5  # times as long for a network with BatchNorm


@dataclass(frozen=True)
class InitialStates:
    """The initial states of a study, by the name of the condition. Conditions with one network share their states."""

    drawn: dict[str, Block]  # those of the key `initial_states`, beside the trainings
    untrained: dict[str, Block]  # those of the conditions without a training, one for each seed of the study

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All distinct blocks, in the order of the study."""
        return tuple(dict.fromkeys((*self.untrained.values(), *self.drawn.values())))


def states_of(spec: Spec) -> InitialStates:
    """The initial states that a study asks for."""
    written = [condition for condition in spec.conditions if not condition.sweep]
    drawn = {c.name: Block(c.network, spec.initial_states) for c in written if spec.initial_states}
    return InitialStates(
        drawn, {c.name: Block(c.network, spec.seeds, _in_place_of_training(c)) for c in written if c.untrained}
    )


def _in_place_of_training(condition: Condition) -> Wanted:
    """The measurements of a condition without a training: of its gradients only what its claims ask for."""
    schedule = condition.schedule
    if not condition.gradients:
        return Wanted(SPLITS)
    return Wanted(SPLITS, schedule.batch_size, schedule.rate(0) if schedule.lr else None)


@dataclass(frozen=True)
class Kept:
    """The rows of a block's states that are known, and the states that are to be measured."""

    tables: tuple[pa.Table, ...]
    missing: Block | None


def kept(store: Store, block: Block) -> Kept:
    """The part of a block that the cache holds."""
    tables, known = [], set[int]()
    for number, part in block.entries().items():
        entry = store.states(part, number)
        if entry is not None:
            tables.append(entry.filter(pc.is_in(entry["seed"], pa.array(part.seeds, pa.int64()))))
            known |= set(pc.unique(tables[-1]["seed"]).to_pylist())
    return Kept(tuple(tables), block.without(known))


def keep(store: Store, block: Block, rows: pa.Table) -> None:
    """Keep the rows of a block in the cache, beside those of other seeds of the same entry."""
    for number, part in block.entries().items():
        own = pa.array(part.seeds, pa.int64())
        before = store.states(part, number)
        others = [] if before is None else [before.filter(pc.invert(pc.is_in(before["seed"], own)))]
        store.keep_states(part, number, pa.concat_tables([*others, rows.filter(pc.is_in(rows["seed"], own))]))


def work_left(found: Iterable[Kept]) -> list[States]:
    """The states that are to be measured, as units of work."""
    return list(together([one.missing for one in found if one.missing is not None]))


def in_order(tables: Iterable[pa.Table]) -> pa.Table:
    """The rows of the states of one block, by seed. The rows of one state stay in their order."""
    whole = pa.concat_tables([SCHEMA.empty_table(), *tables])
    return whole.take(pc.sort_indices(whole, [("seed", "ascending")]))  # it is stable


def seconds_of_states(work: Iterable[States], found: Examples) -> float:
    """The expected seconds of states on one core, roughly."""
    total = 0.0
    for states in work:
        network = states.network
        numbers = sum(network.widths) + len(found.classes)
        cost = EACH + NUMBER * numbers * found.contexts(network.context)
        total += len(states) * cost * (CALIBRATED if network.layers_with_statistics else 1)
    return total
