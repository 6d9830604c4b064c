"""The parts of the machine and of the program on which numbers depend: the kind of CPU, versions, the hash of the code.

The hash of the code is found by following imports. A role is a part of the program that makes some of the numbers: a
trainer with the loop around it, measuring, or collecting. The hash of a role goes over the modules that its roots
reach. It does not depend on their names or places. Comments, docstrings, messages and import statements are left out;
instead, each use of an imported name counts as the statement that defines the name. This module loads no torch.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

Role = Literal["autograd", "fused", "measuring", "states", "collecting"]

# The modules in which each role begins, without the package's name. The modules that they import belong to it as well.
ROOTS: dict[Role, tuple[str, ...]] = {
    "autograd": ("training.loop", "training.autograd"),
    "fused": ("training.loop", "training.fused.trainer", "training.fused.kernels"),
    "measuring": ("measurement.measure",),
    "states": ("measurement.states",),
    "collecting": ("execution.collect", "measurement.probe"),
}
KERNELS = "training.fused.kernels"  # the module that Numba compiles; its cache follows the same imports
SILENT = "errors"  # a module that makes sentences, but no number
TOLD = {"label", "unit", "format"}  # the arguments of a decorator that only readers see
REFUSED = {"importlib", "__import__", "globals"}  # names with which a module could hide the code that it uses


@cache
def installed(package: str) -> str:
    """The version of a package, found without importing the package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def cpuinfo() -> dict[str, str]:
    """The entries of /proc/cpuinfo about the first CPU. On other systems than Linux there are none."""
    info = Path("/proc/cpuinfo")
    text = info.read_text("utf-8", "replace") if info.exists() else ""
    fields = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}


def cpu_level() -> str:
    """The architecture, the maker and the widest vectors of the CPU, by which torch and BLAS choose their kernels."""
    fields = cpuinfo()
    flags = fields.get("flags", fields.get("Features", "")).split()
    widest = next((level for level in ("avx512f", "avx2", "avx", "sve", "asimd") if level in flags), "")
    return " ".join(filter(None, (platform.machine(), fields.get("vendor_id", ""), widest)))


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
    """The sha256 of all code that a role runs."""
    return _installed().digest(ROOTS[role])


def source_digest() -> str:
    """The sha256 of all code that makes a number of the tables."""
    return hashlib.sha256("\n".join(code_digest(role) for role in sorted(ROOTS)).encode()).hexdigest()


def kernel_number() -> int:
    """A number that changes with any byte of the code from which the kernels are compiled."""
    return int(_installed().content((KERNELS,))[:15], 16)


@cache  # every notebook's key asks for it
def bytes_of(*modules: str) -> str:
    """The sha256 of all files that modules reach, byte by byte. This is for a page, in which every word counts."""
    return _installed().content(modules)


def imported_by(module: str) -> list[str]:
    """The modules of the project that a module imports itself, by their names without the package's, in order."""
    return _installed().module(module).imported


def file_of(module: str) -> str:
    """`study/measurement/measure.py`: where a module lies, from the folder in which the package does."""
    code = _installed()
    return code.path(module).relative_to(code.folder.parent).as_posix()


@cache
def _installed() -> Code:
    return Code(Path(__file__).parent)


def canonical(source: str) -> str:
    """The syntax tree of a module as text, without docstrings, comments, messages, positions and empty fields.

    The text is the same in every version of Python: newer versions add fields, which are empty for older code.
    """
    return _Writer({}).text(ast.parse(source))


@dataclass(frozen=True)
class Binding:
    """The object to which an import binds a name: a module, or a name that a module defines."""

    module: str  # the dotted name; where the module is `inside`, without the package's name
    name: str = ""  # empty where the module itself is bound
    inside: bool = False  # whether the module belongs to the project

    def __str__(self) -> str:
        return ".".join(filter(None, (self.module, self.name)))


