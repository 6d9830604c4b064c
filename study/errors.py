"""The one exception that is the user's to mend: where, what was got, what would do. The command exits with status 2.

And the refusal that is the developer's to mend: a kind that a branch does not know.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Container, Iterable
from itertools import accumulate
from types import NoneType
from typing import Any, Literal, Never, get_args, get_origin

LISTED, LENGTH = 20, 300  # names that a message lists at most, and their characters


class SpecError(Exception):
    """One line for the user; the command prints it and exits with status 2, with nothing overwritten."""

    def __init__(self, message: str) -> None:
        # a name out of the user's file may hold line breaks, or half a character that no terminal can print
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


class ShardError(Exception):
    """The traceback of a shard that failed where --fail-fast was asked for; the command ends with status 1."""


def suggest(got: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the whole list of what is known when nothing is close."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(got, names, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    room = list(accumulate(len(name) + 2 for name in names[:LISTED]))
    fit = max(1, sum(length <= LENGTH for length in room))
    more = ", …" if len(names) > fit else ""
    return f"; known: {', '.join(names[:fit])}{more}" if names else ""


# -- sentences of modules that make numbers: here, since a change of words costs no training ---------------------------


def on_autograd(why: Literal["asked", "lecture"]) -> str:
    """Why a cell that the fused engine could train is trained by autograd."""
    return {"asked": "as asked", "lecture": "the lecture's protocol, bit for bit"}[why]


def on_device(device: str) -> str:
    """Why a cell on another device than the CPU is trained by autograd."""
    return f"device {device}"


def no_kernel(*what: str) -> str:
    """Why a network is trained by autograd: the fused engine has no kernel for a part of it."""
    return f"the fused engine has no kernel for {' and '.join(what)}"


def refused(entry: Any, problem: str) -> SpecError:
    """The error about an entry of a registry, in one line that names the line that makes it."""
    file, line = entry.origin[0]
    name = getattr(entry, "name", None) or getattr(entry, "key", None)
    kind = re.sub("(?<=[a-z])(?=[A-Z])", " ", type(entry).__name__).lower()
    return SpecError(f"{file}:{line}: {kind} {name!r:.60}: {problem}")


def check_name(entry: Any, name: object, taken: Container[Any]) -> None:
    """Raise SpecError unless the name of an entry of a registry can be written in a study file and is not taken."""
    if not (isinstance(name, str) and name.isprintable() and name == name.strip() and name not in ("", "none")):
        raise refused(entry, f"expected a name of printable characters that is not none, got {name!r:.60}")
    if name in taken:
        raise refused(entry, "the name is taken; choose another one")


def kind_words(kind: Any) -> str:
    """The kind of value that an option takes, in the words of a study file."""
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "none"}
    return names.get(kind, str(kind))


def unknown(value: Never) -> Never:
    """Refuse a value that a branch over all kinds of something leaves over, as typing.assert_never does.

    mypy refuses the call where a kind can reach it. At run time it is an AssertionError of one line, with the value and
    the name of the function that called, since that is where a case is missing.
    """
    caller = sys._getframe(1)
    where = f"{caller.f_globals['__name__']}.{caller.f_code.co_qualname}"
    raise AssertionError(f"{where} got {value!r}, which it does not know")
