"""The hash of the code on which numbers depend.

A role is a part of the program that makes some of the numbers: a trainer with the loop around it, measuring, or
collecting. The hash of a role goes over the modules that its roots reach by imports. An entry of a registry, such as an
activation, has a hash of its own, for the keys of the cells that use it. This module loads no torch.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

from study.sources import Code

Role = Literal["autograd", "fused", "measuring", "states", "collecting"]

# The modules in which each role begins, without the package's name. The modules that they import belong to it as well.
ROOTS: dict[Role, tuple[str, ...]] = {
    "autograd": ("training.loop", "training.autograd"),
    "fused": ("training.loop", "training.fused.trainer", "training.fused.kernels"),
    "measuring": ("measurement.measure",),
    "states": ("measurement.states",),
    "collecting": ("execution.collect", "measurement.probe"),
}
# The modules that hold entries of registries.
OPEN = (
    "network.activations",
    "network.norms",
    "network.inits",
    "network.model",
    "measurement.metrics",
    "data.source",
)
KERNELS = "training.fused.kernels"  # the module that Numba compiles; its cache follows the same imports


# -- where an entry is written ----------------------------------------------------------------------------------------

Origin = tuple[tuple[str, int], ...]  # (file, line) pairs, from the line that makes an entry to the top of its module


def origin(registry: str) -> Origin:
    """The lines that are making an entry of a registry, from the innermost call to the top of the module that calls.

    `registry` is the name of the module of the registry. Its own functions are passed over, since they make no entry of
    their own accord. Calls are followed while they come from files in one folder, so that a helper beside the file is
    followed and a program that runs the file is not.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith("<")  # the __init__ that dataclasses write
        or (frame.f_globals.get("__name__") in (registry, __name__) and frame.f_code.co_name != "<module>")
    ):
        frame = frame.f_back
    found, folder = [(frame.f_code.co_filename, frame.f_lineno)], Path(frame.f_code.co_filename).parent
    while frame.f_code.co_name != "<module>" and frame.f_back is not None:
        frame = frame.f_back
        if Path(frame.f_code.co_filename).parent != folder:
            break
        found.append((frame.f_code.co_filename, frame.f_lineno))
    return tuple(found)


# -- the hash of the code ---------------------------------------------------------------------------------------------


@cache  # every key of every cell asks for it
def code_digest(role: Role) -> str:
    """The sha256 of all code that a role runs, without the code of the entries of registries."""
    return _installed().digest(ROOTS[role])


@cache  # every key of every cell asks for it
def entry_digest(made: Origin) -> str:
    """The sha256 of the statements that made an entry of a registry, and of all code that they reach.

    It depends on no folder. SpecError: an extension hides code that it uses, or is not in a file.
    """
    return _installed().entry(made)


def source_digest(entries: Iterable[Origin]) -> str:
    """The sha256 of all code that makes a number of some tables: that of all roles, and that of the entries used."""
    parts = [code_digest(role) for role in sorted(ROOTS)] + sorted({entry_digest(made) for made in entries})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def kernel_number() -> int:
    """A number that changes with any byte of the code from which the kernels are compiled."""
    return int(_installed().content((KERNELS,))[:15], 16)


@cache  # every notebook's key asks for it
def bytes_of(*modules: str) -> str:
    """The sha256 of all files that modules reach, byte by byte. This is for a page, in which every word counts."""
    return _installed().content(modules)


def imported_by(module: str) -> list[str]:
    """The modules of the project that a module imports itself, by their names without the package's, in order."""
    return [found.name for found in _installed().module(module).imported]


def file_of(module: str) -> str:
    """`study/measurement/measure.py`: where a module lies, from the folder in which the package does."""
    code = _installed()
    return code.module(module).path.relative_to(code.folder.parent).as_posix()


@cache
def _installed() -> Code:
    return Code(Path(__file__).resolve().parent, open=OPEN)
