"""Write tables as Parquet files, with a description of each column, and read them again. This module loads no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from study.errors import SpecError
from study.tables import TABLES, pandas

SHARED = {  # columns that mean the same in every table
    "condition": "name of the condition",
    "seed": "seed: the unit of replication",
    "step": "SGD steps taken before the reading",
    "statistics": "BatchNorm statistics of the reading: running, calibrated, batch; none without a norm",
    "layer": "layer, counted from 1 as in W1",
}
# the descriptions of the other columns, with their units; a value that does not apply is empty
WHAT: dict[str, dict[str, str]] = {
    "conditions": {
        "title": "title of the condition",
        "parent": "condition that it comes from",
        "group": "group that it is shown with",
        "statistics": "statistics that it is read with",
        "changes": "what it changes of its parent",
        "steps": "length of its training",
        "cell": "identity of its training, seed aside: equal for conditions that share one",
    },
    "losses": {
        "split": "train, dev or test",
        "batch_size": "examples normalised together; empty for a reading of the full split",
        "examples": "examples of the reading",
        "loss": "mean cross-entropy, nats",
    },
    "curves": {
        "first": "first step of the bin",
        "step": "middle of the bin, steps",
        "loss": "mean minibatch loss in the bin, nats",
    },
    "metrics": {
        "parameter": "parameter that a gradient belongs to",
        "metric": "name of the measurement",
        "value": "its value; shares from 0 to 1",
    },
    "measures": {
        "metric": "name of a measurement in `metrics`; `loss` and `probe` have tables of their own",
        "label": "name of the measurement for readers",
        "unit": "unit; empty for a plain number, % for a share, which is from 0 to 1 in the tables",
        "format": "format of a printed number, as Python's format() takes it",
        "better": "direction that is better: higher, lower; empty where neither is",
        "of": "subject of the measurement: layer, output, parameter or training",
        "interval": "interval of the mean over seeds: t, or bca for the BCa bootstrap",
        "lost": "word for a seed without a value",
    },
    "states": {
        "split": "split that a loss was read on; empty for metrics, which are read on the training split",
        "parameter": "parameter that a gradient belongs to",
        "metric": "loss, or the name of the measurement",
        "value": "its value before the first step; nats for a loss, shares from 0 to 1",
    },
    "histograms": {
        "quantity": "preact (as the activation sees it), h or logits",
        "left": "left edge of the bin",
        "right": "right edge of the bin",
        "share": "share of all values in the bin, pooled over seeds",
        "density": "share divided by width; empty for the two bins without an end",
    },
    "pictures": {
        "example": "example of the next minibatch",
        "units": "one digit per unit: 1 where |h| > 0.99",
    },
    "probe": {
        "init": "how w is scaled, and what follows",
        "fan_in": "columns of x",
        "std_x": "standard deviation of x",
        "std_y": "standard deviation of x @ w, or of tanh of it",
    },
    "published": {
        "condition": "name of the published run",
        "title": "title of the published run",
        "parent": "condition that it repeats or changes",
        "origin": "where in the source the number stands",
        "source": "whose numbers",
        "split": "train or dev",
        "published": "loss as published, nats",
        "reproduced": "loss as trained here, nats",
        "tolerance": "largest difference that counts as reproduced, nats; empty: shown, not judged",
        "steps": "steps trained here",
        "comparable": "whether the training here is the published one, to the last step",
    },
    "twins": {
        "steps": "length of the pair's training",
        "distance": "|θ' − θ| / |θ| over all parameters; θ' started one unit in the last place of one weight away",
        "loss_gap": "dev loss of the twin minus that of the original, nats; where both were read",
    },
    "cells": {
        "cell": "identity of the training: sha256 of setup, seed, protocol and schedule",
        "protocol": "random protocol: paired, or lecture for the published runs",
        "engine": "engine that trained it",
        "twin": "whether it is a twin, one unit in the last place of one weight away",
        "steps": "length of the training",
        "status": "done, diverged (a NaN or an infinity in loss or parameters), or failed (an error, no rows)",
        "step": "first step with a loss that is not finite; empty unless diverged",
        "sha256": "of the final parameters and running statistics",
    },
}


def described(name: str) -> pa.Schema:
    """The Arrow schema of a table. Every column has its description as metadata."""
    told = {**SHARED, **WHAT[name]}
    return pa.schema([pa.field(c, type_, metadata={"what": told[c]}) for c, type_ in TABLES[name].items()])


def write(name: str, table: pd.DataFrame | pa.Table, folder: Path) -> str:
    """Write a table as folder/name.parquet, and return the sha256 of the file. The same rows give the same bytes."""
    if isinstance(table, pa.Table):
        arrow = table.cast(described(name))
    else:
        assert list(table.columns) == list(TABLES[name]), f"{name}: {list(table.columns)}"
        arrow = pa.Table.from_pandas(table, schema=described(name), preserve_index=False)
    path = folder / f"{name}.parquet"
    real = [column for column, type_ in TABLES[name].items() if pa.types.is_floating(type_)]
    pq.write_table(
        arrow.replace_schema_metadata(None),
        path,
        compression="zstd",
        compression_level=9,
        # Numbers are compressed byte by byte; the values of all other columns repeat, so that a dictionary is smaller.
        use_byte_stream_split=real or False,
        use_dictionary=[column for column in TABLES[name] if column not in real],
    )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Read all tables in a folder. SpecError: a file is missing, damaged, or of another version."""
    tables = {}
    for name, columns in TABLES.items():
        path = folder / f"{name}.parquet"
        try:
            arrow = pq.read_table(path)
            foreign = arrow.schema.names != list(columns) or arrow.schema.types != list(columns.values())
            tables[name] = pandas(arrow)
        except FileNotFoundError:
            raise SpecError(f"{path}: not there; make the tables with `study run`") from None
        except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: text that is not UTF-8
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise SpecError(f"{path}: not a readable table ({reason:.80}); remake it with `study run`") from None
        if foreign:
            raise SpecError(f"{path}: columns are not those of this version; remake it with `study run`")
    return tables
