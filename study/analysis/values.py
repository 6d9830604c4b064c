"""The tables of a report → a measurement of one condition, seed by seed. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from study.errors import unknown
from study.network.norms import Reading, reading_at
from study.tables import Tables


def activations_read_at(statistics: Reading, step: int) -> Reading:
    """The statistics under which activations are read at a step: calibrated ones replace those of a batch."""
    kind = reading_at(statistics, step)
    match kind:
        case "batch":
            return "calibrated"
        case "none" | "running" | "calibrated":
            return kind
        case _:
            unknown(kind)


def own_trainings(cells: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table `cells` for the trainings by which conditions are judged: no published run, no twin."""
    return cells[(cells["protocol"] == "paired") & ~cells["twin"].fillna(False).astype(bool)]


@dataclass(frozen=True)
class Values:
    """The values of a measurement over the seeds of a condition, which is named as in the tables.

    Every answer is a Series with the seed as its index. It is empty where nothing was measured, and NaN for a seed that
    has diverged before the step or whose training failed.
    """

    tables: Tables

    def loss(self, condition: str, split: str, step: int, statistics: Reading) -> pd.Series:
        """The loss on the full split, in nats."""
        t = self._rows("losses", condition, step)
        rows = t[(t["split"] == split) & (t["statistics"] == statistics) & t["batch_size"].isna()]
        return self._by_seed(condition, rows, "loss", step)

    def metric(
        self, condition: str, name: str, step: int, layer: int | None, parameter: str | None, statistics: Reading
    ) -> pd.Series:
        """A metric of a layer, of a parameter, or of the output or the training (with neither).

        Metrics of parameters and of trainings are read under no statistics.
        """
        t = self._rows("metrics", condition, step)
        rows = t[t["metric"] == name]
        if parameter is not None:
            rows = rows[rows["parameter"] == parameter]
        else:
            rows = rows[(rows["statistics"] == statistics) | rows["statistics"].isna()]
            rows = rows[rows["layer"].isna()] if layer is None else rows[rows["layer"] == layer]
        return self._by_seed(condition, rows, "value", step)

    def state(self, condition: str, name: str, layer: int | None, statistics: Reading) -> pd.Series:
        """A measurement of the initial states, on the training split; `loss` is in nats. Empty where there are none."""
        t = self._states.get((condition, name), self.tables["states"].iloc[:0])
        rows = t[t["statistics"] == statistics]
        rows = rows[rows["layer"].isna()] if layer is None else rows[rows["layer"] == layer]
        return pd.Series(rows["value"].to_numpy(float), index=rows["seed"].to_numpy(int))

    @cached_property
    def _states(self) -> dict[Any, pd.DataFrame]:
        return dict(iter(self.tables["states"].groupby(["condition", "metric"], sort=False)))

    def diverged(self, condition: str) -> dict[int, float]:
        """Seed → first step with a loss that is not finite, for the seeds that have diverged."""
        return {seed: float(step) for seed, step in self._lost.get((condition, "diverged"), {}).items()}

    def failed(self, condition: str) -> list[int]:
        """The seeds whose training ended with an error."""
        return list(self._lost.get((condition, "failed"), {}))

    def with_failed(self, condition: str, found: pd.Series) -> pd.Series:
        """The values by seed, with a NaN for every seed whose training failed."""
        return found.reindex([*found.index, *(seed for seed in self.failed(condition) if seed not in found.index)])

    def with_lost(self, condition: str, found: Mapping[int, float], step: int) -> dict[int, float]:
        """The values by seed, in order. They are NaN for seeds that have diverged before `step`, or that failed."""
        whole = {**dict.fromkeys(self.failed(condition), math.nan), **found}
        lost = self.diverged(condition)
        return {seed: whole[seed] if lost.get(seed, math.inf) > step else math.nan for seed in sorted(whole)}

    def _by_seed(self, condition: str, rows: pd.DataFrame, column: str, step: int) -> pd.Series:
        seeds = rows["seed"].to_numpy(int)
        found = dict(zip(seeds.tolist(), rows[column].to_numpy(float).tolist(), strict=True))
        assert len(found) == len(seeds), f"{condition}: several values of a seed: {list(seeds)}"
        if found or column == "loss":  # a failed training has no rows, and counts as lost in what others have
            found = self.with_lost(condition, found, step)
        return pd.Series(list(found.values()), index=pd.Index(list(found), dtype="int64"), dtype=float)

    def _rows(self, table: str, condition: str, step: int) -> pd.DataFrame:
        """The rows of one condition at one step. The table is split once, since a page asks hundreds of times."""
        return self._parts[table].get((condition, step), self.tables[table].iloc[:0])

    @cached_property
    def _parts(self) -> dict[str, dict[Any, pd.DataFrame]]:
        by = ["condition", "step"]
        return {name: dict(iter(self.tables[name].groupby(by, sort=False))) for name in ("losses", "metrics")}

    @cached_property
    def _lost(self) -> dict[tuple[str, str], dict[int, Any]]:
        """(condition, status) → seed → step at which it ended so, of the trainings that conditions are judged by."""
        found: dict[tuple[str, str], dict[int, Any]] = {}
        for row in own_trainings(self.tables["cells"]).itertuples():
            found.setdefault((row.condition, row.status), {})[int(row.seed)] = row.step
        return found
