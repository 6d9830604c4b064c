"""Turn a YAML file into plain values whose lines are known.

Only data is read: tags are refused, no code runs, and the expansion of aliases is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from study.errors import SpecError
from study.files import read, unread

MAX_BYTES = 1_000_000
MAX_SIZE = 1_000_000  # characters after aliases are expanded; every value counts as EACH more
MAX_DEPTH = 50
EACH = 10  # characters that a value counts as, whatever it holds

Path_ = tuple[str | int, ...]

# These are the scalars of YAML 1.2's core schema. PyYAML's own resolver follows YAML 1.1, where 1e-5 is a string, off
# is False and 1:30 is 90.
SCALARS: list[tuple[re.Pattern[str], Any]] = [
    (re.compile(r"(~|null|Null|NULL|)\Z"), lambda text: None),
    (re.compile(r"(true|True|TRUE)\Z"), lambda text: True),
    (re.compile(r"(false|False|FALSE)\Z"), lambda text: False),
    (re.compile(r"[-+]?[0-9][0-9_]{0,40}\Z"), lambda text: int(text.replace("_", ""))),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z"), float),
    (re.compile(r"[-+]?(\.inf|\.Inf|\.INF)\Z|(\.nan|\.NaN|\.NAN)\Z"), lambda text: float(text.replace(".", ""))),
]


IMPLICIT_TAGS = {"null", "bool", "int", "float", "str", "timestamp", "merge", "value", "seq", "map"}


@dataclass(frozen=True)
class Document:
    """A parsed file: `value` holds dicts, lists and scalars, and `lines` the line of each of them."""

    name: str  # as the user wrote it
    value: Any
    lines: dict[Path_, int]

    def error(self, path: Path_, message: str) -> SpecError:
        """The error with its place: `experiments.yaml:14: conditions.kaiming.hidden: message`.

        The line is that of `path`, or of its nearest parent that has one.
        """
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return _error(self.name, self.lines.get(known, 1), path, message)


def _error(name: str, line: int, path: Path_, message: str) -> SpecError:
    words = (str(part)[:60] for part in path)
    dotted = ".".join(word if word.strip() else repr(word) for word in words)  # quotes make a blank key visible
    return SpecError(f"{name}:{line}: {dotted[:200] + ': ' if dotted else ''}{message}")


def load_document(path: Path, name: str | None = None) -> Document:
    """The document at `path`. Raises SpecError for a file that is missing, too large, not UTF-8 or not YAML."""
    name = name or str(path)
    try:
        content = read(path, MAX_BYTES)
    except OSError as error:
        problem = unread(error, "name a study file", "a study file is text of a few pages")
        raise SpecError(f"{name}: {problem}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SpecError(
            f"{name}:{line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    return parse(text, name)


def parse(text: str, name: str) -> Document:
    """The document in `text`. Raises SpecError for a text that is not YAML."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(str(error.problem).split())
        raise SpecError(f"{name}:{mark.line + 1 if mark else 1}: not YAML: {problem}") from None
    except yaml.reader.ReaderError as error:  # this error has a position and no line
        line, character = text.count("\n", 0, error.position) + 1, chr(error.character)
        raise SpecError(f"{name}:{line}: not YAML: the character {character!r} may not stand in it") from None
    except _TooManyError as error:
        raise SpecError(
            f"{name}:{error}: holds more than {MAX_SIZE // EACH:,} values; a study file needs a few hundred"
        ) from None
    except RecursionError:
        raise SpecError(f"{name}:1: nested deeper than {MAX_DEPTH} levels; a study file needs a handful") from None
    if node is None:
        raise SpecError(f"{name}:1: is empty; a study file has at least data, model, training and conditions")
    builder = _Builder(name)
    return Document(name, builder.build(node, (), ()), builder.lines)


class _TooManyError(Exception):
    """A study file holds too many values. The argument is the line at which the limit is passed."""


class _Loader(yaml.SafeLoader):
    """A SafeLoader that stops where `_Builder` would refuse the file: a megabyte of commas is half a million values."""

    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.nodes += 1
        if self.nodes * EACH > MAX_SIZE:
            raise _TooManyError(self.peek_event().start_mark.line + 1)
        return super().compose_node(parent, index)


class _Builder:
    def __init__(self, name: str) -> None:
        self.name, self.lines, self._size = name, dict[Path_, int](), 0

    def build(self, node: yaml.Node, path: Path_, above: tuple[int, ...]) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._size += EACH + len(node.value)
        if len(path) > MAX_DEPTH or id(node) in above:
            raise self._error(line, (), f"nested deeper than {MAX_DEPTH} levels; a study file needs a handful")
        if self._size > MAX_SIZE:
            raise self._error(line, (), f"holds more than {MAX_SIZE:,} characters once its aliases are expanded")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line, path)
        above = (*above, id(node))
        self._refuse_tag(node, line, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*path, i), above) for i, child in enumerate(node.value)]
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(line, path, "a key must be a name or a whole number, got a list or a mapping")
            key = self._scalar(key_node, line, path)
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise self._error(line, path, f"a key must be a name or a whole number, got {key_node.value!r:.60}")
            if key == "<<" and key_node.style is None:
                raise self._error(
                    line, path, "merge keys (<<) are not read; write the keys out, or inherit with `from`"
                )
            here = (*path, key)
            if key in result:
                raise self._error(line, here, f"duplicate key {key!r:.60}, first given in line {self.lines[here]}")
            self.lines[here] = line
            result[key] = self.build(value_node, here, above)
        return result

    def _scalar(self, node: yaml.ScalarNode, line: int, path: Path_) -> Any:
        self._refuse_tag(node, line, path)
        if any("\ud800" <= c <= "\udfff" for c in node.value):
            raise self._error(line, path, "holds half of a surrogate pair; write the character itself")
        if node.style is not None:  # a quoted or a block scalar is text, even if it looks like a number
            return node.value
        for pattern, convert in SCALARS:
            if pattern.match(node.value):
                return convert(node.value)
        return node.value

    def _refuse_tag(self, node: yaml.Node, line: int, path: Path_) -> None:
        if node.tag.removeprefix("tag:yaml.org,2002:") not in IMPLICIT_TAGS:
            raise self._error(line, path, f"tag {node.tag!r:.60} is not allowed; write plain values")

    def _error(self, line: int, path: Path_, message: str) -> SpecError:
        return _error(self.name, line, path, message)
