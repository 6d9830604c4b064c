"""The choice of the engine that trains a cell: `fused` where it can, `autograd` everywhere else, and why. No torch."""

from __future__ import annotations

from dataclasses import replace

from study.errors import SpecError, no_kernel, on_autograd, on_device, unknown
from study.network.layers import Network
from study.training.cells import Cell, Engine
from study.training.fused.kinds import ACTIVATIONS, NORMS

ASKED = ("auto", "autograd", "fused")


def choose(cell: Cell, asked: str = "auto", device: str = "cpu") -> tuple[Engine, str]:
    """The engine for a cell, and the reason in words where it is not the fused engine.

    A cell of the lecture's protocol is trained by autograd, whose bits are the lecture's, unless the fused engine was
    asked for. SpecError: `asked` names no engine, or the fused engine cannot train what it is asked to.
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
    """None if the fused engine can train the network, otherwise the reason in words."""
    if network.kind != "mlp":
        return no_kernel(network.model.label)
    lacking = dict[str, None]()
    for layer in network.layers:
        if layer.activation not in ACTIVATIONS:
            lacking[layer.activation] = None
        if (layer.norm, layer.norm_options) not in NORMS:
            lacking[replace(layer, norm_inits=()).norm_words] = None  # how they are drawn does not matter
    return no_kernel(*lacking) if lacking else None
