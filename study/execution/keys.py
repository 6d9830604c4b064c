"""The keys of trainings and of measurements: everything on which their numbers depend, and nothing else. No torch.

The name and the title of a condition, its place in the file, the stack of a cell, the number of workers, the length of
blocks and the steps at which a training pauses are not in a key. They change no bit, and tests hold that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from study import codehash
from study.data.source import Examples, Source, kind_of
from study.data.word_source import WordSource
from study.environment import cpu_level, installed
from study.errors import unknown
from study.measurement import metrics
from study.measurement.initial import Wanted
from study.measurement.rows import Request
from study.network.layers import Network
from study.training.cells import Cell, Engine
from study.training.identity import cell_values, gained, network_values, sha256

KEY_FORMAT = 2  # of the keys and of the entries under them: it is raised when the meaning of either changes
KEY_PACKAGES: dict[Engine, tuple[str, ...]] = {"autograd": ("torch", "numpy"), "fused": ("torch", "numpy", "numba")}

Facts = dict[str, Any]


@dataclass(frozen=True)
class Keys:
    """The keys of one study on one machine."""

    data: Facts  # word list, vocabulary and splits
    reading: Request
    device: str  # kind of device: cpu, cuda
    cpu: str  # its architecture and the widest vectors that it has

    def training(self, cell: Cell, engine: Engine) -> Facts:
        """Everything on which the trajectory of a cell depends."""
        facts = {
            "format": KEY_FORMAT,
            **cell_values(cell),
            "data": self.data,
            "engine": engine,
            "dtype": "float32",
            "device": self.device,
            "code that trains": codehash.code_digest(engine),
            **_code_of(cell.network.entries),
            "versions": {package: installed(package) for package in KEY_PACKAGES[engine]},
        }
        match engine:
            case "fused":  # it gives the same bits on every CPU
                return facts
            case "autograd":  # torch chooses its kernels by the features of the CPU
                return {**facts, "cpu": self.cpu}
            case _:
                unknown(engine)

    def measuring(self, cell: Cell, engine: Engine) -> Facts:
        """Everything on which the rows of a cell depend. A twin's original is known by the twin's own facts."""
        return {
            "training": sha256(self.training(cell, engine)),
            "code that measures": codehash.code_digest("measuring"),
            **_code_of(metrics.entries(cell.network)),
            "reading": _values(self.reading),
            "cpu": self.cpu,
            "versions": {package: installed(package) for package in KEY_PACKAGES["autograd"]},
        }

    def state(self, network: Network, wanted: Wanted) -> Facts:
        """Everything on which the rows of a network's initial states depend, except their seeds."""
        return {
            "format": KEY_FORMAT,
            "setup": network_values(network),
            "protocol": "paired",
            "data": self.data,
            "wanted": _wanted(wanted),
            "code of states": codehash.code_digest("states"),
            **_code_of(network.entries | metrics.entries(network)),
            "cpu": self.cpu,
            "versions": {package: installed(package) for package in KEY_PACKAGES["autograd"]},
        }


def _code_of(entries: Mapping[str, codehash.Origin]) -> Facts:
    """The hashes of entries of registries, by the words for each."""
    return {f"code of {words}": codehash.entry_digest(made) for words, made in entries.items()}


def data_facts(source: Source, found: Examples) -> Facts:
    """Everything on which the examples depend. The code of a source is among it, except that of word lists."""
    if isinstance(source, WordSource):
        return dict(found.key())
    kind = kind_of(source)
    return {"kind": kind.name, **_code_of({f"source {kind.name}": kind.origin}), **found.key()}


def keys_of(data: Facts, reading: Request, device: str) -> Keys:
    """The keys of a study of the examples with these facts."""
    return Keys(data, reading, device.partition(":")[0], cpu_level())


def _values(reading: Request) -> Facts:
    own: Facts = {"measure": reading.measure, "batch_sizes": reading.batch_sizes}
    return own | gained(reading, *own)


def _wanted(wanted: Wanted) -> Facts:
    own: Facts = {"splits": wanted.splits, "batch_size": wanted.batch_size, "lr": wanted.lr}
    return own | gained(wanted, *own)


def surroundings() -> dict[str, str]:
    """The facts of the keys that belong to the process and not to the study: code, packages, kind of CPU."""
    roles: tuple[codehash.Role, ...] = ("autograd", "fused", "measuring", "states")
    packages = sorted({package for engine in KEY_PACKAGES.values() for package in engine})
    return {
        **{package: installed(package) for package in packages},
        "CPU": cpu_level(),
        **{f"code ({role})": codehash.code_digest(role) for role in roles},
    }


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The differences between two sets of facts in words, `training.steps 10000 → 200000`. Empty if there is none."""
    # through JSON, since facts from the disk hold lists where new facts hold tuples
    old, new = (_leaves(json.loads(json.dumps(facts))) for facts in (before, now))
    changed = []
    for place in (place for place in sorted({*old, *new}) if old.get(place) != new.get(place)):
        if place.startswith("code "):
            changed.append(f"the {place} changed")
        else:
            changed.append(f"{place} {shown(old.get(place))} → {shown(new.get(place))}")
    more = len(changed) - 3
    return "; ".join(changed[:3]) + (f"; and {more} more" if more > 0 else "")


def _leaves(facts: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The facts by their dotted place. A list counts as one value, unless it holds mappings."""
    found: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            value = {str(i): item for i, item in enumerate(value, 1)}
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def shown(value: Any) -> str:
    """The text of a fact in a message."""
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else text[:12] + "…"
