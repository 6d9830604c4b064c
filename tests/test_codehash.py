"""The hash of the code changes with the code that a role runs, and with nothing else."""

from __future__ import annotations

import ast
import runpy
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from study import codehash
from study.codehash import OPEN, ROOTS, Origin, Role
from study.measurement.metrics import METRICS
from study.sources import Code
from study.syntax import TOLD

PACKAGE = Path(codehash.__file__).parent
# -- the project itself -----------------------------------------------------------------------------------------------


def reached(role: Role) -> list[str]:
    return Code(PACKAGE).reach(ROOTS[role])


@pytest.mark.parametrize("role", ROOTS)
def test_no_role_reaches_what_shows_judges_or_runs(role: Role) -> None:
    """What it reaches computes, and knows nothing of study files, pages, processes, caches."""
    far = ("spec.", "execution.cache", "execution.keys", "execution.run", "execution.worker", "analysis.", "report.")
    assert not [name for name in reached(role) if name.startswith(far) or name in ("provenance", "cli")]
    assert len(reached(role)) > 3


def sentences(node: ast.AST) -> Iterator[str]:
    """Texts of several words that a hash of the code goes over."""
    if isinstance(node, ast.Raise):
        return
    if isinstance(node, ast.Assert):
        node = node.test
    if isinstance(node, ast.FunctionDef):
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call):
                decorator.keywords = [keyword for keyword in decorator.keywords if keyword.arg not in TOLD]
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
        node.body = node.body[1:]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from sentences(child)


NAMES = {  # in tables, streams and registries: words, but no message
    "evaluation order",
    "h unbounded",
    "h bounded",
    "second half",
    "second moment",
    "std 1",
    "1 / √fan_in",
    "tanh after 1 / √fan_in",
    "tanh after (5/3) / √fan_in",
}


def test_no_module_that_makes_numbers_holds_a_message() -> None:
    """Rewording costs no training: a message stands in a `raise`, in `errors`, or where no role reaches."""
    code = Code(PACKAGE, open=OPEN)
    # of open modules, what roles and entries reach; a message of the reading of a study file is no part of that
    counted = {name for roots in ROOTS.values() for name in code.counted(roots)}
    counted |= {
        f"{module}.{maker}"
        for module in OPEN
        for maker in ("register", "metric")
        if hasattr(import_module(f"study.{module}"), maker)
    }
    found = {}
    for name in counted:
        module, _, within = name.rpartition(".")
        parts = code.module(module).definition(within) if module in OPEN else [code.module(name).tree]
        found[name] = [text for part in parts for text in sentences(part) if text not in NAMES]
    assert {name: texts for name, texts in found.items() if texts} == {}


SWAPPED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.Eq: ast.NotEq,
    ast.Is: ast.IsNot,
}


class Swap(ast.NodeTransformer):
    """One operator of a module, exchanged."""

    done = False

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (ast.Raise, ast.Assert)):  # of these only a condition counts
            return node
        if not self.done and isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
            node.op, self.done = SWAPPED[type(node.op)](), True
        elif not self.done and isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
            node.ops[0], self.done = SWAPPED[type(node.ops[0])](), True
        return node if self.done else self.generic_visit(node)


def parts(module: str, tree: ast.Module) -> list[tuple[set[str], slice]]:
    """The parts of a module that count by themselves, with their names: all of it, or each statement of an open one."""
    if module not in OPEN:
        return [({module}, slice(None))]
    found = []
    for i, statement in enumerate(tree.body):
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        names = {getattr(statement, "name", None), *(getattr(target, "id", None) for target in targets)} - {None}
        found.append(({f"{module}.{name}" for name in names}, slice(i, i + 1)))
    return found


