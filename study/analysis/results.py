"""Turn tables, study and manifest into the values over seeds of a condition, for sections and claims."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from study.analysis.estimate import Estimate, over_seeds
from study.analysis.measurements import labels
from study.analysis.values import Values, activations_read_at, own_trainings
from study.measurement.labels import Label
from study.network.norms import Reading, reading_at
from study.spec.claims import check_measure
from study.spec.records import Condition, Spec, Sweep
from study.tables import Tables

PREDICTIONS = "predictions"  # the table of a study with extensions, beside those that every study has


@dataclass(frozen=True)
class Results:
    """The results of a finished study: its specification, its tables and its manifest."""

    spec: Spec
    tables: Tables
    facts: dict[str, Any]  # the manifest
    predictions: pd.DataFrame | None = None  # those that were written for readers without the code of extensions

    @property
    def vocabulary(self) -> int:
        """V, the number of characters that the models know."""
        return len(self.facts["data"]["vocabulary"])

    @property
    def noun(self) -> str:
        """The word for an input or a target of the models: character, unless the data are no words."""
        found: str = self.facts["data"].get("noun", "character")
        return found

    @property
    def uniform(self) -> float:
        """ln V: the loss of a uniform guess, nats."""
        return math.log(self.vocabulary)

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions, in the order of the study file, without those that a sweep makes.

        A condition is left out if all its trainings failed, since it has no values.
        """
        t = own_trainings(self.tables["cells"])
        known = set(t.loc[t["status"] != "failed", "condition"])
        return tuple(c for c in self.spec.conditions if not c.sweep and c.name in known)

    @property
    def titles(self) -> dict[str, str]:
        """The name of a condition -> its title."""
        return {c.name: c.title for c in self.conditions}

    @property
    def main(self) -> list[Condition]:
        """The conditions of the first group, which are those of the long trainings."""
        first = self.conditions[0].group
        return [c for c in self.conditions if c.group == first]

    @property
    def trained(self) -> list[Condition]:
        """The conditions that have a training."""
        return [c for c in self.conditions if not c.untrained]

    @property
    def with_batchnorm(self) -> list[Condition]:
        """The conditions with BatchNorm."""
        return [c for c in self.conditions if c.network.layers_with_statistics]

    @property
    def common(self) -> int | None:
        """The step at which all trained conditions can be compared: the end of the shortest training.

        None: not all of them are measured there. It is 0 where no condition has a training.
        """
        step = min((c.schedule.steps for c in self.trained), default=0)
        return step if all(step in c.schedule.measured(self.spec.measure) for c in self.trained) else None

    @property
    def file(self) -> Path:
        """The study file."""
        return self.spec.path

    def label(self, name: str) -> Label:
        """The label of a measurement. Where the tables hold it, it is the one that travels with them."""
        return self._labels[name]

    @cached_property
    def _labels(self) -> dict[str, Label]:
        return labels(self.tables)

    def step(self, condition: Condition, at: str | int) -> int | None:
        """The step that `init`, `common`, `end` or a number means for a condition. None: nothing was measured there."""
        if at == "common":
            return self.common
        step = {"init": 0, "end": condition.schedule.steps}.get(str(at), at)
        return int(step) if step in condition.schedule.measured(self.spec.measure) else None

    def best(self, sweep: Sweep, condition: Condition) -> tuple[float, Condition] | None:
        """The best rate of a sweep for a condition, by mean final train loss, and the condition trained with it.

        None: no rate lets all seeds converge. The rate is chosen by the train loss, so that the dev loss may judge it.
        """
        found = {}
        for rate in sweep.rates:
            swept = self.spec.condition(sweep.yielded[condition.name, rate])
            values = self.loss(swept, "train", swept.schedule.steps)
            if len(values) and values.notna().all():
                found[rate] = float(values.mean())
        if not found:
            return None
        rate = min(found, key=lambda r: found[r])
        return rate, self.spec.condition(sweep.yielded[condition.name, rate])

    def reading(self, condition: Condition, step: int) -> Reading:
        """The statistics with which a condition is read at a step. Before the first step there are no running ones."""
        return reading_at(condition.statistics, step)

    def loss(self, condition: Condition, split: str, step: int, statistics: Reading | None = None) -> pd.Series:
        """The loss of the full split in nats, by seed. It is NaN for a seed that has diverged."""
        return self._values.loss(condition.name, split, step, statistics or self.reading(condition, step))

    def metric(
        self,
        condition: Condition,
        name: str,
        step: int,
        layer: int | None = None,
        parameter: str | None = None,
        statistics: Reading | None = None,
    ) -> pd.Series:
        """A metric by seed, NaN where it does not exist. Activations are read with the statistics of the condition."""
        kind = statistics or activations_read_at(condition.statistics, step)
        return self._values.metric(condition.name, name, step, layer, parameter, kind)

    def state(self, condition: Condition, name: str, layer: int | None = None) -> pd.Series:
        """A measurement of the initial states of a condition by seed, on the training split; `loss` is in nats.

        It is read as that of a training at step 0 is. It is empty where the study asks for no states.
        """
        read_at = self.reading if name == "loss" else lambda c, step: activations_read_at(c.statistics, step)
        return self._values.state(condition.name, name, layer, read_at(condition, 0))

    def with_failed(self, condition: Condition, found: pd.Series) -> pd.Series:
        """The values by seed, with a NaN for every seed whose training failed."""
        return self._values.with_failed(condition.name, found)

    def diverged(self, condition: Condition) -> dict[int, float]:
        """Seed -> the first step with a loss that is not finite, for the seeds that have diverged."""
        return self._values.diverged(condition.name)

    def failed(self, condition: Condition) -> list[int]:
        """The seeds whose training ended with an error. They count as lost wherever other seeds are measured."""
        return self._values.failed(condition.name)

    @cached_property
    def _values(self) -> Values:
        return Values(self.tables)

    def measured(self, condition: Condition, measure: str, at: str | int, layer: int = 1) -> pd.Series | None:
        """The values of a claim's `measure` for a condition, by seed. None: it was not measured."""
        if at == "best":
            sweep = next((s for s in self.spec.sweeps if condition.name in s.conditions), None)
            best = None if sweep is None else self.best(sweep, condition)
            return None if best is None else self.measured(best[1], measure, "end", layer)
        step = self.step(condition, at)
        if step is None:
            return None
        name, rest = check_measure(measure)
        if name == "loss":
            found = self.loss(condition, rest, step)
        elif rest:  # for several parameters, the norm over all of them
            parts = [self.metric(condition, name, step, parameter=parameter) for parameter in rest.split("+")]
            if not all(len(part) for part in parts):
                return None
            found = parts[0] if len(parts) == 1 else sum(part**2 for part in parts) ** 0.5  # type: ignore[assignment]
        else:
            found = self.metric(condition, name, step, layer=layer if self.label(name).of == "layer" else None)
        return found if len(found) else None

    def estimate(self, values: pd.Series | None) -> Estimate | None:
        """The estimate over seeds. None: there is no value."""
        return None if values is None or not len(values) else over_seeds(values.to_numpy(float))
