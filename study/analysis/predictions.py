"""The predictions for a condition: computed, or from the table that a run wrote, where extensions are not loaded."""

from __future__ import annotations

import hashlib
import math
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from study.analysis.results import PREDICTIONS, Results
from study.analysis.theory import predict
from study.files import replace
from study.spec.records import Condition

COLUMNS = {  # with the meaning of each
    "condition": (pa.string(), "name of the condition"),
    "layer": (pa.int64(), "layer, counted from 1 as in W1"),
    "metric": (pa.string(), "name of the measurement before the first step, or initial_loss"),
    "predicted": (pa.float64(), "the prediction; NaN where there is none"),
    "error": (pa.float64(), "error of the prediction"),
    "method": (pa.string(), "how it was found, or why there is none"),
}


def predictions(results: Results, condition: Condition) -> pd.DataFrame:
    """The predictions for a condition, a row for each layer and metric.

    Where the condition uses an entry of an extension that is not loaded, they are those that the run has written.
    """
    loaded = all(condition.network.entries.values())  # an entry without code has an empty origin
    if loaded or results.predictions is None:
        data, network = results.facts["data"], condition.network
        given = results.vocabulary, _patterns(results, condition), data["examples"]["train"], data["targets"]
        found = predict(network, *given)
        if "repeats" in data:
            return found
        why = f"no prediction: the source does not tell which {results.noun}s repeat in a context"
        return found.assign(predicted=math.nan, error=math.nan, method=why)
    table = results.predictions
    return table[table["condition"] == condition.name].drop(columns="condition").reset_index(drop=True)


def write_predictions(results: Results, folder: Path) -> str:
    """Write the predictions for all conditions as folder/data/predictions.parquet; return the sha256."""
    found = [predictions(results, c).assign(condition=c.name) for c in results.conditions]
    schema = pa.schema([pa.field(name, kind, metadata={"what": what}) for name, (kind, what) in COLUMNS.items()])
    table = pa.Table.from_pandas(pd.concat(found)[list(COLUMNS)], schema=schema, preserve_index=False)
    written = BytesIO()
    pq.write_table(table.replace_schema_metadata(None), written, compression="zstd")
    replace(folder / "data" / f"{PREDICTIONS}.parquet", written.getvalue())
    return hashlib.sha256(written.getvalue()).hexdigest()


def _patterns(results: Results, condition: Condition) -> dict[tuple[int, ...], float] | None:
    """The share of the contexts by their pattern of repeated inputs. None: the source does not tell it."""
    if "repeats" not in results.facts["data"]:
        return None
    stored = results.facts["data"]["repeats"][str(condition.network.context)]
    return {tuple(int(n) for n in key.split(" ")): share for key, share in stored.items()}
