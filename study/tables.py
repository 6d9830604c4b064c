"""The tables that a study makes of its trainings: their columns, and their rows as Arrow and pandas. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:  # a plan needs the columns alone
    import pandas as pd

TEXT, WHOLE, REAL, YES = pa.string(), pa.int64(), pa.float64(), pa.bool_()
SINGLE = pa.float32()  # for half a million means of float32 losses, whose 16th digit nobody needs


TABLES: dict[str, dict[str, pa.DataType]] = {
    "conditions": {
        "condition": TEXT,
        "title": TEXT,
        "parent": TEXT,
        "group": TEXT,
        "statistics": TEXT,
        "changes": TEXT,
        "steps": WHOLE,
        "cell": TEXT,
    },
    "losses": {
        "condition": TEXT,
        "seed": WHOLE,
        "step": WHOLE,
        "split": TEXT,
        "statistics": TEXT,
        "batch_size": WHOLE,
        "examples": WHOLE,
        "loss": REAL,
    },
    "curves": {
        "condition": TEXT,
        "seed": WHOLE,
        "first": WHOLE,
        "step": REAL,
        "loss": SINGLE,
    },
    "metrics": {
        "condition": TEXT,
        "seed": WHOLE,
        "step": WHOLE,
        "layer": WHOLE,
        "parameter": TEXT,
        "statistics": TEXT,
        "metric": TEXT,
        "value": REAL,
    },
    "measures": {
        "metric": TEXT,
        "label": TEXT,
        "unit": TEXT,
        "format": TEXT,
        "better": TEXT,
        "of": TEXT,
        "interval": TEXT,
        "lost": TEXT,
    },
    "states": {
        "condition": TEXT,
        "seed": WHOLE,
        "split": TEXT,
        "layer": WHOLE,
        "parameter": TEXT,
        "statistics": TEXT,
        "metric": TEXT,
        "value": REAL,
    },
    "histograms": {
        "condition": TEXT,
        "step": WHOLE,
        "layer": WHOLE,
        "quantity": TEXT,
        "left": REAL,
        "right": REAL,
        "share": REAL,
        "density": REAL,
    },
    "pictures": {
        "condition": TEXT,
        "seed": WHOLE,
        "step": WHOLE,
        "layer": WHOLE,
        "example": WHOLE,
        "units": TEXT,
    },
    "probe": {
        "init": TEXT,
        "fan_in": WHOLE,
        "seed": WHOLE,
        "std_x": REAL,
        "std_y": REAL,
    },
    "published": {
        "condition": TEXT,
        "title": TEXT,
        "parent": TEXT,
        "origin": TEXT,
        "source": TEXT,
        "split": TEXT,
        "statistics": TEXT,
        "published": REAL,
        "reproduced": REAL,
        "tolerance": REAL,
        "steps": WHOLE,
        "comparable": YES,
    },
    "twins": {
        "condition": TEXT,
        "seed": WHOLE,
        "steps": WHOLE,
        "step": WHOLE,
        "distance": REAL,
        "loss_gap": REAL,
    },
    "cells": {
        "cell": TEXT,
        "condition": TEXT,
        "seed": WHOLE,
        "protocol": TEXT,
        "engine": TEXT,
        "twin": YES,
        "steps": WHOLE,
        "status": TEXT,
        "step": WHOLE,
        "sha256": TEXT,
    },
}

Tables = Mapping[str, "pd.DataFrame"]


def arrow_schema(name: str) -> pa.Schema:
    """The Arrow schema of a table."""
    return pa.schema(list(TABLES[name].items()))


def frame(name: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows as the pandas table `name`, with its columns in their order and with their types."""
    return pandas(arrow(name, rows))


def arrow(name: str, rows: list[dict[str, object]]) -> pa.Table:
    """Rows as the Arrow table `name`, which takes a tenth of the memory of the rows."""
    columns = TABLES[name]
    for row in rows[:1]:
        assert set(row) <= set(columns), f"{name}: unknown columns {set(row) - set(columns)}"
    arrays = [pa.array([row.get(column) for row in rows], type=type_) for column, type_ in columns.items()]
    return pa.Table.from_arrays(arrays, schema=arrow_schema(name))


def named(table: pa.Table, condition: str) -> pa.Table:
    """The rows of a cell as rows of a condition, whose name is in the first column."""
    return table.add_column(0, pa.field("condition", TEXT), pa.repeat(pa.scalar(condition, TEXT), table.num_rows))


def pandas(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a pandas table. Whole numbers stay whole, also in a column with empty values."""
    import pandas as pd

    types = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype(), pa.bool_(): pd.BooleanDtype()}
    found = table.to_pandas(types_mapper=types.get)
    return found.astype({field.name: "float64" for field in table.schema if field.type == SINGLE})
