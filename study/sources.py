"""The modules of a package as parts of a hash: what each of them imports, defines and uses.

The hash of some code is found by following imports. It does not depend on the names or places of modules. Comments,
docstrings, messages and import statements are left out; instead, each use of an imported name counts as the statement
that defines the name.

A module counts whole, unless it is open: a module that holds entries of a registry, or a file of the user with entries
(an extension). Of an open module only the definitions count that counted code uses, or that the statements use that
made an entry.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from study.errors import SpecError
from study.syntax import canonical, defines, hides, lines_of, text, untold, visible

SILENT = {"errors", "files", "codehash"}  # modules that make sentences, files or hashes, but no number
REFUSED = {"importlib", "__import__", "globals", "*"}  # names with which a module could hide the code that it uses


class Binding(NamedTuple):
    """The object to which an import or a definition binds a name: a module, or a name that a module defines."""

    module: Module | str  # a module of this code; the dotted name of any other
    name: str = ""  # empty where the module itself is bound

    def __str__(self) -> str:
        module = self.module if isinstance(self.module, str) else self.module.name
        return ".".join(filter(None, (module, self.name)))


Bound = Mapping[str, tuple[Binding, ...]]  # name -> the objects that it is bound to, in the order of the file


class Unit(NamedTuple):
    """A module or a statement as a part of a hash."""

    hash: str  # the sha256 of its text
    uses: tuple[Binding, ...]  # the objects that it imports and names


@dataclass(eq=False)
class Code:
    """The modules below a folder, as one package whose name enters no hash; or an extension and the files beside it."""

    folder: Path
    open: tuple[str, ...] = ()  # the modules of the package that hold entries, and of which only what is used counts
    package: Code | None = None  # the package that an extension imports; None for the package itself
    _modules: dict[str, Module] = field(default_factory=dict, repr=False)
    _beside: dict[Path, Code] = field(default_factory=dict, repr=False)

    def digest(self, roots: Iterable[str]) -> str:
        """The sha256 over the sorted hashes of what the roots reach: whole modules, and definitions of open ones."""
        return _joined(_all(self._reached(Binding(self.module(name)) for name in roots)))

    def counted(self, roots: Iterable[str]) -> list[str]:
        """The names of the modules and of the definitions of open modules over which that hash goes, in order."""
        return sorted({str(binding) for binding in self._reached(Binding(self.module(name)) for name in roots)})

    def entry(self, made: Iterable[tuple[str, int]]) -> str:
        """The sha256 over the sorted hashes of the statements that made an entry, and of what they reach.

        `made`: the files and lines of the statements. SpecError: an extension hides code that it uses, or is no file.
        """
        lines: dict[tuple[Module, ast.stmt], list[int]] = {}
        for file, line in made:
            module = self._of_file(file)
            lines.setdefault((module, module.at(line)), []).append(line)
        units = [module.unit(untold(one, module.makes_entry, found)) for (module, one), found in lines.items()]
        uses = [binding for unit in units for binding in unit.uses]
        uses += [Binding(module) for module, _ in lines if not module.open]
        reached = self._reached(uses, {statement for _, statement in lines})
        return _joined([*(unit.hash for unit in units), *_all(reached)])

    def content(self, roots: Iterable[str]) -> str:
        """The sha256 over the sorted hashes of the bytes of all files that the roots reach."""
        return _joined(hashlib.sha256(self.module(name).path.read_bytes()).hexdigest() for name in self.reach(roots))

    def reach(self, roots: Iterable[str]) -> list[str]:
        """The roots and all modules that they import, directly or not, at the top or in functions. No silent one."""
        found: set[Module] = set()
        left = [self.module(name) for name in roots]
        while left:
            module = left.pop()
            if module in found or module.silent:
                continue
            found.add(module)
            left += [*module.imported, *module.packages]
        return sorted(module.name for module in found)

    def _reached(self, uses: Iterable[Binding], known: Iterable[ast.stmt] = ()) -> dict[Binding, list[str]]:
        """What uses reach, directly or not -> the hashes of its statements. The known statements are passed over."""
        found: dict[Binding, list[str]] = {}
        passed = set(known)
        left = list(uses)
        while left:
            module, name = left.pop()
            if isinstance(module, str) or module.silent:
                continue
            binding = Binding(module, name if module.open else "")
            if binding in found or (module.open and not name):  # of an open module only the names count
                continue
            if module.open:
                statements = [one for one in module.definition(name) if one not in passed]
                units = [module.unit(statement) for statement in statements]
                left += module.bound.get(name, ())
            else:
                units = [module.unit(module.tree)]
            found[binding] = [unit.hash for unit in units]
            left += [used for unit in units for used in unit.uses]
            left += map(Binding, module.packages)
        return found

    def _of_file(self, file: str) -> Module:
        """The module in a file: a module of the package, or an extension."""
        path = Path(file).resolve()
        if not path.is_file() or path.suffix != ".py" or "." in path.stem:
            raise SpecError(f"{file}: an entry stands here, but not in a file that is named NAME.py; move it into one")
        inside = path.is_relative_to(self.folder)
        code = self if inside else self._beside.setdefault(path.parent, Code(path.parent, package=self))
        parts = path.relative_to(code.folder).with_suffix("").parts
        return code.module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))

    def exists(self, module: str) -> bool:
        """Whether there is such a module, or a folder of modules without an `__init__.py`."""
        path = self.path(module)
        return path.is_file() or (path.name == "__init__.py" and any(path.parent.glob("*.py")))

    def path(self, module: str) -> Path:
        """The file of a module or of a package."""
        beside = self.folder.joinpath(*module.split("."))
        return beside / "__init__.py" if beside.is_dir() else beside.with_name(f"{beside.name}.py")

    def module(self, name: str) -> Module:
        """A module, read once."""
        if name not in self._modules:
            assert self.exists(name), f"{name}: there is no such module in {self.folder}"
            self._modules[name] = Module(self, name)
        return self._modules[name]

    @cached_property
    def name(self) -> str:
        """The name by which the modules of this code import it. It is empty for an extension outside any package."""
        parts, folder = [self.folder.name], self.folder.parent
        if self.package is not None:
            parts, folder = [], self.folder
            while (folder / "__init__.py").exists():
                parts, folder = [folder.name, *parts], folder.parent
        return ".".join(parts)

    def find(self, dotted: str) -> Module | None:
        """The module of a dotted name, as this code imports it. It is None for a module from elsewhere."""
        own = self.name and (dotted == self.name or dotted.startswith(f"{self.name}."))
        within = dotted.removeprefix(self.name).removeprefix(".") if own else dotted
        if self.package is None:
            return self.module(within) if own else None
        beside = self.exists(within) and not found_elsewhere(within.partition(".")[0], self.folder)
        return self.package.find(dotted) or (self.module(within) if beside else None)


def found_elsewhere(name: str, folder: Path) -> bool:
    """Whether Python finds a top-level module outside of a folder: a part of the standard library or of a package.

    Such a module is meant by an import in an extension, even if a file of the same name lies beside it. A folder
    without `__init__.py` is no such module.
    """
    if name in sys.stdlib_module_names:
        return True
    try:
        found = PathFinder.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # what a finder of another package raises
        return False
    return found is not None and found.origin is not None and not Path(found.origin).resolve().is_relative_to(folder)


def _all(reached: Mapping[Binding, list[str]]) -> list[str]:
    return [one for hashes in reached.values() for one in hashes]


def _joined(hashes: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(set(hashes))).encode()).hexdigest()


@dataclass(eq=False)
class Module:
    """A module: its syntax tree, its imports, and the statements that define its names."""

    code: Code
    name: str
    _units: dict[ast.AST, Unit] = field(default_factory=dict, repr=False)
    _defined: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> Path:
        """The file of the module. A folder without `__init__.py` has none."""
        return self.code.path(self.name)

    @property
    def silent(self) -> bool:
        """Whether the module makes no number."""
        return self.code.package is None and self.name in SILENT

    @property
    def open(self) -> bool:
        """Whether only those of its definitions count that are used."""
        return self.code.package is not None or self.name in self.code.open

    @cached_property
    def source(self) -> str:
        """The text of the file, empty for a folder without `__init__.py`."""
        return self.path.read_text("utf-8") if self.path.is_file() else ""

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of the file."""
        return ast.parse(self.source)

    @cached_property
    def bound(self) -> Bound:
        """The names that the imports at the top of the module bind."""
        return self.bindings(self.tree.body)

    @cached_property
    def imported(self) -> list[Module]:
        """The modules of the project that any statement in the file imports, in the order of their names."""
        found = {
            binding.module for _, binding in self._imports(visible(self.tree)) if isinstance(binding.module, Module)
        }
        return sorted(found, key=lambda module: module.name)

    @cached_property
    def packages(self) -> list[Module]:
        """The packages around the module that hold code, without the outermost one, which is the project."""
        parts = self.name.split(".")
        around = [self.code.module(".".join(parts[:n])) for n in range(1, len(parts))]
        return [package for package in around if package.tree.body]

    @cached_property
    def statements(self) -> dict[str, list[ast.stmt]]:
        """The names of the module -> the statements at its top that define them."""
        found: dict[str, list[ast.stmt]] = {}
        for statement in self.tree.body:
            called = isinstance(statement, ast.Expr)
            for name in dict.fromkeys(defines(statement)):
                if not (called and self._is_module(name)):  # norms.register(…) does not define norms
                    found.setdefault(name, []).append(statement)
        return found

    def _is_module(self, name: str) -> bool:
        """Whether the imports at the top bind a name to modules of the project alone."""
        meant = self.bound.get(name, ())
        return bool(meant) and all(isinstance(one.module, Module) and not one.name for one in meant)

    @cached_property
    def names(self) -> Bound:
        """The names that stand for something else in a hash: imports, and in an open module its definitions, too."""
        own = {name: (*self.bound.get(name, ()), Binding(self, name)) for name in self.statements if self.open}
        return {**self.bound, **own}

    def at(self, line: int) -> ast.stmt:
        """The statement at the top of the module that holds a line. An error is raised if none does."""
        found = [statement for statement in self.tree.body if line in lines_of(statement)]
        if not found:
            raise self.refused(self.tree, f"has no statement at line {line}; was the file changed after it was loaded?")
        return found[0]

    def makes_entry(self, call: ast.Call) -> bool:
        """Whether a call makes an entry: a record with a field `origin`, in a module whose names are known here."""
        meant = _Names(self, self.names).meant(call.func)
        return any(isinstance(one.module, Module) and one.module.has_origin(one.name) for one in meant)

    def has_origin(self, name: str) -> bool:
        """Whether a name is that of a class with a field `origin`."""
        bodies = [one.body for one in self.statements.get(name, ()) if isinstance(one, ast.ClassDef)]
        fields = [getattr(node.target, "id", "") for body in bodies for node in body if isinstance(node, ast.AnnAssign)]
        return "origin" in fields

    def unit(self, node: ast.Module | ast.stmt) -> Unit:
        """The module, or a statement at its top, as a part of a hash. An error is raised if it hides what it uses."""
        if node not in self._units:
            nodes = list(visible(node))
            self._check(nodes)
            used = dict.fromkeys(binding for _, binding in self._imports(nodes))
            # `import study.rng` binds the outermost package, too, which is nothing but the way to the module
            used.pop(Binding((self.code.package or self.code).module("")), None)
            written = text(node, _Names(self, self.names, used))
            for module, name in used:
                if isinstance(module, str):
                    self._refuse({module if name else module.partition(".")[0]}, node)
            self._units[node] = Unit(hashlib.sha256(written.encode()).hexdigest(), tuple(used))
        return self._units[node]

    def definition(self, name: str) -> list[ast.stmt]:
        """The statements that define a name. There are none for a name that the module imports."""
        found = self.statements.get(name, [])
        if not found and name not in self.bound:
            self._check([])  # a star may bind it
            raise self.refused(self.tree, f"defines no {name}")
        return found

    def defined(self, name: str) -> str:
        """The text that stands in a hash for the use of a name of this module; of the module itself without a name."""
        if name not in self._defined:  # most names are used many times
            self._defined[name] = self._definition(name)
        return self._defined[name]

    def _definition(self, name: str) -> str:
        if self.silent:
            return f"<{Binding(self, name)}>"
        if not name:
            return f"<{hashlib.sha256(canonical(self.source).encode()).hexdigest()}>"
        statements = self.definition(name)
        if not statements:  # the module only re-exports it
            return "".join(map(_shown, self.bound[name]))
        if self.open:
            # They count in full besides, unless they make the entry whose hash this is: then its told arguments do not.
            statements = [untold(one, self.makes_entry, lines_of(one)) for one in statements]
        written = "".join(text(statement, _Names(self, self.bound)) for statement in statements)
        return f"<{hashlib.sha256(written.encode()).hexdigest()} {name}>"

    # -- imports

    def bindings(self, body: Iterable[ast.AST]) -> dict[str, tuple[Binding, ...]]:
        """The names that the import statements of a body bind, without those in functions within the body."""
        found: dict[str, tuple[Binding, ...]] = {}
        for statement in body:
            for name, binding in self._imports(visible(statement, functions=False)):
                found[name] = (*found.get(name, ()), binding)
        return found

    def _imports(self, nodes: Iterable[ast.AST]) -> Iterator[tuple[str, Binding]]:
        """Yield (local name, the object to which it is bound) for the import statements among nodes."""
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    whole = alias.name if alias.asname else alias.name.partition(".")[0]
                    yield alias.asname or whole, self._binding(whole)
                    # the whole is imported, though only its first part is bound to a name
                    if not alias.asname and "." in alias.name:
                        yield f"<{alias.name}>", self._binding(alias.name)
            elif isinstance(node, ast.ImportFrom):
                within = self._binding(self._absolute(node)).module
                for alias in node.names:
                    member = Binding(within, alias.name) if isinstance(within, str) else within.member(alias.name)
                    yield alias.asname or alias.name, member

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        own = self.name.split(".")
        up = node.level - (self.path.name == "__init__.py")
        if up > len(own):
            raise self.refused(node, "imports from above its own folder; put what it needs beside it")
        around = [self.code.name, *own[: len(own) - up], node.module or ""]
        return ".".join(filter(None, around))

    def _binding(self, dotted: str) -> Binding:
        return Binding(self.code.find(dotted) or dotted)

    def member(self, name: str) -> Binding:
        """The object of `from module import name`, or of module.name: a module below it, or a name in it."""
        below = ".".join(filter(None, (self.name, name)))
        return Binding(self.code.module(below)) if self.code.exists(below) else Binding(self, name)

    # -- what no hash can see

    def _check(self, nodes: Iterable[ast.AST]) -> None:
        """Raise an error if a part of the module hides code that it uses."""
        if self.open:
            self._refuse({name for name in self.bound if name == "*"}, self.tree)
        for node in nodes:
            if isinstance(node, ast.Name):
                self._refuse((node.id,), node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name.partition(".")[0] for alias in node.names}
                self._refuse({*names, getattr(node, "module", "") or ""}, node)

    def _refuse(self, names: Iterable[str], node: ast.AST) -> None:
        hidden = REFUSED.intersection(names)
        if hidden:
            raise self.refused(
                node,
                f"{', '.join(sorted(hidden))} hides what a hash of the code must see; import each name that is used",
            )

    def refused(self, node: ast.AST, why: str) -> Exception:
        """The error for code whose hash cannot be known: the user's to mend in an extension, ours in the package."""
        if self.code.package is None:
            return AssertionError(f"{self.name}: {why}")
        line = getattr(node, "lineno", 0)
        return SpecError(f"{self.path}{f':{line}' if line else ''}: {why}")


