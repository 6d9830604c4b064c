"""The hash of a package changes with the code that its roots reach, and the hash of an entry with what the entry reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.errors import SpecError
from study.sources import Code

# -- a package of a few modules: what its roots reach, and what a change of it does -----------------------------------

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
        ("deep/__init__", '"""Kernels."""', "A = 1"),
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


# -- open modules: registries, of which only counts what is used ------------------------------------------------------

ACTS = """import math
from dataclasses import dataclass, field
from pack.codehash import origin
from pack.pieces import cube

@dataclass(frozen=True)
class Act:
    name: str
    rule: object
    slope: object = None
    moments: object = None
    gain: float = 1.0
    label: str = ""
    origin: tuple = field(default_factory=lambda: origin(__name__))

    def __call__(self, x):
        return self.rule(x)

ACTS = {}

def register(entry):
    ACTS[entry.name] = entry
    return entry

def lookup(name):
    return ACTS[name]

def names():
    return sorted(ACTS)

SHARP = 2.0

def _steep(x):
    return _shared(x) * SHARP

def _shared(x):
    return math.tanh(x)

def _second_moment(q):
    return q / 7

def _scaled(x, gain):
    return x * gain

def _unused(power):
    return power + 100

def metric(of, label="", better="", gain=1):
    def note(measure):
        ACTS[measure.__name__] = (of, gain, measure)
        return measure
    return note

tanh = register(Act("tanh", rule=_shared, moments=_second_moment, gain=5 / 3, label="tanh"))
register(Act("steep", rule=_steep, soft=lambda x: _scaled(x, gain=2)))
register(Act("cubic", rule=cube))
for power, scale in ((2, 0.5), (4, 0.25)):
    register(Act(f"power {power}", rule=lambda x: scale * x ** power))

@metric(of="layer", label="share", better="low")
def share(x):
    return _steep(x) / 2

def _made(power):
    return register(Act("made", rule=lambda x: _unused(x) ** power, label="from a function"))

