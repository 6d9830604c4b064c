"""The quantities of whole trainings, which are computed from tables: the name, label, unit and format of each."""

from __future__ import annotations

from study.measurement.labels import LABELS, Label

QUANTITY_LABELS: dict[str, Label] = {
    "batch_gap": Label("dev loss in the smallest batches above that in the largest", "nats", ".3f"),
    "twin_distance": Label("relative distance of the twin's parameters", "", ".1e", "bca"),
    "twin_gap": Label("gap of the twin's dev loss", "nats", ".1e", "bca"),
    "steps_share": Label("steps needed, as a share of the first condition's", "", ".3f", "bca", "never there"),
}
MEASURES = {**LABELS, **QUANTITY_LABELS}  # all that a claim can measure, of a model at a step and of a whole training


def of_twins(measure: str) -> bool:
    """Whether a measurement compares a training with its twin.

    Such a measurement exists at every step at which both were measured.
    """
    return measure in ("twin_distance", "twin_gap")