@pytest.mark.slow
def test_an_operator_changes_the_roles_that_run_it_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = {role: Code(folder, open=OPEN).digest(roots) for role, roots in ROOTS.items()}
    assert before == {role: codehash.code_digest(role) for role in ROOTS}
    counted = {role: set(Code(folder, open=OPEN).counted(roots)) for role, roots in ROOTS.items()}
    assert {name.rpartition(".")[0] for names in counted.values() for name in names} >= set(OPEN) - {
        "data.source"
    }  # no role
    changed = 0
    for module in sorted({name for role in ROOTS for name in reached(role)}):
        path = Code(folder).path(module)
        text = path.read_text("utf-8")
        for names, part in parts(module, ast.parse(text)):
            swap, tree = Swap(), ast.parse(text)
            tree.body[part] = [swap.visit(statement) for statement in tree.body[part]]
            if not swap.done:  # constants and records
                continue
            path.write_text(ast.unparse(tree), "utf-8")
            after = {role: Code(folder, open=OPEN).digest(roots) for role, roots in ROOTS.items()}
            path.write_text(text, "utf-8")
            differing = {role for role in ROOTS if after[role] != before[role]}
            assert differing == {role for role in ROOTS if names & counted[role]}, names
            changed += 1
    assert changed > 15


@pytest.mark.parametrize(
    ("module", "text", "other", "roles"),
    [
        ("training/fused/workspace", "ACTIVATION, W, B,", "ACTIVATION, B, W,", {"fused"}),
        ("training/fused/kernels", "address(params, p[W])", "address(params, p[B])", {"fused"}),
        ("training/autograd", "AT_ONCE = 200", "AT_ONCE = 100", {"autograd"}),
        ("measurement/metrics", "m.label.of == of", "m.label.of != of", {"measuring", "states"}),
        ("measurement/states", "MOST = 32", "MOST = 16", {"states"}),
        ("measurement/metrics", "a.h > 0", "a.h >= 0", set()),  # of an entry, which has a hash of its own
        ("measurement/reducers", "self._all & every", "self._all | every", {"measuring", "states", "collecting"}),
        ("data/words", "; restore the file or change the entry", "; the file is another", set()),
        ("training/loop", "seconds of training between two checkpoints", "seconds", set()),
    ],
)
def test_a_change_of_the_project_itself_changes_what_depends_on_it(
    module: str, text: str, other: str, roles: set[Role], tmp_path: Path
) -> None:
    """Among them two names of one tuple assignment, exchanged where they are defined and where they are used."""
    folder = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.html.j2", "*.css", "*.js"))
    path = folder / f"{module}.py"
    before = path.read_text("utf-8")
    assert text in before
    path.write_text(before.replace(text, other, 1), "utf-8")
    after = {role: Code(folder, open=OPEN).digest(roots) for role, roots in ROOTS.items()}
    assert {role for role in ROOTS if after[role] != codehash.code_digest(role)} == roles


def test_every_role_has_a_hash_of_its_own() -> None:
    assert len({codehash.code_digest(role) for role in ROOTS}) == len(ROOTS)
    assert codehash.source_digest([]) not in {codehash.code_digest(role) for role in ROOTS}


# -- the entries of the project's registries --------------------------------------------------------------------------

FILE = Path("measurement", "metrics.py")


def metrics_of(folder: Path) -> dict[str, str]:
    """The hash of every metric of a copy of the package, by the lines of its decorator."""
    code = Code(folder, open=OPEN)
    functions = [node for node in code.module("measurement.metrics").tree.body if isinstance(node, ast.FunctionDef)]
    lines = {one.name: one.decorator_list[0].lineno for one in functions if one.name in METRICS}
    return {name: code.entry([(str(folder / FILE), line)]) for name, line in lines.items()}


