"""What a network is, and what it changes of its parent's, in words: printed from the records, never typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from study.errors import unknown
from study.network.activations import Activation
from study.network.inits import GAINS, Init
from study.network.layers import Network
from study.network.norms import Norm
from study.training.cells import Schedule


def init_words(init: Init) -> str:
    """`std 0.01`, `gain tanh / √fan_in`"""
    if init.std is not None:
        return f"std {init.std:g}"
    name = next((n for n, g in GAINS.items() if n != "linear" and g == init.gain), None)
    return f"gain {name or f'{init.gain:g}'} / √fan_in"


def schedule_words(schedule: Schedule) -> str:
    """`200,000 steps of SGD, batch 32, learning rate 0.1, 0.01 from step 100,000`"""
    parts = [f"{rate:g} from step {start:,}" if start else f"{rate:g}" for start, rate in schedule.lr]
    return f"{schedule.steps:,} steps of SGD, batch {schedule.batch_size}, learning rate {', '.join(parts)}"


def _facts(network: Network) -> dict[str, str]:
    """Every choice of a network as name -> words, in the order of the network."""
    facts = {
        "context": str(network.context),
        "embedding": str(network.embedding_size),
        "widths": "-".join(map(str, network.widths)),
        "C": init_words(network.embedding),
    }
    for number, layer in enumerate(network.layers, start=1):
        facts[f"W{number}"] = init_words(layer.weight)
        facts[f"b{number}"] = "none" if layer.bias is None else init_words(layer.bias)
        facts[f"norm {number}"] = _norm(layer.norm)
        facts[f"activation {number}"] = _activation(layer.activation)
    return facts


def _norm(norm: Norm) -> str:
    match norm:
        case "none":
            return "none"
        case "batch":
            return "BatchNorm"
        case _:
            unknown(norm)


def _activation(activation: Activation) -> str:
    match activation:
        case "tanh" | "relu" | "linear":
            return activation
        case _:
            unknown(activation)


def _grouped(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """`W1 …` and `W2 …` with the same words as `W1, W2 …`."""
    by_words: dict[str, list[str]] = {}
    for name, words in pairs:
        by_words.setdefault(words, []).append(name)
    return [f"{', '.join(names)}: {words}" for words, names in by_words.items()]


def described(network: Network) -> list[str]:
    """All that a network is, in words: what is not there, and linear, goes without saying."""
    said = [(name, words) for name, words in _facts(network).items() if words not in ("none", "linear")]
    sizes, drawn, kinds = said[:3], [p for p in said[3:] if p[0][0] in "CWb"], [p for p in said[3:] if p[0][0] in "na"]
    return [", ".join(f"{name} {words}" for name, words in sizes), *_grouped(drawn), *_grouped(kinds)]


def changes(parent: Network, network: Network) -> list[str]:
    """What a network changes of its parent's, in words. The output layer is compared with the output layer at any depth,
    and a level that the parent does not have with its last."""
    depth = len(network.hidden)
    aligned = replace(parent, hidden=(parent.hidden + parent.hidden[-1:] * depth)[:depth])
    before, after = _facts(aligned), _facts(network)
    return _grouped([(name, f"{before[name]} → {words}") for name, words in after.items() if before[name] != words])
