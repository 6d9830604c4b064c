"""All that a claim can measure: the metrics, and the quantities of whole trainings, which are computed from tables."""

from __future__ import annotations

from study.errors import SpecError
from study.measurement.labels import Label
from study.measurement.metrics import METRICS

QUANTITY_LABELS: dict[str, Label] = {
    "batch_gap": Label(
        "dev loss in the smallest batches above that in the largest", "nats", ".3f", "lower", "training"
    ),
    "twin_distance": Label("relative distance of the twin's parameters", "", ".1e", "lower", "training", "bca"),
    "twin_gap": Label("gap of the twin's dev loss", "nats", ".1e", "lower", "training", "bca"),
    "steps_share": Label(
        "steps needed, as a share of the first condition's", "", ".3f", "lower", "training", "bca", "never there"
    ),
}


def measures() -> dict[str, Label]:
    """The label of all that a claim can measure, by name. SpecError: a metric has the name of a quantity."""
    for name in QUANTITY_LABELS.keys() & METRICS.keys():
        raise SpecError(f"{METRICS[name].place}: the metric '{name}' has the name of a quantity; give it another name")
    return {**{m.name: m.label for m in METRICS.values()}, **QUANTITY_LABELS}


def of_twins(measure: str) -> bool:
    """Whether a measurement compares a training with its twin.

    Such a measurement exists at every step at which both were measured.
    """
    return measure in ("twin_distance", "twin_gap")