_made(3)  # by a function
"""
OPENED = {
    "__init__": "",
    "codehash": "def origin(name):\n    return ()",
    "pieces": "K = 3\n\ndef cube(x):\n    return x ** K",
    "acts": ACTS,
    "run": "from pack.acts import lookup\n\ndef go(name, x):\n    return lookup(name)(x)",
}
ENTRIES = {  # entry -> a word of each line that makes it, from the innermost one to the top of the module
    "tanh": ["tanh = register("],
    "steep": ['register(Act("steep"'],
    "cubic": ['register(Act("cubic"'],
    "power": ['register(Act(f"power'],
    "share": ["@metric(of="],
    "made": ['register(Act("made"', "# by a function"],
}
EVERY = {*ENTRIES}


def opened(folder: Path, modules: dict[str, str]) -> Code:
    package(folder, modules)
    return Code(folder / "pack", open=("acts",))


def made(file: Path, *words: str) -> list[tuple[str, int]]:
    """The lines of a file that hold the words, as `origin` gives them."""
    lines = file.read_text("utf-8").splitlines()
    return [(str(file), next(i for i, line in enumerate(lines, start=1) if word in line)) for word in words]


def digests(code: Code) -> dict[str, str]:
    """The hash of the role that begins in `run`, and the hash of every entry."""
    file = code.folder / "acts.py"
    return {"run": code.digest(["run"]), **{name: code.entry(made(file, *words)) for name, words in ENTRIES.items()}}


def changed(before: Code, after: Code) -> set[str]:
    old, new = digests(before), digests(after)
    return {name for name in old if old[name] != new[name]}


@pytest.fixture
def acts(tmp_path: Path) -> Code:
    return opened(tmp_path / "before", OPENED)


def test_of_an_open_module_those_definitions_count_that_are_used(acts: Code) -> None:
    assert acts.counted(["run"]) == ["acts.ACTS", "acts.lookup", "run"]
    assert "acts" in acts.reach(["run"])  # all bytes of the file are read, though


def test_every_entry_has_a_hash_of_its_own(acts: Code) -> None:
    assert len(set(digests(acts).values())) == 1 + len(ENTRIES)


@pytest.mark.parametrize(
    ("module", "text", "other", "expected"),
    [
        ("acts", "math.tanh(x)", "math.sinh(x)", {"tanh", "steep", "share"}),  # a helper of three entries
        ("acts", "SHARP = 2.0", "SHARP = 3.0", {"steep", "share"}),
        ("acts", "_shared(x) * SHARP", "_shared(x) + SHARP", {"steep", "share"}),
        ("acts", "x * gain", "x / gain", {"steep"}),
        ("acts", "gain=2)", "gain=3)", {"steep"}),  # an argument of a computation, though it is called gain
        ("acts", "rule=cube", "rule=abs", {"cubic"}),
        ("pieces", "x ** K", "x * K", {"cubic"}),
        ("pieces", "K = 3", "K = 5", {"cubic"}),
        ("acts", "scale * x ** power", "scale + x ** power", {"power"}),
        ("acts", "(4, 0.25)", "(4, 0.125)", {"power"}),
        ("acts", "_steep(x) / 2", "_steep(x) * 2", {"share"}),
        ("acts", 'of="layer"', 'of="output"', {"share"}),
        ("acts", "(of, gain, measure)", "(of, measure, gain)", {"share"}),
        ("acts", "_unused(x) ** power", "_unused(x) * power", {"made"}),
        ("acts", "_made(3)", "_made(4)", {"made"}),
        ("acts", "power + 100", "power - 100", {"made"}),
        ("acts", "return self.rule(x)", "return -self.rule(x)", EVERY - {"share"}),
        ("acts", "ACTS[entry.name] = entry", "ACTS[entry.rule] = entry", EVERY - {"share"}),
        ("acts", "ACTS = {}", "ACTS = dict()", EVERY | {"run"}),
        ("acts", "return ACTS[name]", "return ACTS.get(name)", {"run"}),
        ("run", "lookup(name)(x)", "lookup(name)(-x)", {"run"}),
        # what nothing reaches, what only a reader or a prediction sees, and what makes no number
        ("acts", "sorted(ACTS)", "list(ACTS)", set()),
        ("acts", "q / 7", "q / 8", set()),
        ("acts", "moments=_second_moment, ", "", set()),
        ("acts", "gain=5 / 3", "gain=1.5", set()),
        ("acts", 'label="tanh"', 'label="hyperbolic tangent"', set()),
        ("acts", 'label="share", better="low"', 'label="a share", better="high"', set()),
        ("acts", 'label="from a function"', 'label="made"', set()),
        ("acts", "import math\n", "import math\nimport secrets\n", set()),
        ("codehash", "return ()", "return (name,)", set()),
    ],
)
def test_a_change_counts_for_what_reaches_it(
    acts: Code, tmp_path: Path, module: str, text: str, other: str, expected: set[str]
) -> None:
    assert OPENED[module].count(text) == 1
    after = opened(tmp_path / "after", OPENED | {module: OPENED[module].replace(text, other)})
    assert changed(acts, after) == expected


@pytest.mark.parametrize(
    "added",
    [
        "\nLIMIT = 6.0\n\ndef _clip(x):\n    return min(x, LIMIT)\n\nregister(Act('clip', rule=_clip))\n",
        "\nfrom pack.heavy import weigh\n\nregister(Act('heavy', rule=weigh))\n",
        "\nfor power in (5, 6):\n    register(Act(f'more {power}', rule=lambda x: x + power))\n",
        "\n@metric(of='layer')\ndef doubled(x):\n    return share(x) + tanh(x)\n",
    ],
)
def test_a_new_entry_changes_neither_a_role_nor_another_entry(acts: Code, tmp_path: Path, added: str) -> None:
    heavy = {"heavy": "def weigh(x):\n    return 9 * x"}
    assert changed(acts, opened(tmp_path / "after", OPENED | heavy | {"acts": ACTS + added})) == set()


@pytest.mark.parametrize(
    "added", ["ACTS |= {'a': 1}", "ACTS['a'] = 1", "ACTS.update(a=1)", "ACTS['a'].b = 1", "del ACTS['a']", "del ACTS"]
)
def test_a_statement_that_changes_an_object_belongs_to_its_definition(acts: Code, tmp_path: Path, added: str) -> None:
    assert "run" in changed(acts, opened(tmp_path / "after", OPENED | {"acts": f"{ACTS}\n{added}\n"}))


def test_a_definition_that_other_code_imports_counts_there(acts: Code, tmp_path: Path) -> None:
    """The function of an entry is code like any other for a module that imports it."""
    users = OPENED | {"run": f"from pack.acts import share\n{OPENED['run']}\ny = share(1)"}
    before = opened(tmp_path / "user", users)
    assert before.counted(["run"]) == [
        *(f"acts.{name}" for name in ("ACTS", "SHARP", "_shared", "_steep", "lookup", "metric", "share")),
        "run",
    ]
    after = opened(tmp_path / "after", users | {"acts": ACTS.replace("math.tanh(x)", "math.sinh(x)")})
    assert changed(before, after) == {"run", "tanh", "steep", "share"}


def test_an_import_inside_a_used_definition_is_followed(acts: Code, tmp_path: Path) -> None:
    inner = ACTS.replace("from pack.pieces import cube\n", "").replace(
        "    return ACTS[name]", "    from pack.pieces import cube\n    return cube"
    )
    before = opened(tmp_path / "inner", OPENED | {"acts": inner})
    assert before.counted(["run"]) == ["acts.lookup", "pieces", "run"]


def test_an_open_module_may_hand_on_a_name(tmp_path: Path) -> None:
    handed = OPENED | {"run": "from pack.acts import cube\n\ny = cube(2)"}
    assert opened(tmp_path, handed).counted(["run"]) == ["acts.cube", "pieces", "run"]


def test_a_name_that_is_imported_or_else_defined_counts_as_both(acts: Code, tmp_path: Path) -> None:
    tried = "try:\n    from pack.pieces import cube\nexcept ImportError:\n    def cube(x):\n        return 0\n"
    text = ACTS.replace("from pack.pieces import cube\n", tried)
    before = opened(tmp_path / "tried", OPENED | {"acts": text})
    for name, other in {
        "a": text.replace("import cube", "import K as cube"),
        "b": text.replace("return 0", "return 1"),
    }.items():
        assert changed(before, opened(tmp_path / name, OPENED | {"acts": other})) == {"cubic"}


def test_a_parameter_hides_a_name_of_the_module_only_where_it_is_seen(acts: Code, tmp_path: Path) -> None:
    """`_unused` has a parameter `power`, and the loop at the top binds another `power`."""
    shown = ACTS.replace("def _unused(power):", "def _unused(x, power=power):")
    before = opened(tmp_path / "shown", OPENED | {"acts": shown})
    after = opened(tmp_path / "after", OPENED | {"acts": shown.replace("(4, 0.25)", "(4, 0.5)")})
    assert changed(before, after) == {"power", "made"}


def test_names_of_an_open_module_may_be_read_as_attributes(acts: Code, tmp_path: Path) -> None:
    for name, text in {
        "member": "from pack import acts as a\n\ndef go(name, x):\n    return a.lookup(name)(x)",
        "whole": "import pack.acts\n\ndef go(name, x):\n    return pack.acts.lookup(name)(x)",
    }.items():
        assert opened(tmp_path / name, OPENED | {"run": text}).digest(["run"]) == acts.digest(["run"])


@pytest.mark.parametrize("use", ["getattr(acts, 'lookup')", "vars(acts)", "acts"])
def test_an_open_module_is_refused_where_it_is_used_as_a_whole(tmp_path: Path, use: str) -> None:
    code = opened(tmp_path, OPENED | {"run": f"from pack import acts\n\nx = {use}"})
    with pytest.raises(AssertionError, match=r"run: uses acts as a whole, .* write acts\.NAME"):
        code.digest(["run"])


@pytest.mark.parametrize(
    "hides",
    [
        "from pack.pieces import *\n",
        "import importlib\nLOADED = importlib.import_module('x')\n",
        "from importlib import import_module\nLOADED = import_module('x')\n",
        "LOADED = globals()\n",
    ],
)
def test_an_open_module_that_hides_what_is_used_is_refused(tmp_path: Path, hides: str) -> None:
    code = opened(tmp_path, OPENED | {"acts": hides + ACTS, "run": "from pack.acts import LOADED"})
    with pytest.raises(AssertionError, match=r"acts: .* hides what"):
        code.digest(["run"])


# -- extensions: entries in a file of the user ------------------------------------------------------------------------

MINE = """from pack.acts import Act, register
from pack.pieces import cube, K
from helpers import soft

