"""This machine and this program as far as numbers depend on them: the kind of CPU, versions, the hash of the code.

The hash of the code is found by following imports. A role is what makes some of the numbers: a trainer with the loop
around it, measuring, collecting. Its hash goes over the modules that its roots reach, whatever they are called and
wherever they lie. Comments, docstrings, messages and import statements are left out; instead each use of an imported
name counts as the statement that defines it. No torch.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

Role = Literal["autograd", "fused", "measuring", "collecting"]

# The modules in which each role begins, without the package's name; what they import belongs to it as well.
ROOTS: dict[Role, tuple[str, ...]] = {
    "autograd": ("training.loop", "training.autograd"),
    "fused": ("training.loop", "training.fused.trainer", "training.fused.kernels"),
    "measuring": ("measurement.measure",),
    "collecting": ("execution.collect", "measurement.probe"),
}
KERNELS = "training.fused.kernels"  # what is compiled: Numba's cache follows the same imports
SILENT = "errors"  # it makes sentences, and no number
TOLD = {"label", "unit", "format"}  # arguments of a decorator that only readers see
REFUSED = {"importlib", "__import__", "globals"}  # names that would hide what a module uses


@cache
def installed(package: str) -> str:
    """Version of a package, which is not imported for it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def cpuinfo() -> dict[str, str]:
    """What Linux says of the first CPU; nothing elsewhere."""
    info = Path("/proc/cpuinfo")
    text = info.read_text("utf-8", "replace") if info.exists() else ""
    fields = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


def cpu_level() -> str:
    """Architecture, maker and widest vectors of the CPU: what torch and BLAS choose their kernels by."""
    fields = cpuinfo()
    flags = fields.get("flags", fields.get("Features", "")).split()
    widest = next((level for level in ("avx512f", "avx2", "avx", "sve", "asimd") if level in flags), "")
    return " ".join(filter(None, (platform.machine(), fields.get("vendor_id", ""), widest)))


# -- the hash of the code ---------------------------------------------------------------------------------------------


def code_digest(role: Role) -> str:
    """sha256 of all code that the role runs."""
    return _installed().digest(ROOTS[role])


def source_digest() -> str:
    """sha256 of all code that makes a number of the tables."""
    return hashlib.sha256("\n".join(code_digest(role) for role in sorted(ROOTS)).encode()).hexdigest()


def kernel_number() -> int:
    """A number for the bytes of all code that the kernels are made of."""
    return int(_installed().content((KERNELS,))[:15], 16)


def bytes_of(*modules: str) -> str:
    """sha256 of all code that modules run, byte by byte: of a page, where every word counts."""
    return _installed().content(modules)


@cache
def _installed() -> Code:
    return Code(Path(__file__).parent)


def canonical(source: str) -> str:
    """The syntax tree of a module as text, without docstrings, comments, messages, positions and empty fields.

    The text is the same on every version of Python: newer ones add fields, which are empty in older code.
    """
    return _Writer({}).text(ast.parse(source))


@dataclass(frozen=True)
class Binding:
    """What an import binds a name to: a module, or a name that a module defines."""

    module: str  # dotted; of the project without the package's name, and `inside`
    name: str = ""  # empty: the module itself
    inside: bool = False  # whether the module is the project's own

    def __str__(self) -> str:
        return ".".join(filter(None, (self.module, self.name)))


