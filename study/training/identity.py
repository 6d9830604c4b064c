"""The identity of a cell: its records as plain values, in which no name of a class or of a field enters.

The ids of cells, the keys of the cache and the hash of a study are made from these values, so that the values must not
change, and the names in quotes are part of them. A field that a record gained later enters only where it is not at its
default, so that the identity of every record from before stays as it was.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, Field, fields
from typing import Any

from study.network.inits import Init
from study.network.layers import Layer, Network
from study.training.cells import Cell, Schedule

Values = dict[str, Any]


def cell_values(cell: Cell) -> Values:
    """The values of a cell: everything that a training's numbers depend on, except the data."""
    own: Values = {
        "setup": network_values(cell.network),
        "seed": cell.seed,
        "protocol": cell.protocol,
        "training": schedule_values(cell.schedule),
        "twin": cell.twin,
    }
    return own | gained(cell, "network", "seed", "protocol", "schedule", "twin")


def cell_id(cell: Cell) -> str:
    """The identity of a cell: the first 16 hexadecimal digits of the sha256 of its values."""
    return sha256(cell_values(cell))[:16]


def network_values(network: Network) -> Values:
    """The values of a network: its sizes, and how every parameter is drawn."""
    own: Values = {
        "context": network.context,
        "embedding_size": network.embedding_size,
        "widths": network.widths,
        "embedding": None if network.embedding is None else init_values(network.embedding),
        "hidden": [layer_values(layer) for layer in network.hidden],
        "output": layer_values(network.output),
    }
    return own | gained(network, *own)


def layer_values(layer: Layer) -> Values:
    """The values of a layer: how its parameters are drawn, its norm and its activation."""
    own: Values = {
        "weight": init_values(layer.weight),
        "bias": None if layer.bias is None else init_values(layer.bias),
        "norm": layer.norm,
        "activation": layer.activation,
    }
    more = gained(layer, *own)
    if layer.norm_inits:  # the initialisers as values
        more["norm_inits"] = {key: init_values(init) for key, init in layer.norm_inits}
    return own | more


def init_values(init: Init) -> Values:
    """The values of an initialiser."""
    return {"std": init.std, "gain": init.gain} | gained(init, "std", "gain")


def schedule_values(schedule: Schedule) -> Values:
    """The values of a schedule."""
    own: Values = {"batch_size": schedule.batch_size, "steps": schedule.steps, "lr": schedule.lr}
    return own | gained(schedule, *own)


def gained(record: Any, *known: str) -> Values:
    """The fields of a record that came after the known ones, without those that are at their defaults."""
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in known}
    return {f.name: values[f.name] for f in fields(record) if f.name in values and values[f.name] != _default(f)}


def _default(of: Field[Any]) -> Any:
    if of.default is not MISSING:
        return of.default
    assert of.default_factory is not MISSING, f"a field that came later has a default, {of.name} has none"
    return of.default_factory()


def sha256(value: Any) -> str:
    """The sha256 of a JSON value in canonical form. A tuple counts as a list."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
