"""The records of initial states: networks that are drawn and measured, and never trained.

This module loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from study.data.words import SplitName
from study.network.layers import Network
from study.tables import TABLES

# The states of one entry of the cache: those whose seeds have the same quotient. A larger entry would be drawn again as
# a whole where it is lost; a smaller one would make ten thousand files of ten thousand states.
SEEDS = 100

# The columns of a state's rows. Conditions with the same network share its states, so that no row names a condition.
SCHEMA = pa.schema([(column, type_) for column, type_ in TABLES["states"].items() if column != "condition"])


@dataclass(frozen=True)
class Wanted:
    """The measurements of a state besides all metrics of its layers and its output on the training split."""

    splits: tuple[SplitName, ...] = ("train",)  # the splits whose loss is read
    batch_size: int | None = None  # of the minibatch on which gradients are measured; None: no gradients are measured
    lr: float | None = None  # the rate that update_ratio takes; None: this metric is not measured


@dataclass(frozen=True)
class Block:
    """Initial states of one network: the network, drawn with each of the seeds by the paired protocol."""

    network: Network
    seeds: tuple[int, ...]
    wanted: Wanted = Wanted()

    @property
    def graph(self) -> object:
        """The properties that are equal in a stack of states."""
        return self.network.graph, self.wanted

    def entries(self) -> dict[int, Block]:
        """The parts of the block that lie in one entry of the cache each, by the number of the entry."""
        found: dict[int, list[int]] = {}
        for seed in self.seeds:
            found.setdefault(seed // SEEDS, []).append(seed)
        return {number: replace(self, seeds=tuple(seeds)) for number, seeds in found.items()}

    def without(self, seeds: Iterable[int]) -> Block | None:
        """The block without some seeds, or None where no seed is left."""
        left = tuple(seed for seed in self.seeds if seed not in set(seeds))
        return replace(self, seeds=left) if left else None


@dataclass(frozen=True)
class States:
    """Blocks of one graph, which are drawn and measured together: a unit of work, as a shard is one of training."""

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        kinds = {block.graph for block in self.blocks}
        assert len(kinds) == 1, f"states that are measured together have one graph, got {len(kinds)}"

    @property
    def network(self) -> Network:
        """The network of the first block. All blocks share its graph, but not its scales."""
        return self.blocks[0].network

    @property
    def wanted(self) -> Wanted:
        """The measurements of every state."""
        return self.blocks[0].wanted

    def __len__(self) -> int:
        """The number of states."""
        return sum(len(block.seeds) for block in self.blocks)

    def single(self) -> list[States]:
        """The same states one by one."""
        return [States((replace(block, seeds=(seed,)),)) for block in self.blocks for seed in block.seeds]


def together(blocks: Sequence[Block]) -> Iterator[States]:
    """Put blocks of one graph together, in their order, at most SEEDS states at a time."""
    by_graph: dict[object, list[Block]] = {}
    for block in blocks:
        by_graph.setdefault(block.graph, []).append(block)
    for alike in by_graph.values():
        part: list[Block] = []
        for block in (entry for one in alike for entry in one.entries().values()):
            if part and sum(len(b.seeds) for b in (*part, block)) > SEEDS:
                yield States(tuple(part))
                part = []
            part.append(block)
        yield States(tuple(part))


def as_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of states as an Arrow table with the columns of SCHEMA."""
    arrays = [pa.array([row.get(field.name) for row in rows], type=field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def encode(table: pa.Table) -> bytes:
    """The rows of states as one Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode(content: bytes) -> pa.Table:
    """The rows of states in `content`. ValueError: it holds none."""
    try:
        with pa.ipc.open_stream(content) as reader:
            table = reader.read_all()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from None
    if table.schema != SCHEMA:
        raise ValueError("its columns are not those of a state")
    return table
