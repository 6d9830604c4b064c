"""Turns the syntax tree of a program into a text that changes when the program's behaviour can change.

Comments, docstrings, messages and import statements are left out of the text. This module loads no torch.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

TOLD = {"label", "unit", "format"}  # the arguments of a decorator that only readers see
# The arguments of the call that makes an entry which no training and no measuring reads: words for a reader, what the
# report predicts with, where an initialiser is allowed, and the gain, which is itself a number of a cell's identity.
WORDS = {"title", "better", "interval", "lost", "words"}
THEORY = {"phi", "slope", "kinks", "moments", "variance", "scale", "gaussian", "centred"}
TOLD_OF_ENTRY = TOLD | WORDS | THEORY | {"gain", "places"}


class Scope(Protocol):
    """The meaning of the names in a part of a syntax tree."""

    def used(self, node: ast.Name | ast.Attribute) -> str | None:
        """The text that stands for a name or an attribute in use. It is None where the node itself is written."""

    def within(self, node: ast.AST) -> Scope:
        """The meaning of the names in the contents of a node."""


def canonical(source: str) -> str:
    """The text of a module's source, in which every name is written as it is."""
    return text(ast.parse(source))


def text(node: object, scope: Scope | None = None) -> str:
    """The text of a node, a list of nodes or a value.

    It holds no positions and no empty fields, and therefore is the same in every version of Python: newer versions add
    fields, which are empty for older code.
    """
    if isinstance(node, list):
        return "[" + ",".join(text(item, scope) for item in node if not _silent(item)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if scope is not None and isinstance(node, (ast.Name, ast.Attribute)):
        used = scope.used(node)
        if used is not None:
            return used
    elif scope is not None:
        scope = scope.within(node)
    shown = [f"{name}={text(value, scope)}" for name, value in _fields(node) if value is not None and value != []]
    return f"{type(node).__name__}({','.join(shown)})"


def _silent(node: object) -> bool:
    """Whether a statement makes no number: an import, or code that only a type checker reads."""
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.If) and _type_checking(node) and not node.orelse
    )


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    """The fields of a node that can change its behaviour."""
    for name, value in ast.iter_fields(node):
        if name == "type_comment" or (isinstance(node, ast.Assert) and name == "msg"):
            continue
        if name == "body" and isinstance(value, list):
            if isinstance(node, ast.If) and _type_checking(node):
                continue
            yield name, _undocumented(node, value)
        elif name == "exc" and isinstance(value, ast.Call):
            yield name, value.func  # the message is for a reader
        elif name == "decorator_list" and isinstance(value, list):
            yield name, [_without(one, TOLD) if isinstance(one, ast.Call) else one for one in value]
        else:
            yield name, value


def _undocumented(owner: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    if isinstance(owner, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return body if ast.get_docstring(owner, clean=False) is None else body[1:]
    return body


def _without(call: ast.Call, keywords: set[str]) -> ast.Call:
    """The call without the arguments of these names."""
    kept = [keyword for keyword in call.keywords if keyword.arg not in keywords]
    return ast.copy_location(ast.Call(call.func, call.args, kept), call)


def untold(statement: ast.stmt, makes: Callable[[ast.Call], bool], lines: Iterable[int]) -> ast.stmt:
    """A copy of the statement that makes an entry, without the arguments that only readers and predictions see.

    They are taken from the calls for which `makes` is true, and from the decorators on one of the lines. The same words
    in any other call may be arguments of a computation, and stay.
    """
    made = copy.deepcopy(statement)
    decorators = [one for one in getattr(made, "decorator_list", []) if any(line in lines_of(one) for line in lines)]

    class Untold(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            entry = node in decorators or makes(node)
            return self.generic_visit(_without(node, TOLD_OF_ENTRY) if entry else node)

    return Untold().visit(made)


# -- parts of a tree --------------------------------------------------------------------------------------------------


def lines_of(node: ast.stmt | ast.expr) -> range:
    """The numbers of the lines of a node, its decorators included."""
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    return range(first, (node.end_lineno or node.lineno) + 1)


def visible(tree: ast.AST, functions: bool = True) -> Iterator[ast.AST]:
    """All nodes that are run, in their order, without those under `if TYPE_CHECKING`.

    `functions`: whether to enter functions and classes.
    """
    left: list[Any] = [tree]
    while left:
        node = left.pop()
        yield node
        if functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            unseen = isinstance(node, ast.If) and _type_checking(node)
            left += reversed(list(node.orelse if unseen else ast.iter_child_nodes(node)))


def _type_checking(node: ast.If) -> bool:
    return "TYPE_CHECKING" in (getattr(node.test, "id", ""), getattr(node.test, "attr", ""))


def defines(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a module binds or changes, unless it binds them by an import.

    `X[0] = 1`, `X |= {}`, `del X[0]` and `X.update()` change X, so that they belong to what X is.
    """
    for node in visible(statement, functions=False):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            yield from _owner(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _owner(node.value.func) if isinstance(node.value.func, ast.Attribute) else ()


def _owner(node: ast.expr) -> Iterator[str]:
    """The name with which a chain of attributes and items begins."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def hides(node: ast.AST) -> set[str]:
    """The names that a function, a comprehension or a loop binds for itself, so that in it they are not the module's.

    A name that also stands where the module's is still seen (a default, an annotation, what a loop goes over) is not
    among them: a use that is counted too often changes a key, and a use that is missed does not.
    """
    outside: list[ast.AST | None]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        own = {*_parameters(node.args), *_bound(node.body)} - _declared_global(node)
        outside = [node.args, *node.decorator_list, node.returns]
    elif isinstance(node, ast.Lambda):
        own, outside = set(_parameters(node.args)), [node.args]
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
        own = set(_bound([one.target for one in node.generators]))
        outside = [one.iter for one in node.generators]
    elif isinstance(node, ast.For):
        own, outside = set(_bound([node.target])), [node.iter, *node.orelse]
    else:
        return set()
    seen = (inner for part in outside if part is not None for inner in ast.walk(part))
    return own - {inner.id for inner in seen if isinstance(inner, ast.Name)}


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    yield from (node.arg for node in ast.iter_child_nodes(arguments) if isinstance(node, ast.arg))


def _bound(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The names that nodes bind in the scope in which they stand, not in scopes of functions and comprehensions."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.comprehension):
            yield from _bound([node.iter, *node.ifs])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif not isinstance(node, ast.Lambda):
            yield from _bound(ast.iter_child_nodes(node))


def _declared_global(function: ast.AST) -> set[str]:
    return {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
