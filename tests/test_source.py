"""The hash of the source changes with the code and with nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from study import source

PACKAGE = Path(source.__file__).parent
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
    ],
)
def test_words_and_layout_change_nothing(same: str) -> None:
    assert same != PLAIN
    assert source.canonical(same) == source.canonical(PLAIN)


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
    assert source.canonical(other) != source.canonical(PLAIN)


def test_only_the_first_text_of_a_body_is_a_docstring() -> None:
    assert source.canonical('"a"\n"b"') == source.canonical("'other'\n'b'")
    assert source.canonical('"a"\n"b"') != source.canonical('"a"\n"c"')
    assert source.canonical("f'{1}'") != source.canonical("")  # computed, so no docstring
    assert source.canonical("b'a'") != source.canonical("")


def test_none_and_nothing_are_told_apart() -> None:
    assert source.canonical("def f():\n return None") != source.canonical("def f():\n return")
    assert source.canonical("f([])") != source.canonical("f()")
    assert source.canonical("f(None)") != source.canonical("f()")


def test_every_module_counts_and_its_name_with_it() -> None:
    alone = [source.digest((name,)) for name in source.MODULES]
    assert len(set(alone)) == len(source.MODULES)
    assert source.digest() == source.digest(source.MODULES)
    assert source.digest(source.MODULES[:-1]) != source.digest()


@pytest.mark.parametrize(
    ("roots", "hashed"),
    [
        (["train", "engines.compiled", "trajectory"], source.TRAINING),
        (["measure"], source.MEASURING),
        (
            ["shard", "probe", "collect", "apart"],
            (*source.MODULES, "manifest", "cache", "environment", "files", "keys", "source"),
        ),
    ],
)
def test_what_determines_the_numbers_is_hashed(roots: list[str], hashed: tuple[str, ...]) -> None:
    """Followed through the imports: no module that determines a trajectory, its rows, or a table is forgotten."""
    silent = {"errors"}  # words for a reader
    silent |= {"schema", "spec"}  # they make the Spec, which has a digest of its own
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in seen or name in silent:
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((PACKAGE / f"{name.replace('.', '/')}.py").read_text("utf-8"))):
            modules: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "study":
                inside = node.module.removeprefix("study").removeprefix(".")
                modules = [inside] if inside else [alias.name for alias in node.names]
                modules += [f"{inside}.{alias.name}" for alias in node.names if inside]
            todo += [m for m in modules if (PACKAGE / f"{m.replace('.', '/')}.py").exists()]
    known = {name.replace("/", ".") for name in hashed}
    assert seen <= known, f"not hashed: {sorted(seen - known)}"