LIMIT = 6

def rule(x):
    return min(soft(x), LIMIT) + K

def other(x):
    return cube(x)

register(Act("mine", rule=rule, moments=other, label="mine"))
"""
HELPERS = """import math

def soft(x):
    return math.log1p(inner(x))

def inner(x):
    return x * x

def apart(x):
    return x - 1
"""
BESIDE = {"mine.py": MINE, "helpers.py": HELPERS}


def extension(folder: Path, files: dict[str, str], file: str = "mine.py", **modules: str) -> str:
    """The hash of the entry in an extension, for a package of its own in which modules are replaced."""
    code = opened(folder / "installed", OPENED | modules)
    for name, text in files.items():
        path = folder / "user" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return code.entry(made(folder / "user" / file, "register(Act("))


def test_an_extension_may_call_the_functions_of_a_module(tmp_path: Path) -> None:
    """`acts.register(…)` does not define `acts`, as `THINGS.append(…)` defines what THINGS is."""
    called = MINE.replace("import Act, register", "import Act").replace(
        "from pack", "from pack import acts\nfrom pack", 1
    )
    files = BESIDE | {"mine.py": called.replace("register(Act(", "acts.register(acts.Act(")}
    before = extension(tmp_path / "b", BESIDE)
    (tmp_path / "a" / "user").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "a" / "user" / name).write_text(text, "utf-8")
    entry = made(tmp_path / "a" / "user" / "mine.py", "acts.register(acts.Act(")
    assert opened(tmp_path / "a" / "installed", OPENED).entry(entry) == before


def test_a_library_of_the_name_of_a_file_beside_is_what_an_import_means(tmp_path: Path) -> None:
    """As when an extension is loaded: `import math` is that of Python, though a file math.py lies beside."""
    before = extension(tmp_path / "a", BESIDE)
    assert extension(tmp_path / "b", BESIDE | {"math.py": "def log1p(x):\n    return 0\n"}) == before


@pytest.mark.parametrize(
    ("file", "text", "other", "same"),
    [
        ("helpers.py", "math.log1p", "math.log", False),
        ("helpers.py", "x * x", "x + x", False),
        ("helpers.py", "x - 1", "x + 1", True),
        ("helpers.py", "import math\n", "import math\nimport os\n", True),
        ("mine.py", "LIMIT = 6", "LIMIT = 7", False),
        ("mine.py", "min(", "max(", False),
        ("mine.py", "cube(x)", "-cube(x)", True),  # of the moments
        ("mine.py", 'label="mine"', 'label="ours"', True),
        ("mine.py", "LIMIT = 6\n", "# a reason\nLIMIT = 6\n\nNEW = register(Act('new', rule=abs))\n", True),
    ],
)
def test_an_extension_counts_by_reach(tmp_path: Path, file: str, text: str, other: str, same: bool) -> None:
    assert BESIDE[file].count(text) == 1
    edited = BESIDE | {file: BESIDE[file].replace(text, other)}
    if "NEW" in other:  # the line of the entry is found by its text, which now stands twice
        edited["mine.py"] = edited["mine.py"].replace("register(Act('new'", "(register)(Act('new'")
    assert (extension(tmp_path / "before", BESIDE) == extension(tmp_path / "after", edited)) is same


@pytest.mark.parametrize(
    ("module", "text", "other", "same"),
    [
        ("acts", "return self.rule(x)", "return -self.rule(x)", False),  # of the record that the entry is
        ("acts", "ACTS[entry.name] = entry", "ACTS[entry.rule] = entry", False),
        ("acts", "return ACTS[name]", "return ACTS.get(name)", True),
        ("acts", "math.tanh(x)", "math.sinh(x)", True),
        ("pieces", "K = 3", "K = 4", False),
    ],
)
def test_an_extension_uses_the_package_by_reach(tmp_path: Path, module: str, text: str, other: str, same: bool) -> None:
    changed_ = {module: OPENED[module].replace(text, other)}
    assert (extension(tmp_path / "a", BESIDE) == extension(tmp_path / "b", BESIDE, **changed_)) is same


@pytest.mark.parametrize(
    "spelled",
    [
        {"mine.py": MINE.replace("from helpers import soft", "import helpers").replace("soft(x)", "helpers.soft(x)")},
        {"mine.py": MINE.replace("from helpers", "from .helpers"), "__init__.py": ""},
        {"mine.py": MINE.replace("from helpers", "from user.helpers"), "__init__.py": ""},
        {"mine.py": MINE.replace("from helpers", "from tools.deep"), "tools/deep.py": HELPERS},
        {"mine.py": MINE.replace("from helpers", "from tools.deep"), "tools/deep.py": HELPERS, "tools/__init__.py": ""},
        {
            "mine.py": MINE.replace("from helpers import soft", "import tools.deep").replace(
                "soft(x)", "tools.deep.soft(x)"
            ),
            "tools/deep.py": HELPERS,
        },
    ],
)
def test_a_helper_is_found_however_it_is_imported(tmp_path: Path, spelled: dict[str, str]) -> None:
    """The hash is that of the plain import, and therefore depends neither on folders nor on the names of files."""
    files = BESIDE | spelled
    assert extension(tmp_path / "a", files) == extension(tmp_path / "deeper" / "b", BESIDE)
    inner = {name: text.replace("x * x", "x + x") for name, text in files.items()}
    assert extension(tmp_path / "c", inner) != extension(tmp_path / "a", files)


def test_a_helper_that_a_function_imports_is_followed(tmp_path: Path) -> None:
    late = MINE.replace("from helpers import soft\n", "").replace(
        "    return min(", "    from helpers import soft\n    return min("
    )
    files = BESIDE | {"mine.py": late}
    inner = files | {"helpers.py": HELPERS.replace("x * x", "x + x")}
    apart = files | {"helpers.py": HELPERS.replace("x - 1", "x + 1")}
    assert extension(tmp_path / "a", files) != extension(tmp_path / "b", inner)
    assert extension(tmp_path / "a", files) == extension(tmp_path / "c", apart)


def test_an_extension_may_be_a_package(tmp_path: Path) -> None:
    files = {"acts/__init__.py": MINE.replace("from helpers", "from .helpers"), "acts/helpers.py": HELPERS}
    assert extension(tmp_path / "a", files, "acts/__init__.py") == extension(tmp_path / "b", BESIDE)


def test_the_name_of_an_extension_does_not_count(tmp_path: Path) -> None:
    renamed = {"another.py": MINE, "soften.py": HELPERS}
    renamed["another.py"] = MINE.replace("from helpers", "from soften")
    assert extension(tmp_path / "a", renamed, "another.py") == extension(tmp_path / "b", BESIDE)


def test_an_error_of_the_package_is_not_that_of_an_extension(tmp_path: Path) -> None:
    """A file `errors.py` beside an extension is a helper like any other; that of the package makes sentences only."""
    files = {"mine.py": MINE.replace("from helpers", "from errors"), "errors.py": HELPERS}
    other = files | {"errors.py": HELPERS.replace("x * x", "x + x")}
    assert extension(tmp_path / "a", files) != extension(tmp_path / "b", other)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            BESIDE | {"helpers.py": "from math import *\n\ndef soft(x):\n    return log1p(x)\n"},
            "helpers.py: .* hides what",
        ),
        (BESIDE | {"mine.py": MINE.replace("soft(x)", "__import__('os')")}, r"mine.py:8: __import__ hides what"),
        (BESIDE | {"mine.py": MINE.replace("from helpers", "from ..helpers")}, r"mine.py:3: imports from above"),
        (BESIDE | {"helpers.py": "x = 1"}, "helpers.py: defines no soft"),
    ],
)
def test_an_extension_that_hides_what_it_uses_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        extension(tmp_path, files)


def test_an_entry_that_stands_in_no_module_is_refused(acts: Code, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="<stdin>: an entry stands here, but not in a file"):
        acts.entry([("<stdin>", 1)])
    file = tmp_path / "my.act.py"
    file.write_text(MINE, "utf-8")
    with pytest.raises(SpecError, match=r"my\.act\.py: an entry stands here, but not in a file that is named"):
        acts.entry(made(file, "register(Act("))
    mine = tmp_path / "mine.py"
    mine.write_text(MINE, "utf-8")
    with pytest.raises(SpecError, match=r"mine\.py: has no statement at line 99"):
        acts.entry([(str(mine), 99)])


def test_an_entry_in_a_module_that_is_not_open_counts_with_the_whole_module(acts: Code, tmp_path: Path) -> None:
    run = OPENED["run"] + "\n\nfrom pack.acts import Act, register\nregister(Act('here', rule=abs))\n"
    before, after = (
        opened(tmp_path / name, OPENED | {"run": text})
        for name, text in {"a": run, "b": run.replace("(x)\n", "(-x)\n")}.items()
    )
    old, new = (code.entry(made(code.folder / "run.py", "register(Act(")) for code in (before, after))
    assert old != new
