"""Hash of the modules that determine the numbers: syntax trees without docstrings, so that a comment costs nothing."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

# What turns a Spec into tables. The Spec has a digest of its own; what shows, judges or renders is not here.
MODULES = (
    "apart", "collect", "data", "engine", "engines/compiled", "engines/embedding", "engines/fused", "engines/kernels", "engines/layout",
    "engines/levels", "engines/products", "engines/scalar", "engines/tiles", "engines/workspace", "evaluate", "metrics",
    "model", "plan", "probe", "rng", "rows", "run", "setup", "shard", "tables", "train", "words",
)  # fmt: skip


def digest(names: tuple[str, ...] = MODULES) -> str:
    """sha256 over the syntax trees of the modules; equal on every Python version for equal code."""
    folder = Path(__file__).parent
    total = hashlib.sha256()
    for name in names:
        total.update(f"{name}\n{canonical((folder / f'{name}.py').read_text('utf-8'))}\n".encode())
    return total.hexdigest()


def canonical(source: str) -> str:
    """The syntax tree of a module as text, without docstrings, comments, positions and empty fields."""
    return _node(ast.parse(source))


def _node(node: object) -> str:
    if isinstance(node, ast.AST):
        # empty fields are left out: newer versions of Python add some
        fields = [(k, _body(v, node) if k == "body" else v) for k, v in ast.iter_fields(node) if k != "type_comment"]
        shown = [f"{k}={_node(v)}" for k, v in fields if v is not None and v != []]
        return f"{type(node).__name__}({','.join(shown)})"
    if isinstance(node, list):
        return "[" + ",".join(_node(item) for item in node) + "]"
    return repr(node)


def _body(body: object, owner: ast.AST) -> object:
    if isinstance(owner, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and isinstance(body, list):
        return body if ast.get_docstring(owner, clean=False) is None else body[1:]
    return body
