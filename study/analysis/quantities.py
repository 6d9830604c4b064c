"""The quantities of whole trainings: results, a condition and a step as values by seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from study.analysis.curves import Curve, curve, levels
from study.analysis.results import Results
from study.spec.records import Condition

Quantity = Callable[[Results, Condition, int], "pd.Series | None"]  # the step is the last, but for twins

QUANTITIES: dict[str, Quantity] = {}


def quantity(measure: Quantity) -> Quantity:
    """Register a quantity under its function's name, under which `spec/quantities.py` has its label."""
    QUANTITIES[measure.__name__] = measure
    return measure


@quantity
def batch_gap(results: Results, condition: Condition, step: int) -> pd.Series | None:
    """Dev loss with the smallest batches' own statistics minus that of the same examples as one batch, by seed."""
    t = results.tables["losses"]
    rows = t[(t["condition"] == condition.name) & (t["step"] == step) & t["batch_size"].notna()]
    if not len(rows):
        return None
    wide = rows.astype({"loss": float, "seed": int, "batch_size": int}).pivot_table(
        index="seed", columns="batch_size", values="loss", dropna=False
    )
    return results.with_failed(condition, wide[wide.columns.min()] - wide[wide.columns.max()]).sort_index()


def _twin(results: Results, condition: Condition, step: int, column: str) -> pd.Series | None:
    """A column of the table of twins at a step, by seed; None where it was not read there."""
    t = results.tables["twins"]
    rows = t[(t["condition"] == condition.name) & (t["step"] == step)]
    # parameters that are apart by a number have a loss: without one it was not read, and is not diverged
    rows = rows[rows[column].notna() | rows["distance"].isna()]
    found = pd.Series(rows[column].to_numpy(float), index=rows["seed"].to_numpy(int))
    return found if len(found) else None


@quantity
def twin_distance(results: Results, condition: Condition, step: int) -> pd.Series | None:
    """Relative distance of the twin's parameters after `step` steps, by seed."""
    return _twin(results, condition, step, "distance")


@quantity
def twin_gap(results: Results, condition: Condition, step: int) -> pd.Series | None:
    """How far the twin's dev loss after `step` steps is from the original's, in size, by seed."""
    found = _twin(results, condition, step, "loss_gap")
    return None if found is None else found.abs()


def trained(results: Results, condition: Condition) -> dict[int, Curve]:
    """Seed -> training curve, for the seeds that have not diverged."""
    t, lost = results.tables["curves"], results.diverged(condition)
    rows = t[t["condition"] == condition.name]
    return {int(s): curve(here, condition.schedule.steps) for s, here in rows.groupby("seed") if int(s) not in lost}


def needed(results: Results, condition: Condition, mark: int) -> dict[int, tuple[float, float]]:
    """Seed -> (the reference's smoothed loss after `mark` steps, the steps that the condition needs to be there).

    A seed with which the condition diverges or fails is never there (inf); without a reference there is no level. The reference
    itself is there after `mark` steps.
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
    """Steps needed to where the first condition is after a 20th of its training, as a share of those, by seed."""
    marks = levels(results.conditions[0].schedule.steps)
    if len(marks) < 2:
        return None
    found = {seed: steps / marks[1] for seed, (_, steps) in needed(results, condition, marks[1]).items()}
    return pd.Series(found) if found else None
