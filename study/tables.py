"""The tables that training ends in: columns, types and units of each; write and read Parquet. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from study.errors import SpecError

TEXT, WHOLE, REAL, YES = pa.string(), pa.int64(), pa.float64(), pa.bool_()
SINGLE = pa.float32()  # half a million means of float32 losses: nobody needs their 16th digit


@dataclass(frozen=True)
class Column:
    """One column: its type, and what it holds with its unit. A value that does not apply is empty."""

    type: pa.DataType
    what: str


CONDITION = Column(TEXT, "name of the condition")
SEED = Column(WHOLE, "seed: the unit of replication")
STEP = Column(WHOLE, "SGD steps taken before the reading")
STATISTICS = Column(TEXT, "BatchNorm statistics of the reading: running, calibrated, batch; none without a norm")
LAYER = Column(WHOLE, "level, counted from 1 as in W1")

TABLES: dict[str, dict[str, Column]] = {
    "conditions": {
        "condition": CONDITION,
        "title": Column(TEXT, "title of the condition"),
        "parent": Column(TEXT, "condition that it comes from"),
        "group": Column(TEXT, "group that it is shown with"),
        "statistics": Column(TEXT, "statistics that it is read with"),
        "changes": Column(TEXT, "what it changes of its parent"),
        "steps": Column(WHOLE, "length of its training"),
        "cell": Column(TEXT, "identity of its training, seed aside: equal for conditions that share one"),
    },
    "losses": {
        "condition": CONDITION,
        "seed": SEED,
        "step": STEP,
        "split": Column(TEXT, "train, dev or test"),
        "statistics": STATISTICS,
        "batch_size": Column(WHOLE, "examples normalised together; empty for a reading of the full split"),
        "examples": Column(WHOLE, "examples of the reading"),
        "loss": Column(REAL, "mean cross-entropy, nats"),
    },
    "curves": {
        "condition": CONDITION,
        "seed": SEED,
        "first": Column(WHOLE, "first step of the bin"),
        "step": Column(REAL, "middle of the bin, steps"),
        "loss": Column(SINGLE, "mean minibatch loss in the bin, nats"),
    },
    "metrics": {
        "condition": CONDITION,
        "seed": SEED,
        "step": STEP,
        "layer": LAYER,
        "parameter": Column(TEXT, "parameter that a gradient belongs to"),
        "statistics": STATISTICS,
        "metric": Column(TEXT, "name of the measurement"),
        "value": Column(REAL, "its value; shares from 0 to 1"),
    },
    "histograms": {
        "condition": CONDITION,
        "step": STEP,
        "layer": LAYER,
        "quantity": Column(TEXT, "preact (as the activation sees it), h or logits"),
        "left": Column(REAL, "left edge of the bin"),
        "right": Column(REAL, "right edge of the bin"),
        "share": Column(REAL, "share of all values in the bin, pooled over seeds"),
        "density": Column(REAL, "share divided by width; empty for the two bins without an end"),
    },
    "pictures": {
        "condition": CONDITION,
        "seed": SEED,
        "step": STEP,
        "layer": LAYER,
        "example": Column(WHOLE, "example of the next minibatch"),
        "units": Column(TEXT, "one digit per unit: 1 where |h| > 0.99"),
    },
    "probe": {
        "init": Column(TEXT, "how w is scaled, and what follows"),
        "fan_in": Column(WHOLE, "columns of x"),
        "seed": SEED,
        "std_x": Column(REAL, "standard deviation of x"),
        "std_y": Column(REAL, "standard deviation of x @ w, or of tanh of it"),
    },
    "published": {
        "condition": Column(TEXT, "name of the published run"),
        "title": Column(TEXT, "title of the published run"),
        "parent": Column(TEXT, "condition that it repeats or changes"),
        "origin": Column(TEXT, "where in the source the number stands"),
        "source": Column(TEXT, "whose numbers"),
        "split": Column(TEXT, "train or dev"),
        "statistics": STATISTICS,
        "published": Column(REAL, "loss as published, nats"),
        "reproduced": Column(REAL, "loss as trained here, nats"),
        "tolerance": Column(REAL, "largest difference that counts as reproduced, nats; empty: shown, not judged"),
        "steps": Column(WHOLE, "steps trained here"),
        "comparable": Column(YES, "whether the training here is the published one, to the last step"),
    },
    "twins": {
        "condition": CONDITION,
        "seed": SEED,
        "steps": Column(WHOLE, "length of the pair's training"),
        "step": STEP,
        "distance": Column(
            REAL, "|θ' − θ| / |θ| over all parameters; θ' started one unit in the last place of one weight away"
        ),
        "loss_gap": Column(REAL, "dev loss of the twin minus that of the original, nats; where both were read"),
    },
    "cells": {
        "cell": Column(TEXT, "identity of the training: sha256 of setup, seed, protocol and schedule"),
        "condition": CONDITION,
        "seed": SEED,
        "protocol": Column(TEXT, "random protocol: paired, or lecture for the published runs"),
        "engine": Column(TEXT, "engine that trained it"),
        "twin": Column(YES, "whether it is a twin, one unit in the last place of one weight away"),
        "steps": Column(WHOLE, "length of the training"),
        "status": Column(
            TEXT, "done, diverged (a NaN or an infinity in loss or parameters), or failed (an error, no rows)"
        ),
        "step": Column(WHOLE, "first step with a loss that is not finite; empty unless diverged"),
        "sha256": Column(TEXT, "of the final parameters and running statistics"),
    },
}


def schema(name: str) -> pa.Schema:
    """Arrow schema of a table; every column carries its description."""
    fields = [pa.field(column, c.type, metadata={"what": c.what}) for column, c in TABLES[name].items()]
    return pa.schema(fields)


def frame(name: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows as the table `name`: its columns, in order, with its types."""
    return pandas(arrow(name, rows))


