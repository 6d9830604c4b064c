"""The activations that a layer may have."""

from __future__ import annotations

from typing import Literal

Activation = Literal["tanh", "relu", "linear"]
