"""Which engine trains a Setup: `fused` where it can, `autograd` everywhere else, and why. No torch."""

from __future__ import annotations

from study.engines.workspace import ACTIVATIONS, NORMS
from study.errors import SpecError, on_autograd, on_device, unsupported
from study.setup import Cell, Engine, Setup

ASKED = ("auto", "autograd", "fused")


def choose(cell: Cell, asked: str = "auto", device: str = "cpu") -> tuple[Engine, str]:
    """The engine for a cell, and the reason in words where it is not the fused one.

    The lecture's protocol is always trained by autograd, whose bits are the lecture's.
    """
    if asked not in ASKED:
        raise SpecError(f"--engine: expected one of {', '.join(ASKED)}, got '{asked}'")
    if asked == "autograd":
        return "autograd", on_autograd("asked")
    if cell.protocol == "lecture" and asked == "auto":
        return "autograd", on_autograd("lecture")
    reason = on_device(device) if device != "cpu" else supported(cell.setup)
    if reason is None:
        return "fused", ""
    if asked == "fused":
        raise SpecError(f"--engine fused: cannot train this study: {reason}; use --engine auto")
    return "autograd", reason


def supported(setup: Setup) -> str | None:
    """None if the fused engine trains the Setup, else the reason in words: a new kind of layer is autograd's at first."""
    for number, layer in enumerate(setup.layers, 1):
        if layer.activation not in ACTIVATIONS:
            return unsupported(number, "activation", layer.activation, ACTIVATIONS)
        if layer.norm not in NORMS:
            return unsupported(number, "norm", layer.norm, NORMS)
    return None
