"""Which engine trains a Setup: `fused` where it can, `autograd` everywhere else, and why. No torch."""

from __future__ import annotations

from study.engines.fused import supported
from study.errors import SpecError, unknown
from study.setup import Cell, Engine

ASKED = ("auto", "autograd", "fused")


def choose(cell: Cell, asked: str = "auto", device: str = "cpu") -> tuple[Engine, str]:
    """The engine for a cell, and the reason in words where it is not the fused one.

    The lecture's protocol is always trained by autograd, whose bits are the lecture's.
    """
    if asked not in ASKED:
        raise SpecError(f"--engine: expected one of {', '.join(ASKED)}, got '{asked}'")
    match cell.protocol:
        case "paired":
            bits = ""
        case "lecture":
            bits = "the lecture's protocol, bit for bit"
        case _:
            unknown(cell.protocol)
    if asked == "autograd":
        return "autograd", "as asked"
    if bits and asked == "auto":
        return "autograd", bits
    reason = f"device {device}" if device != "cpu" else supported(cell.setup)
    if reason is None:
        return "fused", ""
    if asked == "fused":
        raise SpecError(f"--engine fused: cannot train this study: {reason}; use --engine auto")
    return "autograd", reason
