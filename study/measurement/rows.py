"""The rows of a cell as Arrow tables: from the worker, through the cache, to the tables of the study. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from study.tables import REAL, TABLES, TEXT, WHOLE

Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """The measurements that a study asks for, of every cell."""

    measure: tuple[int, ...]  # the steps to measure, besides the first and the last
    batch_sizes: tuple[int, ...]


def _without_condition(name: str) -> pa.Schema:
    return pa.schema([(column, type_) for column, type_ in TABLES[name].items() if column != "condition"])


# The tables of a cell. A cell is trained for all conditions that read it, so that no row names a condition.
SCHEMAS: dict[str, pa.Schema] = {
    **{name: _without_condition(name) for name in ("losses", "curves", "metrics", "pictures")},
    # the counts of one seed, before those of all seeds are added up
    "histograms": pa.schema(
        [
            ("step", WHOLE),
            ("layer", WHOLE),
            ("quantity", TEXT),
            ("edges", pa.list_(REAL)),
            ("counts", pa.list_(REAL)),
        ]
    ),
    "twins": pa.schema([("step", WHOLE), ("distance", REAL)]),
    "cells": pa.schema([("seed", WHOLE), ("status", TEXT), ("step", WHOLE), ("sha256", TEXT)]),
}


@dataclass(frozen=True)
class Rows:
    """The tables of one cell, by name, with the columns of SCHEMAS."""

    tables: Mapping[str, pa.Table]

    def __getitem__(self, name: str) -> pa.Table:
        return self.tables[name]

    def listed(self, name: str) -> list[Row]:
        """The rows of a table as dictionaries. This is for tables with few rows."""
        found: list[Row] = self.tables[name].to_pylist()
        return found

    def encode(self) -> bytes:
        """The tables as one Arrow stream, which has one row, with a list for every table."""
        lists = {}
        for name, table in self.tables.items():
            columns = [column.combine_chunks() for column in table.columns]
            struct = pa.StructArray.from_arrays(columns, fields=list(SCHEMAS[name]))
            lists[name] = pa.ListArray.from_arrays(pa.array([0, len(struct)], pa.int32()), struct)
        sink = pa.BufferOutputStream()
        whole = pa.table(lists)
        with pa.ipc.new_stream(sink, whole.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(whole)
        content: bytes = sink.getvalue().to_pybytes()
        return content


def as_rows(found: Mapping[str, list[Row]]) -> Rows:
    """The rows of the tables as Arrow. A missing table has no rows, and a missing value is empty."""
    assert set(found) <= set(SCHEMAS), f"unknown tables {set(found) - set(SCHEMAS)}"
    made = {}
    for name, schema in SCHEMAS.items():
        entries = found.get(name, [])
        unknown = {column for row in entries for column in row} - set(schema.names)
        assert not unknown, f"{name}: unknown columns {unknown}"
        arrays = [pa.array([row.get(field.name) for row in entries], type=field.type) for field in schema]
        made[name] = pa.Table.from_arrays(arrays, schema=schema)
    return Rows(made)


def decode(content: bytes) -> Rows:
    """The rows in `content`. ValueError: it holds no stream. KeyError: a table is missing."""
    try:
        with pa.ipc.open_stream(content) as reader:
            whole = reader.read_all()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from None
    made = {}
    for name, schema in SCHEMAS.items():
        struct = whole[name].combine_chunks().flatten()  # KeyError where a table is missing
        made[name] = pa.Table.from_arrays(struct.flatten(), names=struct.type.names).cast(schema)
    return Rows(made)
