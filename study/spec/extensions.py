"""Load the files of the user's own code that a study file names: its extensions.

An extension registers entries (activations, norms, initialisers, metrics, sources of data, sections) when it is
imported. The registries hold the entries of one study at a time: the package's own, and those of the extensions that
were loaded last. An extension is imported once in a process. This module loads no torch.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from study.codehash import entry_digest
from study.data.source import SOURCES
from study.errors import SpecError
from study.files import read, unread
from study.measurement.metrics import METRICS
from study.network.activations import ACTIVATIONS
from study.network.expectations import gain
from study.network.inits import INITIALISERS
from study.network.norms import NORMS
from study.sources import found_elsewhere
from study.spec.anchors import ADDED
from study.spec.document import Document, Path_
from study.spec.paths import followed
from study.spec.quantities import measures
from study.spec.schema import shown_value

KEY = "extensions"  # in the study file
PREFIX = "study_extension_"  # of the names of modules: no module of a library has such a name
MAX_BYTES = 1_000_000
PACKAGE = Path(__file__).parents[1]
REGISTRIES: dict[str, dict[str, Any]] = {  # in words -> the registry
    "activation": ACTIVATIONS,
    "norm": NORMS,
    "initialiser": INITIALISERS,
    "metric": METRICS,
    "source": SOURCES,
    "section": ADDED,
}


@dataclass(frozen=True)
class Extension:
    """An extension: its file, its content, and the names of its entries."""

    name: str  # as the study file writes it, such as my_act.py
    path: Path  # absolute, with links resolved
    files: tuple[tuple[str, str], ...]  # (name, sha256) of the file itself, and of the files beside it that it imports
    entries: tuple[tuple[str, str], ...]  # (registry, name) of what it registers, such as (activation, my_act)
    loaded: bool = True  # False: its entries can be named and described, and not run


@dataclass(frozen=True)
class _Kept:
    """What this process keeps of an extension that it has imported."""

    extension: Extension
    made: dict[tuple[str, str], Any]  # (registry, name) -> the entry


_kept: dict[Path, _Kept] = {}


# -- the list in a study file -----------------------------------------------------------------------------------------


def named(document: Document, file: Path) -> dict[str, Path]:
    """The extensions that the study file at `file` lists: the name as it is written -> the absolute path.

    Raises SpecError for a path that leads out of the study file's folder after links are resolved, and for anything but
    regular files that are named as a Python module.
    """
    given = document.value.get(KEY, []) if isinstance(document.value, dict) else []
    if not isinstance(given, list):
        raise document.error((KEY,), f"expected a list of files such as [my_act.py], got {shown_value(given)}")
    found: dict[str, Path] = {}
    for i, name in enumerate(given):
        path = _checked(document, file.parent, (KEY, i), name)
        if path in found.values():
            raise document.error((KEY, i), f"the file is listed twice, got {shown_value(name)}")
        found[name] = path
    return found


def _checked(document: Document, folder: Path, place: Path_, name: Any) -> Path:
    if not isinstance(name, str) or not name:
        raise document.error(place, f"expected the name of a file such as my_act.py, got {shown_value(name)}")
    path = followed(document, folder, place, name)
    if not path.is_relative_to(folder.resolve()):
        problem = "leads out of the study file's folder"
        raise document.error(place, f"{problem}, got {shown_value(name)}; put the file into that folder")
    if path.suffix != ".py" or not path.stem.isidentifier():
        problem = "expected a file that is named as a Python module, such as my_act.py"
        raise document.error(place, f"{problem}, got {shown_value(name)}")
    if not path.is_file():
        problem = "is no regular file" if path.exists() else "is not there"
        raise document.error(place, f"the file {shown_value(name)} {problem}; name a file of Python code")
    return path


def trusted(file: Path) -> bool:
    """Whether a study file lies below the working folder, so that its extensions are loaded without being asked for."""
    return file.resolve().is_relative_to(Path().resolve())


# -- loading ----------------------------------------------------------------------------------------------------------


def load(files: dict[str, Path]) -> tuple[Extension, ...]:
    """Load these extensions, name -> absolute path, and withdraw the entries of all others from the registries.

    Raises SpecError, with the file and the line, for an extension that cannot be read or raises an error, for an entry
    that cannot serve or has a known name, and for a file that changed after this process had loaded it.
    """
    withdraw()
    try:
        found = tuple(_loaded(name, path) for name, path in files.items())
        measures()  # raises an error where a metric has the name of a quantity
    except BaseException:
        withdraw()
        raise
    return found


def load_same(wanted: Sequence[Extension], where: str) -> None:
    """Load the extensions of a study that was read in another process.

    Raises SpecError, which begins with `where`, if one of them was not loaded there, or has another content here.
    """
    for one in wanted:
        if not one.loaded:
            raise SpecError(f"{where}: the extension {one.name} is not loaded, so that nothing can be trained")
    try:
        found = load({one.name: one.path for one in wanted})
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    for here, there in zip(found, wanted, strict=True):
        if here.files != there.files:
            problem = "has, with the files beside it, another content than where the study runs"
            raise SpecError(f"{where}: {here.path}: {problem}; give all workers the same files, and run it again")


def withdraw() -> None:
    """Remove the entries of all extensions from the registries, and those that stand in for them."""
    theirs = {id(entry) for kept in _kept.values() for entry in kept.made.values()}
    for words, registry in REGISTRIES.items():
        for name, entry in list(registry.items()):
            if id(entry) in theirs or getattr(entry, "origin", None) == ():
                del registry[name]
                if words == "activation":
                    gain.cache_clear()  # another activation may soon have this name


def changed_files(extension: Extension) -> list[str]:
    """The files of an extension whose content is no longer that of the record, or that are gone."""
    found = []
    for name, wanted in extension.files:
        try:
            same = digest(extension.path.parent / name) == wanted
        except SpecError:
            same = False
        found += [] if same else [name]
    return found


def content(path: Path, name: str | None = None) -> bytes:
    """The bytes of a regular file of Python code. Raises SpecError for one that cannot be read or is not UTF-8."""
    name = name or str(path)
    try:
        found = read(path, MAX_BYTES)
    except OSError as error:
        problem = unread(error, "name a file of Python code", "an extension is a few pages of Python code")
        raise SpecError(f"{name}: {problem}") from None
    try:
        found.decode("utf-8")
    except UnicodeDecodeError as error:
        line, byte = found[: error.start].count(b"\n") + 1, found[error.start]
        raise SpecError(f"{name}:{line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None
    return found


def _loaded(name: str, path: Path) -> Extension:
    kept = _kept.get(path)
    if kept is None:
        kept = _kept[path] = _imported(name, path)
        return kept.extension
    for file, wanted in kept.extension.files:
        if digest(path.parent / file) != wanted:
            problem = "changed after this process had loaded it; start the command, or the program, again"
            raise SpecError(f"{path.parent / file}: {problem}")
    for (registry, key), entry in kept.made.items():
        if key in REGISTRIES[registry]:
            raise SpecError(f"{path}: the {registry} {key!r:.60} has a name that is taken; choose another one")
        REGISTRIES[registry][key] = entry
    return kept.extension


def _imported(name: str, path: Path) -> _Kept:
    """Import an extension for the first time. The registries are as before if this fails."""
    before = {words: dict(registry) for words, registry in REGISTRIES.items()}
    try:
        with _beside(path.parent) as beside:
            _execute(path)
        made = _new(before, path)
        for (registry, _), entry in made.items():
            if registry != "section":  # a section makes no number, so that its code is in no key
                entry_digest(entry.origin)  # raises an error if the code of an entry cannot be hashed
    except BaseException:
        for words, known in before.items():
            REGISTRIES[words].clear()
            REGISTRIES[words].update(known)
        raise
    files = [path, *(Path(found) for found in sorted(beside) if Path(found) != path)]
    hashes = tuple((file.relative_to(path.parent).as_posix(), digest(file)) for file in files)
    return _Kept(Extension(name, path, hashes, tuple(made)), made)


def _new(before: dict[str, dict[str, Any]], path: Path) -> dict[tuple[str, str], Any]:
    """The entries that the registries have beyond those of before. Raises SpecError where a known one was replaced."""
    for words, known in before.items():
        for key, entry in known.items():
            if REGISTRIES[words].get(key) is not entry:
                raise SpecError(f"{path}: replaces the {words} {key!r:.60}; register an entry of another name")
    return {
        (words, key): entry
        for words, registry in REGISTRIES.items()
        for key, entry in registry.items()
        if key not in before[words]
    }


def _execute(path: Path) -> None:
    """Run the file of an extension as a module whose name is known to nobody else."""
    name = PREFIX + path.stem
    spec = spec_from_file_location(name, path, loader=_Source(name, str(path)))
    assert spec is not None and spec.loader is not None, f"{path}: no module can be made of it"
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses look for their module there
    with blamed(path, "when it is loaded; an extension only registers its entries"):
        spec.loader.exec_module(module)


@contextlib.contextmanager
def blamed(path: Path, when: str) -> Iterator[None]:
    """Turn an error that a user's own code raises in the block into a SpecError of one line, which names its line.

    `path` is the file of the code, and `when` says when it raises and what would do. An error that code of the package
    raises for itself is left as it is.
    """
    try:
        yield
    except SpecError:
        raise
    except SyntaxError as error:
        raise SpecError(f"{error.filename}:{error.lineno or 1}: is no Python code ({error.msg})") from None
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        if _within(str(path), PACKAGE):
            raise
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _within(frame.filename, path.parent)]
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(path)
        told = (str(error).strip().splitlines() or [""])[0]
        raise SpecError(f"{where}: raises {type(error).__name__}{told and f' ({told:.160})'} {when}") from None


def _within(file: str, folder: Path) -> bool:
    return Path(file).is_relative_to(folder)


def digest(path: Path) -> str:
    """The sha256 of a file of Python code. Raises SpecError for one that cannot be read."""
    return hashlib.sha256(content(path)).hexdigest()


# -- the files beside an extension ------------------------------------------------------------------------------------


class _Source(SourceFileLoader):
    """A loader that always compiles the text of the file, and writes no compiled file beside it."""

    def get_code(self, fullname: str) -> CodeType:
        # as text, since the hash of the code reads UTF-8 whatever coding the file declares
        text = content(Path(self.path)).decode("utf-8")
        tree = ast.parse(text, self.path)
        for line, name in _imported_later(tree):
            if any(_lies_beside(name.partition(".")[0], folder) for folder in Path(self.path).parents):
                problem = f"imports {name:.60} inside a function, where the files beside an extension are not found"
                raise SpecError(f"{self.path}:{line}: {problem}; import it at the top of the file")
        code: CodeType = compile(tree, self.path, "exec", dont_inherit=True)
        return code


def _imported_later(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The lines and the modules of the imports inside functions."""
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in ast.walk(function):
                match node:
                    case ast.Import():
                        yield from ((node.lineno, each.name) for each in node.names)
                    case ast.ImportFrom(module=str(name), level=0):
                        yield node.lineno, name