def arrow(name: str, rows: list[dict[str, object]]) -> pa.Table:
    """The same in Arrow, a tenth of the memory of the rows."""
    columns = TABLES[name]
    for row in rows[:1]:
        assert set(row) <= set(columns), f"{name}: unknown columns {set(row) - set(columns)}"
    arrays = [pa.array([row.get(c) for row in rows], type=spec.type) for c, spec in columns.items()]
    return pa.Table.from_arrays(arrays, schema=schema(name))


def named(table: pa.Table, condition: str) -> pa.Table:
    """The table with every row of this condition."""
    names = pa.repeat(pa.scalar(condition, pa.string()), table.num_rows)
    return table.set_column(0, table.schema.field("condition"), names)


def pandas(table: pa.Table) -> pd.DataFrame:
    """Arrow as pandas; whole numbers that may be empty stay whole."""
    types = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype(), pa.bool_(): pd.BooleanDtype()}
    found = table.to_pandas(types_mapper=types.get)
    return found.astype({field.name: "float64" for field in table.schema if field.type == SINGLE})


def write(name: str, table: pd.DataFrame, folder: Path) -> str:
    """The table as folder/name.parquet: same rows, same bytes. Returns the sha256 of the file."""
    assert list(table.columns) == list(TABLES[name]), f"{name}: {list(table.columns)}"
    arrow = pa.Table.from_pandas(table, schema=schema(name), preserve_index=False)
    path = folder / f"{name}.parquet"
    real = [column for column, c in TABLES[name].items() if pa.types.is_floating(c.type)]
    pq.write_table(
        arrow.replace_schema_metadata(None),
        path,
        compression="zstd",
        compression_level=9,
        # numbers compress byte by byte, everything else repeats
        use_byte_stream_split=real or False,
        use_dictionary=[column for column in TABLES[name] if column not in real],
    )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """All tables in a folder; a missing, damaged or foreign file is the user's to know."""
    tables = {}
    for name, columns in TABLES.items():
        path = folder / f"{name}.parquet"
        try:
            arrow = pq.read_table(path)
            foreign = arrow.schema.names != list(columns) or arrow.schema.types != [c.type for c in columns.values()]
            tables[name] = pandas(arrow)
        except FileNotFoundError:
            raise SpecError(f"{path}: not there; make the tables with `study run`") from None
        except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: text that is not UTF-8
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise SpecError(f"{path}: not a readable table ({reason:.80}); remake it with `study run`") from None
        if foreign:
            raise SpecError(f"{path}: columns are not those of this version; remake it with `study run`")
    return tables


Tables = Mapping[str, pd.DataFrame]