@dataclass
class Code:
    """The modules below a folder, as one package. Its name enters no hash."""

    folder: Path
    _parsed: dict[str, Module] = field(default_factory=dict)
    _hashes: dict[str, str] = field(default_factory=dict)
    _defined: dict[Binding, str] = field(default_factory=dict)

    def digest(self, roots: Iterable[str]) -> str:
        """The sha256 over the sorted hashes of the modules that the roots reach."""
        found = {self._hash(name) for name in self.reach(roots)}
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()

    def content(self, roots: Iterable[str]) -> str:
        """The sha256 over the sorted hashes of the bytes of the same modules' files."""
        found = {hashlib.sha256(self.path(name).read_bytes()).hexdigest() for name in self.reach(roots)}
        return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()

    def reach(self, roots: Iterable[str]) -> list[str]:
        """The roots and all modules that they import, directly or not, at the top or in functions, without `errors`."""
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
        """The text that stands in a hash for the use of an imported name."""
        if binding not in self._defined:  # most names are used many times
            self._defined[binding] = self._definition(binding)
        return self._defined[binding]

    def _definition(self, binding: Binding) -> str:
        if not binding.inside or binding.module == SILENT:
            return f"<{binding}>"
        if not binding.name:
            return f"<{hashlib.sha256(canonical(self.path(binding.module).read_text('utf-8')).encode()).hexdigest()}>"
        module = self.module(binding.module)
        origin = module.bound.get(binding.name)
        if origin is not None and binding.name not in module.statements:  # the module only re-exports it
            return "".join(self.defined(one) for one in origin)
        made = module.statements.get(binding.name)
        assert made, f"{binding.module}: defines no {binding.name}"
        text = "".join(_Writer(module.bound).text(statement) for statement in made)
        return f"<{hashlib.sha256(text.encode()).hexdigest()} {binding.name}>"


Bound = Mapping[str, tuple[Binding, ...]]  # name -> the objects to which imports bind it, in the order of the file


@dataclass
class Module:
    """A module: its syntax tree, its imports, and the statements that define its names."""

    code: Code
    name: str
    tree: ast.Module

    @cached_property
    def bound(self) -> Bound:
        """The names that the imports at the top of the module bind."""
        return self.bindings(self.tree.body)

    @cached_property
    def imported(self) -> list[str]:
        """The modules of the project that any statement in the file imports."""
        found = [binding for node in _visible(self.tree) for _, binding in self._names(node)]
        return sorted({binding.module for binding in found if binding.inside})

    @cached_property
    def statements(self) -> dict[str, list[ast.stmt]]:
        """The names of the module -> the statements at its top that define them."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self.tree.body:
            for name in dict.fromkeys(_defines(statement)):
                found.setdefault(name, []).append(statement)
        return found

    def bindings(self, body: Iterable[ast.AST]) -> dict[str, tuple[Binding, ...]]:
        """The names that the import statements of a body bind, without those in functions within the body."""
        found: dict[str, tuple[Binding, ...]] = {}
        for statement in body:
            for node in _visible(statement, functions=False):
                for name, binding in self._names(node):
                    found[name] = (*found.get(name, ()), binding)
        return found

    def _names(self, node: ast.AST) -> Iterator[tuple[str, Binding]]:
        """Yield (local name, the object to which it is bound) for an import statement."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole_ = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or whole_, self._binding(whole_)
                # the whole is imported, though only its first part is bound to a name
                if not alias.asname and "." in alias.name:
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
        """The object of `from within import name`, or of within.name: a module, or a name in a module."""
        below = ".".join(filter(None, (within.module, name)))
        if within.inside and self.code.exists(below):
            return Binding(below, inside=True)
        return Binding(within.module, name, within.inside)

    def member(self, within: Binding, name: str) -> Binding:
        """The object that an attribute of a module is. For a module from outside the project it is a dotted name."""
        return self._member(within, name) if within.inside else Binding(f"{within.module}.{name}")

    def refuse(self) -> None:
        """Check that the module hides no code that it uses. AssertionError: it does."""
        for node in _visible(self.tree):
            hidden = {node.id} & REFUSED if isinstance(node, ast.Name) else set()
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name.partition(".")[0] for alias in node.names}
                hidden = (names | {getattr(node, "module", "") or ""}) & {*REFUSED, "*"}
            assert not hidden, f"{self.name}: {', '.join(sorted(hidden))} hides what a hash of the code must see"


def _visible(tree: ast.AST, functions: bool = True) -> Iterator[ast.AST]:
    """All nodes that are run, without those under `if TYPE_CHECKING`. `functions`: whether to enter functions."""
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
    """The packages around a module, without the outermost one, which is the project."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _defines(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a module binds, unless it binds them by an import."""
    for node in _visible(statement, functions=False):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


class _Writer:
    """Turns a syntax tree into text.

    Where a module is given, an imported name counts as the statement that defines it. Otherwise it counts as the name
    under which it is defined.
    """

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
        """The writer for the contents of a node. In a function or a class, it knows the imports there as well."""
        if self.module is None or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return self
        own = self.module.bindings(node.body)
        return _Writer({**self.bound, **own}, self.module) if own else self

    def _used(self, node: ast.AST) -> str | None:
        """The text that stands for the use of an imported name. It is None for any other node."""
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
