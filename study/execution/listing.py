"""The text of a plan: the cells, stacks and shards of a study, and the expected duration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from study.data.source import kind_of
from study.execution.plan import makespan
from study.execution.prepare import Prepared, prepare
from study.execution.states import Kept, kept, seconds_of_states, work_left
from study.execution.status import statuses
from study.measurement.initial import Block
from study.network.layers import Layer, Network
from study.spec.describe import schedule_words
from study.spec.records import Spec
from study.training.cells import Cell, Stack
from study.training.identity import cell_id


def plan_text(spec: Spec, workers: int, engine: str, device: str, cache: Path) -> str:
    """The cells of a study and their states in the cache, its stacks and shards, and the expected duration."""
    made = prepare(spec, engine, device, cache)
    found, work, store = made.examples, made.plan, made.store
    states, kind = statuses(spec, work, store), kind_of(spec.data)
    shards = work.shards({cell for cell, state in states.items() if state == "done"})
    cells = f" ({_counts(states.values())}):" if states else ": no condition has a training"
    lines = [
        f"{spec.title}: {spec.name}, profile {spec.profile}",
        (
            f"data: {spec.data.path or kind.name}, {found.size}, {len(found.classes)} {kind.noun}s,"
            f" {found.examples('train'):,} training examples"
        ),
        *([f"extensions: {', '.join(one.name for one in spec.extensions)}"] if spec.extensions else []),
        "",
        f"{len(work.uses)} cells{cells}",
    ]
    for cell, uses in work.uses.items():
        words_ = {"condition": "", "published": "published ", "twin": "twin of " if cell.twin else "for the twin of "}
        readers = ", ".join(dict.fromkeys(words_[use.kind] + use.condition.name for use in uses))
        steps = f"{cell.schedule.steps:>9,} steps"
        lines.append(f"  {cell_id(cell)}  seed {cell.seed:<10} {cell.protocol:<7} {steps}  {readers}: {states[cell]}")
    if work.stacks:
        lines += ["", f"{len(work.stacks)} stacks of one graph, schedule and engine:"]
    for stack in work.stacks:
        reasons = sorted({work.reasons[cell] for cell in stack.cells if cell in work.reasons})
        why = f" ({'; '.join(reasons)})" if reasons else ""
        shape = graph(stack.network, len(found.classes))
        lines.append(f"  {len(stack.cells):>3} models  {stack.engine}{why}  {shape}  {schedule_words(stack.schedule)}")
    lines += _states(made, workers)
    if not work.uses:
        return "\n".join(lines)
    if not shards:
        return "\n".join([*lines, "", "nothing to train: every cell is done"])
    sizes = ", ".join(f"{n} of {size}" for size, n in Counter(len(shard.cells) for shard in shards).items())
    lines += ["", f"{len(shards)} shards, longest first, by number of models: {sizes}"]
    left = {cell: n for shard in shards for cell in shard.cells if (n := store.left(cell, shard.engine))}
    if not left:
        return "\n".join([*lines, "nothing to train: what is not done is to be measured"])
    workers = min(workers, len(shards))
    rest = [part for shard in shards if (part := _rest(shard, left))]
    minutes = makespan(rest, workers or 1, len(found.classes)) / 60
    where = f"on {workers} workers" if workers else "in one process"
    lines += [f"{sum(left.values()):,} model-steps: about {minutes:,.1f} minutes of training {where}"]
    return "\n".join(lines)


def _states(made: Prepared, workers: int) -> list[str]:
    """Lines about the initial states: the conditions that have some, how many are left, and the expected duration."""
    if not made.states.blocks:
        return []
    lines, found = ["", "initial states, which are drawn and measured, and not trained:"], dict[Block, Kept]()
    for why, blocks in (("", made.states.drawn), (", in place of a training", made.states.untrained)):
        for name, block in blocks.items():
            again = ", shared with a condition above" if block in found else ""
            found.setdefault(block, kept(made.store, block))
            missing = found[block].missing
            left = 0 if missing is None else len(missing.seeds)
            state = f"{left:,} to be drawn" if left else "all in the cache"
            lines.append(f"  {len(block.seeds):>7,}  {name}{why}{again}: {state}")
    work = work_left(found.values())
    if work:
        minutes = seconds_of_states(work, made.examples) / min(workers or 1, len(work)) / 60
        where = f"on {workers} workers" if workers else "in one process"
        lines.append(f"{sum(map(len, work)):,} states to be drawn: about {minutes:,.1f} minutes {where}")
    return lines


def _rest(shard: Stack, left: dict[Cell, int]) -> Stack | None:
    """The rest of a shard that is still to be trained, or None. All its cells count as far back as the last of them."""
    cells = [cell for cell in shard.cells if cell in left]
    steps = max((left[cell] for cell in cells), default=0)
    return (
        Stack(tuple(replace(cell, schedule=cell.schedule.first(steps)) for cell in cells), shard.engine)
        if cells
        else None
    )


def _counts(states: Iterable[str]) -> str:
    """`300 done, 36 stale`"""
    return ", ".join(f"{n} {state}" for state, n in Counter(re.split("[:;]", state)[0] for state in states).items())


def graph(network: Network, vocabulary: int) -> str:
    """`3×10 → 200 tanh → 27`, with the norms."""
    if not network.model.layered:
        return f"{network.model.label}, {' + '.join(f'{a}×{b}' for a, b in network.shapes(vocabulary))}"
    parts = [f"{network.context}×{network.embedding_size}"]
    for (_, width), layer in zip(network.shapes(vocabulary), network.layers, strict=True):
        parts.append(f"{width}{_kinds(layer)}")
    return " → ".join(parts)


def _kinds(layer: Layer) -> str:
    """` BatchNorm tanh`; nothing for a layer without a norm and an activation."""
    words = (layer.norm_words if layer.norm != "none" else "", layer.activation if layer.activation != "linear" else "")
    return "".join(f" {word}" for word in words if word)
