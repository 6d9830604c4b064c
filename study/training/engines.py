"""Which engine trains a network: `fused` where it can, `autograd` everywhere else, and why. No torch."""

from __future__ import annotations

from study.errors import SpecError, on_autograd, on_device, unknown
from study.network.layers import Network
from study.training.cells import Cell, Engine

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
            bits = on_autograd("lecture")
        case _:
            unknown(cell.protocol)
    if asked == "autograd":
        return "autograd", on_autograd("asked")
    if bits and asked == "auto":
        return "autograd", bits
    reason = on_device(device) if device != "cpu" else supported(cell.network)
    if reason is None:
        return "fused", ""
    if asked == "fused":
        raise SpecError(f"--engine fused: cannot train this study: {reason}; use --engine auto")
    return "autograd", reason


def supported(network: Network) -> str | None:
    """None if the fused engine trains the network, else the reason in words.

    Every kind of layer has a kernel today. One without a kernel gives its reason here, and autograd trains it.
    """
    for layer in network.layers:
        match layer.activation:
            case "linear" | "tanh" | "relu":
                pass
            case _:
                unknown(layer.activation)
        match layer.norm:
            case "none" | "batch":
                pass
            case _:
                unknown(layer.norm)
    return None