def _lies_beside(name: str, folder: Path) -> bool:
    """Whether an import of this top-level name means a file or a folder of `folder`."""
    return ((folder / f"{name}.py").is_file() or (folder / name).is_dir()) and not found_elsewhere(name, folder)


class _Beside(MetaPathFinder):
    """A finder of the modules beside an extension. A name that Python finds elsewhere is left to Python."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: list[str] = []  # those that were imported

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """The module of this name beside the extension, or None."""
        if found_elsewhere(fullname.partition(".")[0], self._folder):
            return None
        places = [str(self._folder)] if path is None else [place for place in path if _within(place, self._folder)]
        for place in places:
            spec: ModuleSpec | None = FileFinder(place, (_Source, [".py"])).find_spec(fullname)
            if spec is not None and spec.origin is not None:
                self.files.append(spec.origin)
                return spec
        return None


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[list[str]]:
    """Let the modules of a folder be imported by their plain names within the block. Yields the imported files.

    Behind the block no import finds them any more, so that a file of the user's never takes the place of a library.
    """
    finder = _Beside(folder)
    loaded = {name.partition(".")[0] for name in sys.modules}
    beside = {name for name in loaded if _lies_beside(name, folder)}
    hidden = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in beside}
    for name in hidden:  # another folder's module of that name
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield finder.files
    finally:
        sys.meta_path.remove(finder)
        for name, module in list(sys.modules.items()):
            if getattr(module, "__file__", None) in finder.files:
                _rename(sys.modules.pop(name), PREFIX + name)
        sys.modules.update(hidden)


def _rename(module: ModuleType, name: str) -> None:
    """Give a module a name that is known to nobody else, so that its dataclasses still find it."""
    sys.modules[name] = module
    for thing in vars(module).values():
        if isinstance(thing, type) and thing.__module__ == module.__name__:
            thing.__module__ = name