@dataclass
class Code:
    """The modules below a folder, as one package whose name does not matter to any hash."""

    folder: Path
    _parsed: dict[str, Module] = field(default_factory=dict)
    _hashes: dict[str, str] = field(default_factory=dict)

    def digest(self, roots: Iterable[str]) -> str:
        """sha256 over the sorted hashes of the modules that the roots reach."""
        found = {self._hash(name) for name in self.reach(roots)}
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()

    def content(self, roots: Iterable[str]) -> str:
        """sha256 over the sorted hashes of the same files, byte by byte."""
        found = {hashlib.sha256(self.path(name).read_bytes()).hexdigest() for name in self.reach(roots)}
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()

    def reach(self, roots: Iterable[str]) -> list[str]:
        """The roots and all modules that they import, in functions or not, directly or not; `errors` is left out."""
        found: set[str] = set()
        left = list(roots)
        while left:
            name = left.pop()
            if name in found or name == SILENT:
                continue
            assert self.exists(name), f"{name}: there is no such module in {self.folder}"
            found.add(name)
            left += self.module(name).imported
            left += [package for package in _packages(name) if self.module(package).tree.body]
        return sorted(found)

    def path(self, module: str) -> Path:
        """The file of a module or of a package."""
        beside = self.folder.joinpath(*module.split("."))
        return beside / "__init__.py" if beside.is_dir() else beside.with_suffix(".py")

    def exists(self, module: str) -> bool:
        """Whether the project has such a module."""
        return self.path(module).is_file()

    def module(self, name: str) -> Module:
        """A module, read once."""
        if name not in self._parsed:
            self._parsed[name] = Module(self, name, ast.parse(self.path(name).read_text("utf-8")))
        return self._parsed[name]

    def _hash(self, name: str) -> str:
        if name not in self._hashes:
            module = self.module(name)
            module.refuse()
            text = _Writer(module.bound, module).text(module.tree)
            self._hashes[name] = hashlib.sha256(text.encode()).hexdigest()
        return self._hashes[name]

    def defined(self, binding: Binding) -> str:
        """What a use of an imported name counts as."""
        if not binding.inside or binding.module == SILENT:
            return f"<{binding}>"
        if not binding.name:
            return f"<{hashlib.sha256(canonical(self.path(binding.module).read_text('utf-8')).encode()).hexdigest()}>"
        module = self.module(binding.module)
        origin = module.bound.get(binding.name)
        if origin is not None and binding.name not in module.statements:  # the module only hands it on
            return "".join(self.defined(one) for one in origin)
        made = module.statements.get(binding.name)
        assert made, f"{binding.module}: defines no {binding.name}"
        text = "".join(_Writer(module.bound).text(statement) for statement in made)
        return f"<{hashlib.sha256(text.encode()).hexdigest()} {binding.name}>"


Bound = Mapping[str, tuple[Binding, ...]]  # name -> what imports bind it to, in the order of the file


@dataclass
class Module:
    """One module: its syntax tree, what it imports, and which statement defines each of its names."""

    code: Code
    name: str
    tree: ast.Module

    @cached_property
    def bound(self) -> Bound:
        """What the imports at the top of the module bind."""
        return self.bindings(self.tree.body)

    @cached_property
    def imported(self) -> list[str]:
        """Modules of the project that any import in the file leads to."""
        found = [binding for node in _visible(self.tree) for _, binding in self._names(node)]
        return sorted({binding.module for binding in found if binding.inside})

    @cached_property
    def statements(self) -> dict[str, list[ast.stmt]]:
        """Name -> the statements at the top of the module that define it."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self.tree.body:
            for name in dict.fromkeys(_defines(statement)):
                found.setdefault(name, []).append(statement)
        return found

    def bindings(self, body: Iterable[ast.AST]) -> dict[str, tuple[Binding, ...]]:
        """What the import statements of a body bind, those in functions within it aside."""
        found: dict[str, tuple[Binding, ...]] = {}
        for statement in body:
            for node in _visible(statement, functions=False):
                for name, binding in self._names(node):
                    found[name] = (*found.get(name, ()), binding)
        return found

    def _names(self, node: ast.AST) -> Iterator[tuple[str, Binding]]:
        """(local name, what it is bound to) of an import statement."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole_ = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or whole_, self._binding(whole_)
                if not alias.asname and "." in alias.name:  # reached, though the name is bound to its first part
                    yield f"<{alias.name}>", self._binding(alias.name)
        elif isinstance(node, ast.ImportFrom):
            within = self._binding(self._absolute(node))
            for alias in node.names:
                yield alias.asname or alias.name, self._member(within, alias.name)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = [self.code.folder.name, *self.name.split(".")]
        is_package = self.code.path(self.name).name == "__init__.py"
        up = node.level - is_package
        return ".".join([*package[: len(package) - up], *filter(None, [node.module])])

    def _binding(self, dotted: str) -> Binding:
        package, _, rest = dotted.partition(".")
        return Binding(rest, inside=True) if package == self.code.folder.name else Binding(dotted)

    def _member(self, within: Binding, name: str) -> Binding:
        """What `from within import name`, or within.name, is: a module of the project, or a name in a module."""
        below = ".".join(filter(None, (within.module, name)))
        if within.inside and self.code.exists(below):
            return Binding(below, inside=True)
        return Binding(within.module, name, within.inside)

    def member(self, within: Binding, name: str) -> Binding:
        """What the attribute of a module is; of a module from outside, its dotted name."""
        return self._member(within, name) if within.inside else Binding(f"{within.module}.{name}")

    def refuse(self) -> None:
        """AssertionError where the module hides what it uses."""
        for node in _visible(self.tree):
            hidden = {node.id} & REFUSED if isinstance(node, ast.Name) else set()
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name.partition(".")[0] for alias in node.names}
                hidden = (names | {getattr(node, "module", "") or ""}) & {*REFUSED, "*"}
            assert not hidden, f"{self.name}: {', '.join(sorted(hidden))} hides what a hash of the code must see"