def test_every_metric_has_a_hash_of_its_own() -> None:
    found = metrics_of(PACKAGE)
    assert set(found) == set(METRICS)
    assert len(set(found.values())) == len(METRICS)


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        (
            ".float().sum(-1).double() /",
            ".float().sum(-1).double() *",
            "saturation_97 saturation_99 gradient_pass",
        ),
        ("entries.shape[1] > 1", "entries.shape[1] > 2", "grad_std update_ratio"),
        ("a.z.abs().numpy() >=", "a.z.abs().numpy() >", "saturation_97 saturation_99 dead"),
        ("prec=40", "prec=50", "saturation_97 saturation_99 dead"),
        ("return a.h == 0", "return a.h != 0", "dead"),
        ('Extreme("smallest")', 'Extreme("largest")', "logit_min"),
        ("m.label.of == of", "m.label.of != of", ""),
        ('label="dead units", unit="%"', 'label="dead ones", unit=""', ""),
        ('format=".1f", better="lower", reduce=All', 'format=".2f", interval="bca", lost="gone", reduce=All', ""),
        ("reduce=All", "reduce=Mean", "dead"),
    ],
)
def test_a_metric_changes_with_the_helpers_and_constants_that_it_reaches(
    text: str, other: str, expected: str, tmp_path: Path
) -> None:
    folder = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.html.j2", "*.css", "*.js"))
    source = (folder / FILE).read_text("utf-8")
    assert source.count(text) == 1
    (folder / FILE).write_text(source.replace(text, other), "utf-8")
    before, after = metrics_of(PACKAGE), metrics_of(folder)
    assert {name for name in before if before[name] != after[name]} == set(expected.split())


# -- where an entry is written ----------------------------------------------------------------------------------------

REGISTRY = """from dataclasses import dataclass, field
from study.codehash import origin

@dataclass(frozen=True)
class Thing:
    name: str
    value: object = None
    origin: tuple = field(default_factory=lambda: origin(__name__), compare=False, repr=False)

THINGS = {}

def register(thing):
    THINGS[thing.name] = thing
    return thing

def thing(label=""):
    def note(function):
        register(Thing(function.__name__, function))
        return function
    return note
"""
USER = """from things_registry import Thing, register, thing
from things_helper import twice

register(Thing("plain"))
for name in ("one", "two"):
    register(
        Thing(
            name,
            abs,
        )
    )

@thing(label="decorated")
def decorated(x):
    return x

def make(name):
    return register(Thing(name))

make("made")
twice("helped")
"""
HELPER = """from things_registry import Thing, register

def twice(name):
    return register(Thing(name, 2))
"""


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The entries of a registry, made by running a user's file from elsewhere."""
    for name, text in {"registry/things_registry": REGISTRY, "user/things": USER, "user/things_helper": HELPER}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
        monkeypatch.syspath_prepend(str((tmp_path / name).parent))
    runpy.run_path(str(tmp_path / "user" / "things.py"))
    yield sys.modules["things_registry"].THINGS
    for name in ("things_registry", "things_helper"):
        sys.modules.pop(name, None)


def words(origin: Origin) -> list[str]:
    """The lines to which an origin points."""
    return [Path(file).read_text("utf-8").splitlines()[line - 1].strip() for file, line in origin]


def test_an_origin_leads_from_the_line_of_an_entry_to_the_top_of_its_module(things: dict[str, Any]) -> None:
    assert words(things["plain"].origin) == ['register(Thing("plain"))']
    assert words(things["one"].origin) == words(things["two"].origin) == ["Thing("]
    assert words(things["decorated"].origin) == ['@thing(label="decorated")']
    assert words(things["made"].origin) == ["return register(Thing(name))", 'make("made")']
    assert words(things["helped"].origin) == ["return register(Thing(name, 2))", 'twice("helped")']


def test_an_entry_has_the_hash_of_what_its_origin_reaches(things: dict[str, Any], tmp_path: Path) -> None:
    digests = {name: codehash.entry_digest(one.origin) for name, one in things.items()}
    assert digests["one"] == digests["two"]  # made by one loop
    assert len(set(digests.values())) == len(things) - 1
    helper = tmp_path / "user" / "things_helper.py"
    helper.write_text(HELPER.replace("name, 2", "name, 3"), "utf-8")
    (tmp_path / "user" / "things.py").write_text(USER.replace("decorated", "shown", 1), "utf-8")
    fresh = {name: Code(PACKAGE, open=OPEN).entry(one.origin) for name, one in things.items()}
    assert {name for name in digests if fresh[name] != digests[name]} == {"helped"}
