"""Read the options of an entry, such as {orthogonal: 1} or {batch: {definition: torch}}, into its own dataclass.

An entry with options declares them as a plain dataclass, which checks itself in `__post_init__` by a ValueError. The
study file's schema and Python programs read them by the same functions. This module needs the standard library alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from study.errors import kind_words, suggest

Written = tuple[tuple[str, Any], ...]  # the options that are not at their defaults, in the order of the dataclass
Options = TypeVar("Options")


class OptionError(ValueError):
    """The value of an option, or its name, that an entry does not take. `at` is the name of the option."""

    def __init__(self, message: str, at: str = "") -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True)
class NoOptions:
    """The options of an entry that has none."""


def read(options: type[Options], given: Mapping[str, Any]) -> Options:
    """The options with these values. Raises OptionError for a name, a type or a value that is not allowed."""
    known = {f.name: f for f in fields(options)}  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise OptionError(f"unknown key {name!r:.60}{suggest(str(name), known)}", str(name))
    hints = get_type_hints(options)
    found = {name: _value(name, hints[name], value) for name, value in given.items()}
    for name, one in known.items():
        if name not in found and _required(one):
            raise OptionError(f"missing key '{name}'")
    try:
        return options(**found)
    except OptionError:
        raise
    except ValueError as problem:
        raise OptionError(str(problem)) from None


def written(options: Any) -> Written:
    """The options of an entry that are not at their defaults, as plain values.

    An option without a default is written.
    """
    found = [(f.name, getattr(options, f.name)) for f in fields(options)]
    defaults = {f.name: f.default for f in fields(options)}
    return tuple((name, value) for name, value in found if defaults[name] is MISSING or value != defaults[name])


def names(options: type[Any]) -> tuple[str, ...]:
    """The names of the options. The first may be written without its name, as in {orthogonal: 1}."""
    return tuple(f.name for f in fields(options))


def _required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _value(name: str, hint: Any, value: Any) -> Any:
    kinds = get_args(hint) if get_origin(hint) in (Union, type(int | None)) else (hint,)
    for kind in kinds:
        found = _as(kind, value)
        if found is not MISSING:
            return found
    raise OptionError(f"expected {' or '.join(map(kind_words, kinds))}, got {value!r:.60}", name)


def _as(kind: Any, value: Any) -> Any:
    """The value as a kind, or MISSING where it is none of it. A bool is no number, and a number is finite."""
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) and not isinstance(value, bool) else MISSING
    if kind is NoneType:
        return None if value is None else MISSING
    if isinstance(value, bool) or kind is bool:
        return value if kind is bool and isinstance(value, bool) else MISSING
    if kind is float and isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return value if kind in (int, str) and isinstance(value, kind) else MISSING