def _visible(tree: ast.AST, functions: bool = True) -> Iterator[ast.AST]:
    """All nodes that are run: those under `if TYPE_CHECKING` aside, and those in functions where they are not wanted."""
    yield tree
    if not functions and isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
        return
    for child in _children(tree):
        yield from _visible(child, functions)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and _type_checking(node):
        yield from node.orelse
    else:
        yield from ast.iter_child_nodes(node)


def _type_checking(node: ast.If) -> bool:
    return "TYPE_CHECKING" in (getattr(node.test, "id", ""), getattr(node.test, "attr", ""))


def _packages(name: str) -> list[str]:
    """The packages around a module, the outermost, which is the project, aside."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _defines(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top of a module binds, by other means than an import."""
    for node in _visible(statement, functions=False):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


class _Writer:
    """A syntax tree as text. With a module an imported name counts as its definition, without one as it is spelled
    where it is defined."""

    def __init__(self, bound: Bound, module: Module | None = None) -> None:
        self.bound, self.module = bound, module

    def text(self, node: object) -> str:
        """The text of a node, a list of nodes or a value."""
        if isinstance(node, list):
            return "[" + ",".join(self.text(item) for item in node if not _silent(item)) + "]"
        if not isinstance(node, ast.AST):
            return repr(node)
        used = self._used(node)
        if used is not None:
            return used
        inner = self._within(node)
        shown = [f"{name}={inner.text(value)}" for name, value in _fields(node) if value is not None and value != []]
        return f"{type(node).__name__}({','.join(shown)})"

    def _within(self, node: ast.AST) -> _Writer:
        """The writer for what stands in a node: a function sees its own imports as well."""
        if self.module is None or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return self
        own = self.module.bindings(node.body)
        return _Writer({**self.bound, **own}, self.module) if own else self

    def _used(self, node: ast.AST) -> str | None:
        """What the use of an imported name counts as; None for any other node."""
        found = self._bindings(node)
        if not found:
            return None
        if self.module is None:
            return "".join(f"<{one.name if one.inside else one}>" for one in found)
        return "".join(self.module.code.defined(one) for one in found)

    def _bindings(self, node: ast.AST) -> tuple[Binding, ...]:
        if isinstance(node, ast.Name):
            return self.bound.get(node.id, ())
        if isinstance(node, ast.Attribute):
            owners = self._bindings(node.value)
            if owners and all(not owner.name for owner in owners):  # an attribute of a module
                return tuple(self._member(owner, node.attr) for owner in owners)
        return ()

    def _member(self, owner: Binding, name: str) -> Binding:
        if self.module is not None:
            return self.module.member(owner, name)
        return Binding(owner.module, name, True) if owner.inside else Binding(f"{owner.module}.{name}")


def _silent(node: object) -> bool:
    """Whether a statement of a body makes no number: an import, or what only a type checker reads."""
    return isinstance(node, (ast.Import, ast.ImportFrom)) or (
        isinstance(node, ast.If) and _type_checking(node) and not node.orelse
    )


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    """The fields of a node that can change what it does."""
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
            yield name, [_unlabelled(decorator) for decorator in value]
        else:
            yield name, value


def _undocumented(owner: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    if isinstance(owner, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return body if ast.get_docstring(owner, clean=False) is None else body[1:]
    return body


def _unlabelled(decorator: ast.expr) -> ast.expr:
    if not isinstance(decorator, ast.Call):
        return decorator
    kept = [keyword for keyword in decorator.keywords if keyword.arg not in TOLD]
    return ast.Call(decorator.func, decorator.args, kept)
