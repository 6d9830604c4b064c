"""The norms that a layer may have, and the statistics with which a model is read."""

from __future__ import annotations

from typing import Literal

Norm = Literal["none", "batch"]
Reading = Literal["none", "batch", "running", "calibrated"]
