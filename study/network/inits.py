"""The scale of an initial draw, `Init`, and the gains that torch recommends. This module loads no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

# The gains that torch.nn.init.calculate_gain recommends, by activation. They are used before torch is imported.
GAINS: dict[str, float] = {"tanh": 5 / 3, "relu": math.sqrt(2), "linear": 1.0}

Array = TypeVar("Array")  # a torch.Tensor, a numpy.ndarray or a number: it needs * and /


@dataclass(frozen=True)
class Init:
    """The scale of a normal draw: a plain `std`, or `gain` / √fan_in (He et al. 2015). Exactly one of them is given."""

    std: float | None = None
    gain: float | None = None

    def __post_init__(self) -> None:
        assert (self.std is None) != (self.gain is None), f"Init takes std or gain: {self.std=} {self.gain=}"

    def apply(self, draw: Array, fan_in: int) -> Array:
        """Scale a draw: draw · multiplier / divisor, each rounded once, in the order in which the lecture writes it."""
        multiplier, divisor = (self.std, 1.0) if self.gain is None else (self.gain, fan_in**0.5)
        return draw * multiplier / divisor  # type: ignore[operator, return-value]

    def scale(self, fan_in: int) -> float:
        """The standard deviation of the drawn parameter."""
        return self.apply(1.0, fan_in)
