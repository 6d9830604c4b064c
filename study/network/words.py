"""The words of numbers that have a name.

No role of the program reaches this module, so that rewording costs nothing.
"""

from __future__ import annotations

from study.network.activations import ACTIVATIONS
from study.network.expectations import GAIN_KINDS, GainKind, gain


def gain_words(value: float) -> str:
    """The name of the gain with this value: `tanh`, `gelu, 1/√E φ(Z)²` or `gelu, variance`; a number has no name.

    A gain of 1 has no name, since it is every linear unit's.
    """
    formulas: dict[GainKind, str] = {
        "second moment": "1/√E φ(Z)²",
        "variance": "variance",
        "criticality": "criticality",
    }
    for kind in GAIN_KINDS if value != 1 else ():
        for name, activation in ACTIVATIONS.items():
            if gain(name, kind) == value:
                known = kind == "torch" and activation.gain is not None
                return name if known else f"{name}, {formulas['second moment' if kind == 'torch' else kind]}"
    return f"{value:g}"