@dataclass(frozen=True)
class _Names:
    """The meaning of the names in a part of a module.

    In a hash, a name counts as the statement that defines it, and its use is noted in `uses`. Where there is no place
    for notes, the part is itself such a statement, and the name counts as the name under which it is defined.
    """

    module: Module
    names: Bound
    uses: dict[Binding, None] | None = None

    def used(self, node: ast.Name | ast.Attribute) -> str | None:
        """The text that stands for a name or an attribute in use. It is None where the node itself is written."""
        found = self.meant(node)
        if self.uses is None:
            return "".join(f"<{one if isinstance(one.module, str) else one.name}>" for one in found) or None
        for one in found:
            self.uses[one] = None
            if not one.name and isinstance(one.module, Module) and one.module.open:
                way = f"import the names that are used, or write {one.module.name.rpartition('.')[2]}.NAME"
                raise self.module.refused(node, f"uses {one.module.name} as a whole, of which only names count; {way}")
        return "".join(map(_shown, found)) or None

    def within(self, node: ast.AST) -> _Names:
        """The meaning of the names in the contents of a node. Imports in a function or a class are known there, too."""
        if self.uses is None:
            return self
        hidden = hides(node) if self.module.open else set()
        own: Bound = {}
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            own = self.module.bindings(node.body)
        if not hidden and not own:
            return self
        return replace(self, names={**{name: self.names[name] for name in self.names.keys() - hidden}, **own})

    def meant(self, node: ast.AST) -> tuple[Binding, ...]:
        """The objects that a name, or an attribute of a module, may be. There are none for any other node."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, ())
        if isinstance(node, ast.Attribute):
            owners = self.meant(node.value)
            if owners and all(not owner.name for owner in owners):  # an attribute of a module
                modules = [owner.module for owner in owners]
                return tuple(
                    Binding(f"{m}.{node.attr}") if isinstance(m, str) else m.member(node.attr) for m in modules
                )
        return ()


def _shown(binding: Binding) -> str:
    """The text that stands in a hash for the use of an object."""
    return f"<{binding}>" if isinstance(binding.module, str) else binding.module.defined(binding.name)
