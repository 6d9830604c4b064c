"""Hash of the modules that determine the numbers: syntax trees without docstrings, so that a comment costs nothing."""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path

# What a trajectory depends on: parameters, running statistics, losses.
TRAINING = (
    "data", "engines/compiled", "engines/embedding", "engines/fused", "engines/kernels", "engines/layout",
    "engines/levels", "engines/products", "engines/scalar", "engines/tiles", "engines/workspace", "model", "rng", "setup",
    "shard", "train", "trajectory", "words",
)  # fmt: skip
# What the rows of a trajectory depend on, besides.
MEASURING = ("data", "evaluate", "measure", "metrics", "model", "rng", "rows", "setup", "train", "trajectory", "words")
# All that turns a Spec into tables. The Spec has a digest of its own; what runs, shows, judges or renders is not here.
MODULES = tuple(sorted({*TRAINING, *MEASURING, "apart", "collect", "engine", "plan", "probe", "tables"}))


def digest(names: tuple[str, ...] = MODULES) -> str:
    """sha256 over the syntax trees of the modules; equal on every Python version for equal code."""
    total = hashlib.sha256()
    for name, found in hashes(names).items():
        total.update(f"{name} {found}\n".encode())
    return total.hexdigest()


def hashes(names: tuple[str, ...]) -> dict[str, str]:
    """The same, module by module."""
    return {name: _hash(name) for name in names}


@functools.cache
def _hash(name: str) -> str:
    text = (Path(__file__).parent / f"{name}.py").read_text("utf-8")
    return hashlib.sha256(canonical(text).encode()).hexdigest()


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
