"""Describe the records of networks, schedules and conditions in words, so that nobody types such a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from study.network.layers import Network
from study.network.norms import Reading
from study.spec.records import Condition
from study.training.cells import Schedule


def schedule_words(schedule: Schedule) -> str:
    """A schedule in words: `200,000 steps of SGD, batch 32, learning rate 0.1, 0.01 from step 100,000`."""
    if not schedule.steps:
        return "no training: measured as it is drawn"
    parts = [f"{rate:g} from step {start:,}" if start else f"{rate:g}" for start, rate in schedule.lr]
    return f"{schedule.steps:,} steps of SGD, batch {schedule.batch_size}, learning rate {', '.join(parts)}"


def training_words(schedule: Schedule) -> str:
    """The line of a condition whose schedule is not its parent's: `training: ` and the schedule in words."""
    return schedule_words(schedule) if not schedule.steps else f"training: {schedule_words(schedule)}"


def _facts(network: Network) -> dict[str, str]:
    """The name of every choice in a network -> the choice in words, from the input to the output."""
    facts = {"model": "none" if network.kind == "mlp" else network.model.label, "context": str(network.context)}
    facts |= {"embedding": "none", "widths": "none", "C": "none"}
    if network.embedding is not None:
        facts |= {"embedding": str(network.embedding_size), "C": network.embedding.words}
    if network.hidden:
        facts["widths"] = "-".join(map(str, network.widths))
    for number, layer in enumerate(network.layers, start=1):
        facts[f"W{number}"] = layer.weight.words
        facts[f"b{number}"] = "none" if layer.bias is None else layer.bias.words
        facts[f"norm {number}"] = layer.norm_words
        facts[f"activation {number}"] = layer.activation
    return facts


def _grouped(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Lines out of pairs of a name and words. Names with the same words share a line, as in `W1, W2: std 1`."""
    by_words: dict[str, list[str]] = {}
    for name, words in pairs:
        by_words.setdefault(words, []).append(name)
    return [f"{', '.join(names)}: {words}" for words, names in by_words.items()]


def described(network: Network) -> list[str]:
    """A whole network in words. The words `none` and `linear` are left out."""
    said = [(name, words) for name, words in _facts(network).items() if words not in ("none", "linear")]
    sizes = [pair for pair in said if pair[0] in ("model", "context", "embedding", "widths")]
    drawn, kinds = [pair for pair in said if pair[0][0] in "CWb"], [pair for pair in said if pair[0][0] in "na"]
    return [", ".join(f"{name} {words}" for name, words in sizes), *_grouped(drawn), *_grouped(kinds)]


def changes(parent: Network, network: Network) -> list[str]:
    """The differences of a network from its parent's, in words.

    The output layer is compared with the output layer at any depth, and a hidden layer that the parent does not have
    with the parent's last one. A network of another kind than its parent is described as a whole.
    """
    if network.kind != parent.kind:
        return [f"{parent.model.label} → {network.model.label}", *described(network)]
    depth = len(network.hidden)
    aligned = replace(parent, hidden=(parent.hidden + parent.hidden[-1:] * depth)[:depth])
    before, after = _facts(aligned), _facts(network)
    return _grouped([(name, f"{before[name]} → {words}") for name, words in after.items() if before[name] != words])


def condition_words(
    network: Network, statistics: Reading, schedule: Schedule, parent: Condition | None, usual: Schedule | None
) -> tuple[str, ...]:
    """The differences of a condition from its parent, in words. Without a parent, the whole condition is described.

    Statistics are mentioned where they are not those of the parent, or where the parent has none and they are not the
    running ones. A schedule is mentioned where it is not `usual`.
    """
    before: Reading = "none" if parent is None else parent.statistics
    words = described(network) if parent is None else changes(parent.network, network)
    if statistics not in ("none", before if before != "none" else "running"):
        words.append(f"read with {statistics} statistics" + (f" (were {before})" if before != "none" else ""))
    if schedule != usual:
        words.append(training_words(schedule))
    return tuple(words) or ("nothing",)
