"""The labels of all measurements in the report: text, unit and format. This module loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Label:
    """The text and the format of one measurement. A share has the unit %, and is between 0 and 1 in the tables."""

    text: str
    unit: str = ""
    spec: str = ".3f"
    interval: Literal["t", "bca"] = "t"  # bca where values are positive and skewed: a t interval would reach below 0
    lost: str = "diverged"  # the word for a seed that has no value


LABELS: dict[str, Label] = {
    "loss": Label("loss", "nats", ".4f"),
    "saturation_97": Label("tanh outputs with |h| > 0.97", "%", ".1f"),
    "saturation_99": Label("tanh outputs with |h| > 0.99", "%", ".1f"),
    "dead": Label("dead units", "%", ".1f"),
    "gradient_pass": Label("mean local gradient", "", ".3f"),
    "preact_mean": Label("mean of the pre-activation", "", ".3f"),
    "preact_std": Label("std of the pre-activation", "", ".3f"),
    "normed_std": Label("std of what the activation sees", "", ".3f"),
    "h_std": Label("std of h", "", ".3f"),
    "logit_min": Label("smallest logit", "", ".2f"),
    "logit_max": Label("largest logit", "", ".2f"),
    "logit_std": Label("std of the logits", "", ".3f"),
    "entropy": Label("mean entropy of the prediction", "nats", ".3f"),
    "grad_norm": Label("norm of the gradient", "", ".4f"),
    "grad_std": Label("std of the gradient", "", ".5f"),
    "update_ratio": Label("log10 of update : data", "", ".2f"),
    "gap_mean": Label("largest gap of a unit's mean from the calibrated one", "", ".4f"),
    "gap_std": Label("largest gap of a unit's std from the calibrated one", "", ".4f"),
    "probe": Label("std after x @ w", "", ".3f"),
}
