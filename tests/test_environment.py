"""The hash of the code changes with the code that a role runs, and with nothing else."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from study import environment
from study.environment import ROOTS, Code, Role

PACKAGE = Path(environment.__file__).parent
PLAIN = """
def scale(x, by=2):
    return [by * y for y in x if y is not None]

class Layer:
    width: int = 3

    async def forward(self):
        return f"{self.width!r:>5}"
"""


@pytest.mark.parametrize(
    "same",
    [
        f'"""A docstring."""\n{PLAIN}',
        PLAIN.replace("by=2):\n", 'by=2):\n    """Doubles."""\n'),
        PLAIN.replace("class Layer:\n", "class Layer:\n    '''A level.'''\n"),
        PLAIN.replace("forward(self):\n", 'forward(self):\n        """Raw."""\n'),
        PLAIN.replace("\n", "  # a reason\n", 2),
        PLAIN.replace("[by * y", "[\n        by\n        * y"),
        PLAIN.replace("return [by * y for y in x if y is not None]", "return ([(by * y) for y in x if y is not None])"),
        PLAIN.replace("by=2", "by=0b10"),
        PLAIN.replace('"', "'"),
        "\n\n" + PLAIN.replace("    ", "  "),
        PLAIN.replace("by=2", "by  =  2,").replace("2,)", "2,\n)"),
        "import math\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import os\n" + PLAIN,
    ],
)
def test_words_and_layout_change_nothing(same: str) -> None:
    assert same != PLAIN
    assert environment.canonical(same) == environment.canonical(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("by=2", "by=3"),
        PLAIN.replace("by=2", "by=2.0"),
        PLAIN.replace("by * y", "y * by"),
        PLAIN.replace("is not None", "is None"),
        PLAIN.replace("width: int = 3", "width: int"),
        PLAIN.replace("async def", "def"),
        PLAIN.replace("!r", ""),
        PLAIN.replace(">5", ">6"),
        PLAIN.replace("by=2", "*, by=2"),
        PLAIN.replace("scale", "rescale"),
        PLAIN.replace("class", "@final\nclass"),
        PLAIN + '\nNAME = "A text that is used."',
        PLAIN.replace("return [", 'x = "a text"\n    return ['),
    ],
)
def test_code_changes_it(other: str) -> None:
    assert environment.canonical(other) != environment.canonical(PLAIN)


def test_only_the_first_text_of_a_body_is_a_docstring() -> None:
    assert environment.canonical('"a"\n"b"') == environment.canonical("'other'\n'b'")
    assert environment.canonical('"a"\n"b"') != environment.canonical('"a"\n"c"')
    assert environment.canonical("f'{1}'") != environment.canonical("")  # computed, so no docstring
    assert environment.canonical("b'a'") != environment.canonical("")


def test_none_and_nothing_are_told_apart() -> None:
    assert environment.canonical("def f():\n return None") != environment.canonical("def f():\n return")
    assert environment.canonical("f([])") != environment.canonical("f()")
    assert environment.canonical("f(None)") != environment.canonical("f()")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("raise ValueError(f'no {x}')", "raise ValueError('not there', x)", True),
        ("raise ValueError(x)", "raise KeyError(x)", False),
        ("assert x > 0, 'too small'", "assert x > 0", True),
        ("assert x > 0", "assert x > 1", False),
        (
            "@metric('h', label='std', unit='', format='.3f')\ndef f(): ...",
            "@metric('h', label='spread')\ndef f(): ...",
            True,
        ),
        ("@metric('h', label='std')\ndef f(): ...", "@metric('z', label='std')\ndef f(): ...", False),
        ("@metric(reduce=1)\ndef f(): ...", "@metric(reduce=2)\ndef f(): ...", False),
        ("f(label='std')", "f(label='spread')", False),
    ],
)
def test_messages_and_labels_are_left_out_where_only_a_reader_sees_them(one: str, other: str, same: bool) -> None:
    assert (environment.canonical(one) == environment.canonical(other)) is same


# -- a package of a few modules: what its roots reach, and what a change of it does --------------------------------------

SMALL = {
    "__init__": "NAMES = ('a', 'b')",
    "errors": "def sentence(x):\n    return f'no {x}'",
    "loop": "import numpy as np\nfrom pack.deep.kernel import run, B\n\ndef go(x):\n    return run(np.abs(x)) + B",
    "deep/__init__": '"""Kernels."""',
    "deep/kernel": (
        "from pack import sizes\nfrom pack.errors import sentence\n\nA, B = range(2)\n\ndef run(x):\n    from pack.late"
        " import twice\n    if x is None:\n        raise ValueError(sentence(x))\n    return twice(x) * sizes.W - A"
    ),
    "sizes": "W, H = range(2, 4)\nfrom pack.other import twice",
    "late": "def twice(x):\n    return helper(x)\n\ndef helper(x):\n    return x + x",
    "other": "def twice(x):\n    return x * 3",
    "apart": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.unseen import Thing\n\ndef f(x: Thing) ->"
        " int:\n    return 1"
    ),
    "unseen": "class Thing:\n    pass",
}


def package(folder: Path, modules: dict[str, str]) -> Code:
    for name, text in modules.items():
        path = folder / "pack" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return Code(folder / "pack")


@pytest.fixture
def small(tmp_path: Path) -> Code:
    return package(tmp_path / "before", SMALL)


def edited(tmp_path: Path, *changes: tuple[str, str, str]) -> Code:
    """The small package with (module, text, other text) changed."""
    modules = dict(SMALL)
    for name, text, other in changes:
        assert text in modules[name], (name, text)
        modules[name] = modules[name].replace(text, other)
    return package(tmp_path / "after", modules)


def test_imports_are_followed_into_functions_and_packages(small: Code) -> None:
    assert small.reach(["loop"]) == ["deep", "deep.kernel", "late", "loop", "other", "sizes"]  # errors is left out
    assert small.reach(["apart"]) == ["apart"]  # what only a type checker imports is not run


@pytest.mark.parametrize(
    "change",
    [
        ("errors", "no {x}", "there is no {x}"),
        ("deep/kernel", "ValueError(sentence(x))", "ValueError(f'{x} is missing')"),
        ("deep/__init__", "Kernels.", "The kernels."),
        ("unseen", "pass", "x = 1"),
        ("__init__", "'b'", "'c'"),
        ("loop", "import numpy as np", "import numpy\nimport numpy as np"),
        ("deep/kernel", "from pack import sizes\n", "from pack import sizes as sizes\n"),
    ],
)
def test_what_makes_no_number_changes_nothing(small: Code, tmp_path: Path, change: tuple[str, str, str]) -> None:
    assert edited(tmp_path, change).digest(["loop"]) == small.digest(["loop"])


@pytest.mark.parametrize(
    "change",
    [
        ("late", "x + x", "x - x"),
        ("other", "* 3", "* 4"),
        ("loop", "+ B", "- B"),
        ("loop", "import run, B", "import run, A as B"),
        ("loop", "import numpy as np", "import torch as np"),
        ("deep/kernel", "A, B", "B, A"),
        ("deep/kernel", "sizes.W", "sizes.H"),
        ("sizes", "W, H", "H, W"),
        ("deep/kernel", "from pack.late import twice", "from pack.other import twice"),
        ("deep/kernel", "from pack.late import twice", "from pack.sizes import twice"),
    ],
)
def test_what_makes_a_number_changes_the_hash(small: Code, tmp_path: Path, change: tuple[str, str, str]) -> None:
    """Every module stays reached, so that an import exchanged between two of them changes nothing but what is used."""
    assert edited(tmp_path, change).digest(["loop"]) != small.digest(["loop"])


def test_a_name_that_is_handed_on_counts_as_where_it_is_defined(tmp_path: Path) -> None:
    users = {"a": "from pack.x import f\n\ny = f(1)", "x": "def f(n):\n    return n", "z": "from pack.x import f"}
    direct = package(tmp_path / "direct", users | {"a": "from pack.x import f\nfrom pack import z\n\ny = f(1)"})
    handed = package(tmp_path / "handed", users | {"a": "from pack.z import f\n\ny = f(1)"})
    assert direct.digest(["a"]) == handed.digest(["a"])


def test_a_moved_module_changes_no_hash(small: Code, tmp_path: Path) -> None:
    moved = {name.replace("deep/kernel", "inner/core").replace("deep/", "inner/"): text for name, text in SMALL.items()}
    moved = {name.replace("late", "inner/soon"): text for name, text in moved.items()}
    moved = {name.replace("sizes", "measures"): text for name, text in moved.items()}
    for old, new in (("pack.deep.kernel", "pack.inner.core"), ("pack.late", "pack.inner.soon"), ("sizes", "measures")):
        moved = {name: text.replace(old, new) for name, text in moved.items()}
    after = package(tmp_path / "after", moved)
    assert after.digest(["loop"]) == small.digest(["loop"])
    assert after.content(["loop"]) != small.content(["loop"])  # compiled code is of the bytes


@pytest.mark.parametrize(
    "hides",
    [
        "from pack.late import *",
        "import importlib",
        "from importlib import import_module",
        "x = globals()",
        "__import__('os')",
    ],
)
def test_a_module_that_hides_what_it_uses_is_refused(tmp_path: Path, hides: str) -> None:
    code = package(tmp_path, SMALL | {"loop": f"{hides}\n"})
    with pytest.raises(AssertionError, match="hides what"):
        code.digest(["loop"])


def test_a_root_that_is_not_there_is_named(small: Code) -> None:
    with pytest.raises(AssertionError, match="gone: there is no such module"):
        small.digest(["gone"])


# -- the project itself ---------------------------------------------------------------------------------------------------


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
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
        node.body = node.body[1:]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from sentences(child)


NAMES = {  # in tables, streams and registries: words, but no message
    "evaluation order",
    "h unbounded",
    "std 1",
    "1 / √fan_in",
    "tanh after 1 / √fan_in",
    "tanh after (5/3) / √fan_in",
}


def test_no_module_that_makes_numbers_holds_a_message() -> None:
    """Rewording costs no training: a message stands in a `raise`, in `errors`, or where no role reaches."""
    modules = sorted({name for role in ROOTS for name in reached(role)})
    code = Code(PACKAGE)
    found = {name: [text for text in sentences(code.module(name).tree) if text not in NAMES] for name in modules}
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


@pytest.mark.slow
def test_an_operator_changes_the_roles_that_run_it_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = {role: Code(folder).digest(roots) for role, roots in ROOTS.items()}
    assert before == {role: environment.code_digest(role) for role in ROOTS}
    changed = 0
    for name in sorted({name for role in ROOTS for name in reached(role)}):
        path = Code(folder).path(name)
        text = path.read_text("utf-8")
        swap = Swap()
        other = ast.unparse(swap.visit(ast.parse(text)))
        if not swap.done:  # a module of constants and records
            continue
        path.write_text(other, "utf-8")
        after = {role: Code(folder).digest(roots) for role, roots in ROOTS.items()}
        path.write_text(text, "utf-8")
        assert {role for role in ROOTS if after[role] != before[role]} == {
            role for role in ROOTS if name in reached(role)
        }, name
        changed += 1
    assert changed > 15


@pytest.mark.parametrize(
    ("module", "text", "other", "roles"),
    [
        ("training/fused/workspace", "ACTIVATION, W, B,", "ACTIVATION, B, W,", {"fused"}),
        ("training/fused/kernels", "address(params, p[W])", "address(params, p[B])", {"fused"}),
        ("training/autograd", "MOMENTUM = 0.001", "MOMENTUM = 0.002", {"autograd"}),
        ("measurement/metrics", "a.h > 0", "a.h >= 0", {"measuring", "states"}),
        ("measurement/states", "MOST = 32", "MOST = 16", {"states"}),
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
    after = {role: Code(folder).digest(roots) for role, roots in ROOTS.items()}
    assert {role for role in ROOTS if after[role] != environment.code_digest(role)} == roles


def test_every_role_has_a_hash_of_its_own() -> None:
    assert len({environment.code_digest(role) for role in ROOTS}) == len(ROOTS)
    assert environment.source_digest() not in {environment.code_digest(role) for role in ROOTS}
