"""The quantities of whole trainings for claims: each turns results, a condition and a step into values by seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from study.analysis.curves import Curve, curve, levels
from study.analysis.results import Results
from study.spec.records import Condition

Quantity = Callable[[Results, Condition, int], "pd.Series | None"]  # the step is the last one, except for twins

QUANTITIES: dict[str, Quantity] = {}


def quantity(measure: Quantity) -> Quantity:
    """Register a quantity under the name of its function. Its label is in `spec/quantities.py`."""
    QUANTITIES[measure.__name__] = measure
    return measure


@quantity
def batch_gap(results: Results, condition: Condition, step: int) -> pd.Series | None:
    """The dev loss in the smallest batches minus that of the same examples as one batch, by seed.

    Every batch is normalised by its own statistics.
    """
    t = results.tables["losses"]
    rows = t[(t["condition"] == condition.name) & (t["step"] == step) & t["batch_size"].notna()]
    if not len(rows):
        return None
    wide = rows.astype({"loss": float, "seed": int, "batch_size": int}).pivot_table(
        index="seed", columns="batch_size", values="loss", dropna=False
    )
    return results.with_failed(condition, wide[wide.columns.min()] - wide[wide.columns.max()]).sort_index()


def _twin(results: Results, condition: Condition, step: int, column: str) -> pd.Series | None:
    """A column of the table of twins at a step, by seed. None: it was not read there."""
    t = results.tables["twins"]
    rows = t[(t["condition"] == condition.name) & (t["step"] == step)]
    # A twin with a finite distance has a loss. If the table has none, it was not read, so that the row is left out.
    rows = rows[rows[column].notna() | rows["distance"].isna()]
    found = pd.Series(rows[column].to_numpy(float), index=rows["seed"].to_numpy(int))
    return found if len(found) else None


@quantity
def twin_distance(results: Results, condition: Condition, step: int) -> pd.Series | None:
    """The relative distance of the twin's parameters after `step` steps, by seed."""
    return _twin(results, condition, step, "distance")


@quantity
def twin_gap(results: Results, condition: Condition, step: int) -> pd.Series | None:
    """The absolute difference between the dev losses of the twin and the original after `step` steps, by seed."""
    found = _twin(results, condition, step, "loss_gap")
    return None if found is None else found.abs()


def trained(results: Results, condition: Condition) -> dict[int, Curve]:
    """Seed -> training curve, for the seeds that have not diverged."""
    t, lost = results.tables["curves"], results.diverged(condition)
    rows = t[t["condition"] == condition.name]
    return {int(s): curve(here, condition.schedule.steps) for s, here in rows.groupby("seed") if int(s) not in lost}


def needed(results: Results, condition: Condition, mark: int) -> dict[int, tuple[float, float]]:
    """Seed -> (the reference's smoothed loss after `mark` steps, the steps that the condition needs to reach it).

    A seed with which the condition diverges or fails never reaches it (inf). A seed without the reference is left out.
    The reference itself reaches it after `mark` steps.
    """
    first = results.conditions[0]
    reference, curves = trained(results, first), trained(results, condition)
    lost = {*results.diverged(condition), *results.failed(condition)}
    found = {}
    for seed in (s for s in reference if s in curves or s in lost):
        level = float(reference[seed].smoothed(np.array([float(mark)]))[0])
        steps = (
            float(mark) if condition.name == first.name else curves[seed].reaches(level) if seed in curves else math.inf
        )
        found[seed] = level, steps
    return found


@quantity
def steps_share(results: Results, condition: Condition, step: int) -> pd.Series | None:
    """The steps needed for the loss of the first condition after a 20th of its training, by seed.

    They are given as a share of the steps of the first condition.
    """
    marks = levels(results.conditions[0].schedule.steps)
    if len(marks) < 2:
        return None
    found = {seed: steps / marks[1] for seed, (_, steps) in needed(results, condition, marks[1]).items()}
    return pd.Series(found) if found else None
