"""The tables of a report → every measurement in one form, with its label, and its estimate over seeds. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from study.analysis.estimate import Estimate, over_seeds
from study.analysis.values import Values
from study.errors import SpecError
from study.measurement.labels import Label
from study.spec.quantities import measures
from study.tables import Tables

Kind = Literal["loss", "metric", "other"]


class Place(NamedTuple):
    """The place of a measurement: its name, the condition (or the init of the probe), the part of it, and the step."""

    measure: str
    condition: str
    detail: str  # the layer, the parameter, the split, the statistics; empty for the whole output
    step: int


def labels(found: Tables) -> dict[str, Label]:
    """The label of every measurement: that of the table `measures`, and otherwise that of the registry.

    What the tables do not hold is a quantity that is computed from them, or was not measured in this profile.
    SpecError: a row of `measures` has a fact that this version does not know, or a metric of the tables has no row.
    """
    known = measures()
    for row in found["measures"].astype(object).fillna("").itertuples(index=False):
        try:
            known[row.metric] = Label(row.label, row.unit, row.format, row.better, row.of, row.interval, row.lost)
        except ValueError as error:
            problem = f"the metric '{row.metric}' {error}"
            raise SpecError(f"data/measures.parquet: {problem}; remake it with `study run`") from None
    for name in sorted(set(found["metrics"]["metric"].fillna("").unique()) - set(found["measures"]["metric"])):
        raise SpecError(f"data/measures.parquet: no row for the metric '{name}'; remake it with `study run`")
    return known


def estimates(found: Tables, steps: Mapping[str, Collection[int]]) -> dict[Place, Estimate]:
    """The estimate over seeds of every measurement of losses, metrics and probe, in the printed unit of its label.

    `steps` are those to be read, by condition. The probe is of no condition, and has the step 0. Seeds that have
    diverged or failed count as lost.
    """
    values, known = Values(found), labels(found)
    rows = pd.concat([losses_read(found), metrics_read(found), probe_read(found)], ignore_index=True)
    columns = ("kind", "condition", "measure", "detail", "step", "seed", "value")
    by_place: dict[Place, dict[int, float]] = {}
    for kind, condition, measure, detail, step, seed, value in zip(*(rows[c].tolist() for c in columns), strict=True):
        if kind == "other" or step in steps[condition]:
            by_place.setdefault(Place(measure, condition, detail, step), {})[int(seed)] = value
    made = {}
    for place, seeds in by_place.items():
        label = known[place.measure]
        whole = seeds if place.measure == "probe" else values.with_lost(place.condition, seeds, place.step)
        made[place] = over_seeds(label.factor * np.array(list(whole.values())), method=label.interval)
    return made


# -- the tables in one form -----------------------------------------------------------------------------------------


def part(kind: Kind, table: pd.DataFrame, measure: Any, detail: Any, value: str, **more: Any) -> pd.DataFrame:
    """Rows of a table as rows of measurements: kind, condition, measure, detail, value, seed and `more`."""
    values = table[value].to_numpy(float, na_value=np.nan)
    columns = {"condition": table["condition"].to_numpy(object), "measure": measure, "detail": detail, "value": values}
    seed = table["seed"].to_numpy(float, na_value=np.nan) if "seed" in table else 0.0
    return pd.DataFrame({"kind": kind, **columns, "seed": seed, **more}, index=range(len(table)))


def losses_read(found: Tables) -> pd.DataFrame:
    """The losses of all splits, statistics and batch sizes, with the column `step`."""
    t = found["losses"]
    statistics = said(t["statistics"].where(t["statistics"] != "none"), "{} statistics")
    detail = _joined(t["split"].fillna(""), statistics, said(t["batch_size"], "batches of {:,}"))
    return part("loss", t, "loss", detail, "loss", step=t["step"].to_numpy(float, na_value=-1).astype(int))


def metrics_read(found: Tables) -> pd.DataFrame:
    """The metrics at the steps at which losses are read, with the column `step`.

    Gradients are measured at many more steps.
    """
    read = pd.MultiIndex.from_frame(found["losses"][["condition", "step"]])
    t = found["metrics"]
    t = t[pd.MultiIndex.from_frame(t[["condition", "step"]]).isin(read)]
    statistics = said(t["statistics"].where(t["statistics"] != "none"), "{} statistics")
    detail = _joined(said(t["layer"], "layer {}"), said(t["parameter"], "{}"), statistics)
    step = t["step"].to_numpy(float, na_value=-1).astype(int)
    return part("metric", t, t["metric"].fillna("").to_numpy(object), detail, "value", step=step)


def probe_read(found: Tables) -> pd.DataFrame:
    """The probe, with its init as the condition, and with the column `step`, which is 0."""
    t = found["probe"].rename(columns={"init": "condition"})
    return part("other", t, "probe", said(t["fan_in"], "fan_in {:,}").to_numpy(object), "std_y", step=0)


def said(column: pd.Series, words: str) -> pd.Series:
    """Format each value with `words`. A missing value gives an empty text."""
    return column.map(words.format, na_action="ignore").astype(object).where(column.notna(), "")


def _joined(*parts: pd.Series) -> list[str]:
    return [", ".join(filter(None, texts)) for texts in zip(*parts, strict=True)]
