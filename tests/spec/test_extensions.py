"""The files of the user's own code that a study file names: what is loaded, what is refused, and what stays as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from study.errors import SpecError
from study.network.activations import ACTIVATIONS
from study.network.expectations import gain
from study.spec import extensions
from study.spec.anchors import ADDED
from study.spec.read import read_study
from study.spec.records import Spec
from study.spec.stand_ins import described
from study.spec.study_file import open_study
from tests.support.tiny import one_line, write

ACT = """
import numpy as np
from study.network.activations import Activation, register

register(Activation({name!r}, torch="torch.tanh", phi=lambda z: {factor} * np.tanh(z), slope=lambda z: {factor} + 0 * z))
"""


def act(name: str = "mine", factor: float = 1.0) -> str:
    return ACT.format(name=name, factor=factor)


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """No entry of an extension is left in the registries."""
    yield
    extensions.withdraw()


def study(folder: Path, files: dict[str, str | bytes], names: Any = None, **changes: Any) -> Path:
    """A tiny study in the folder that names these files, which are written beside it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return write(folder, {"extensions": [*files] if names is None else names, **changes})


def read(path: Path) -> Spec:
    return read_study(path, name="tiny.yaml", trust="always")


def refused(path: Path) -> str:
    """The one line with which a study is refused. The registries hold no entry of an extension afterwards."""
    extensions.withdraw()
    before = dict(ACTIVATIONS), list(sys.meta_path), list(sys.path)
    with pytest.raises(SpecError) as error:
        read(path)
    assert (dict(ACTIVATIONS), list(sys.meta_path), list(sys.path)) == before
    return one_line(str(error.value))


# -- which files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("my_act.py", "tiny.yaml:.: extensions: expected a list of files such as [my_act.py], got 'my_act.py'"),
        ([3], "extensions.0: expected the name of a file such as my_act.py, got 3"),
        (["gone.py"], "extensions.0: the file 'gone.py' is not there; name a file of Python code"),
        (["folder.py"], "extensions.0: the file 'folder.py' is no regular file"),
        (["my_act.txt"], "extensions.0: expected a file that is named as a Python module, such as my_act.py"),
        (["my-act.py"], "extensions.0: expected a file that is named as a Python module"),
        (["../my_act.py"], "extensions.0: leads out of the study file's folder, got '../my_act.py'"),
        (["/dev/null"], "extensions.0: leads out of the study file's folder"),
        (["link.py"], "extensions.0: leads out of the study file's folder, got 'link.py'"),
        (["my_act.py", "./my_act.py"], "extensions.1: the file is listed twice"),
    ],
)
def test_a_path_that_is_no_file_below_the_folder_is_one_line(tmp_path: Path, names: Any, words: str) -> None:
    inner = tmp_path / "inner"
    (inner / "folder.py").mkdir(parents=True)
    (tmp_path / "my_act.py").write_text(act())
    (inner / "link.py").symlink_to(tmp_path / "my_act.py")
    path = study(inner, {"my_act.py": act(), "my_act.txt": "", "my-act.py": ""}, names)
    line = path.read_text().splitlines().index("extensions:" if isinstance(names, list) else f"extensions: {names}") + 1
    message = refused(path)
    assert words.replace("tiny.yaml:.", f"tiny.yaml:{line}") in message


def test_a_link_to_a_file_of_the_folder_and_a_file_in_a_folder_below_are_loaded(tmp_path: Path) -> None:
    path = study(tmp_path, {"below/deep.py": act("deep"), "plain.py": act("plain")}, ["below/deep.py", "link.py"])
    (tmp_path / "link.py").symlink_to("plain.py")
    assert [one.path.name for one in read(path).extensions] == ["deep.py", "plain.py"]
    assert {"deep", "plain"} <= set(ACTIVATIONS)


def test_an_extension_is_loaded_only_where_the_user_trusts_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "inner").mkdir()
    path = study(tmp_path / "inner", {"my_act.py": f"open({str(ran)!r}, 'w').close()\n{act()}"})
    with pytest.raises(
        SpecError, match=r"would run, and the study file does not lie below the working folder; .*--trust"
    ):
        read_study(path, name="tiny.yaml")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "inner")  # links are resolved: it lies below no other folder
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(tmp_path / "outside")
    with pytest.raises(SpecError, match="--trust"):
        read_study(Path("../elsewhere/tiny.yaml"))
    assert not ran.exists()
    monkeypatch.chdir(tmp_path)
    read_study(path)
    assert ran.exists()


# -- what an extension does -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n1 / 0\n", "my_act.py:2: raises ZeroDivisionError (division by zero) when it is loaded"),
        ("import sys\n\nsys.exit()\n", "my_act.py:3: raises SystemExit when it is loaded"),
        ("def f(:\n", "my_act.py:1: is no Python code (invalid syntax)"),
        ("import nowhere_at_all\n", "my_act.py:1: raises ModuleNotFoundError"),
        (b"# \xff\n", "my_act.py:1: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"x = 1\x00\n", "null bytes"),
        (
            "from study.network.activations import Activation, register\nregister(Activation('mine', 'torch.tanh'))\n",
            "my_act.py:2: raises TypeError (Activation.__init__() missing 2 required positional arguments: 'phi' and",
        ),
        (act("tanh"), "my_act.py:5: activation 'tanh': the name is taken; choose another one"),
        (act(factor=float("nan")).replace("nan", "np.nan"), "my_act.py:5: activation 'mine': phi: expected a finite"),
        (
            "from study.network.activations import ACTIVATIONS\nACTIVATIONS['tanh'] = ACTIVATIONS['relu']\n",
            "my_act.py: replaces the activation 'tanh'; register an entry of another name",
        ),
        (act() + "\n\ndef hidden():\n    return globals()\n", None),
        (act().replace("np.tanh(z)", "globals()['np'].tanh(z)"), None),
        (
            act().replace('torch="torch.tanh"', "torch=lambda z: globals()['np'].tanh(z)"),
            "my_act.py:5: globals hides what a hash of the code must see",
        ),
        (
            "from study.measurement.metrics import metric\n\n@metric(of='parameter', label='a', format='.1f')\n"
            "def twin_gap(p, gradient, lr):\n    return p\n",
            "the metric 'twin_gap' has the name of a quantity; give it another name",
        ),
        (
            "from study.report.sections.registry import section\n\n@section('a', 'b?', needs='c')\n"
            "def theory_section(results):\n    return None\n",
            "my_act.py:3: section 'theory': the name is taken; give the function another one",
        ),
        (
            "from study.report.sections.registry import section\n\n@section('a', 'b?', needs='c')\n"
            "def view(results):\n    return None\n",
            "my_act.py:3: section: expected a function that is named in small letters, such as my_view_section",
        ),
    ],
)
def test_what_cannot_serve_is_one_line_with_the_file_and_the_line(
    tmp_path: Path, text: str | bytes, words: str | None
) -> None:
    path = study(tmp_path, {"my_act.py": text})
    if words is None:  # no training runs this code
        assert read(path).extensions
    else:
        assert words in refused(path)
        assert words in refused(path)  # nothing of the first attempt is left


def test_an_interrupt_while_an_extension_is_loaded_is_an_interrupt(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        read(study(tmp_path, {"my_act.py": "raise KeyboardInterrupt\n"}))


def test_an_error_in_a_file_beside_is_told_of_that_file(tmp_path: Path) -> None:
    path = study(tmp_path, {"my_act.py": "import beside\n", "beside.py": "\n1 / 0\n"}, ["my_act.py"])
    assert "beside.py:2: raises ZeroDivisionError" in refused(path)


def test_a_name_that_no_registry_knows_gives_the_nearest_of_all(tmp_path: Path) -> None:
    path = study(tmp_path, {"my_act.py": act("swoosh")}, **{"conditions.zero.hidden": {"activation": "swosh"}})
    with pytest.raises(SpecError, match=r"zero\.hidden\.activation: no activation 'swosh'; did you mean 'swoosh'\?"):
        read(path)


# -- files beside an extension ----------------------------------------------------------------------------------------

HELPED = """
import random
import seaborn
import helpers
from helpers import factor
from parts.inner import offset
from study.network.activations import Activation, register

assert hasattr(random, "Random") and not hasattr(seaborn, "MINE")
register(Activation("mine", "torch.tanh", phi=lambda z: factor * z + offset, slope=lambda z: factor + 0 * z))
"""


def test_files_beside_are_imported_and_take_the_place_of_no_library(tmp_path: Path) -> None:
    files = {"helpers.py": "factor = 3.0\n", "parts/__init__.py": "", "parts/inner.py": "offset = 0.5\n"}
    shadows = {"random.py": "MINE = 1\n", "seaborn.py": "MINE = 1\n", "numpy.py": "MINE = 1\n"}
    path = study(tmp_path, {"my_act.py": HELPED, **files, **shadows}, ["my_act.py"])
    (found,) = read(path).extensions
    assert [name for name, _ in found.files] == ["my_act.py", "helpers.py", "parts/__init__.py", "parts/inner.py"]
    assert gain("mine") == pytest.approx(1 / (9 + 0.25) ** 0.5, rel=1e-9)
    import random

    assert hasattr(random, "Random")
    assert not {"helpers", "parts", "parts.inner", "my_act"} & set(sys.modules)
    with pytest.raises(ModuleNotFoundError):
        __import__("helpers")
    assert not list(tmp_path.rglob("__pycache__"))  # nothing is written beside the user's files


def test_two_folders_have_files_of_one_name_beside_their_extensions(tmp_path: Path) -> None:
    text = act(factor=7).replace("7", "factor") + "\n"
    for name, factor in (("a", 2.0), ("b", 4.0)):
        (tmp_path / name).mkdir()
        files = {"my_act.py": f"from helpers import factor\n{text}", "helpers.py": f"factor = {factor}\n"}
        read(study(tmp_path / name, files, ["my_act.py"]))
        assert gain("mine") == pytest.approx(gain("tanh", "second moment") / factor, rel=1e-9)


@pytest.mark.parametrize("late", ["from helpers import factor", "import helpers", "from parts.inner import offset"])
def test_an_import_inside_a_function_of_a_file_beside_is_refused_with_its_line(tmp_path: Path, late: str) -> None:
    files = {"helpers.py": "factor = 3.0\n", "parts/__init__.py": "", "parts/inner.py": "offset = 0.5\n"}
    text = act() + f"\n\ndef later():\n    import random\n    {late}\n"
    path = study(tmp_path, {"my_act.py": text, **files}, ["my_act.py"])
    line = text.splitlines().index(f"    {late}") + 1
    name = late.split()[1]
    assert f"my_act.py:{line}: imports {name} inside a function" in refused(path)
    path = study(tmp_path, {"first.py": "import my_act\n"}, ["first.py"])  # in a file beside the extension likewise
    assert f"my_act.py:{line}: imports {name} inside a function" in refused(path)


OPTIONED = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Literal
from study.network.inits import Initialiser, register

@dataclass(frozen=True)
class Options:
    size: float
    side: Literal["left", "right"] | None = None

register(Initialiser("sized", lambda o, s, p, f: None, lambda o, i, n: o.size, lambda o: f"size {o.size:g}", options=Options))
"""


def test_options_of_a_file_beside_are_read(tmp_path: Path) -> None:
    words = {"weight": {"sized": 2}}
    path = study(tmp_path, {"mine.py": "import other\n", "other.py": OPTIONED}, ["mine.py"],
                 **{"conditions.zero.hidden": words})  # fmt: skip
    assert read(path).condition("zero").network.hidden[0].weight.options == (("size", 2.0),)
    path = study(tmp_path, {}, ["mine.py"], **{"conditions.zero.hidden": {"weight": {"sized": 2, "side": "up"}}})
    assert "expected left, right or none, got 'up'" in refused(path)


# -- one process, several studies --------------------------------------------------------------------------------------


def test_the_registries_hold_the_entries_of_the_study_that_was_read_last(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir(), (tmp_path / "c").mkdir()
    first = study(tmp_path / "a", {"my_act.py": act("mine", 2.0)})
    second = study(tmp_path / "b", {"other.py": act("mine", 4.0), "more.py": act("more")})
    plain = write(tmp_path / "c")
    before, gains = dict(ACTIVATIONS), []
    for path in (first, second, first):
        read(path)
        gains.append(gain("mine"))
        assert ("more" in ACTIVATIONS) is (path is second)
    assert gains[0] == gains[2] == pytest.approx(2 * gains[1], rel=1e-9)
    read(plain)
    assert before == ACTIVATIONS


def test_the_same_file_is_run_once_and_with_another_content_refused(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = f"open({str(log)!r}, 'a').write('.')\n{act()}"
    path = study(tmp_path, {"my_act.py": f"import beside\n{text}", "beside.py": "x = 1\n"}, ["my_act.py"])
    assert read(path).extensions == read(path).extensions
    assert log.read_text() == "."
    (tmp_path / "beside.py").write_text("x = 2\n")
    assert "beside.py: changed after this process had loaded it; start the command, or the program, again" in refused(
        path
    )


def test_a_worker_with_another_content_refuses_in_one_line(tmp_path: Path) -> None:
    path = study(tmp_path, {"my_act.py": act()})
    (found,) = read(path).extensions
    other = type(found)(found.name, found.path, ((found.name, "0" * 64),), found.entries)
    with pytest.raises(SpecError, match=r"worker on here: .*my_act.py: has, with the files beside it, another content"):
        extensions.load_same([other], "worker on here")
    assert "mine" in ACTIVATIONS
    gone = type(found)(found.name, tmp_path / "gone.py", found.files, found.entries)
    with pytest.raises(SpecError, match=r"^worker on here: .*gone.py: cannot be read"):
        extensions.load_same([gone], "worker on here")


# -- without their code -----------------------------------------------------------------------------------------------

EVERY = (
    act("mine", 2.0).replace("np.tanh(z)", "(np.tanh(z) + 1)")
    + """
from dataclasses import dataclass
from typing import Literal
from study.measurement.metrics import metric
from study.network import inits, norms
from study.report.sections.registry import section

@dataclass(frozen=True)
class Options:
    size: float
    side: Literal["left", "right"] | None = None

inits.register(inits.Initialiser("sized", lambda o, s, p, f: None, lambda o, i, n: o.size, lambda o: "sized",
    options=Options, centred=lambda o: True))
norms.register(norms.Norm("even", label="evenness", normalise=lambda x, p, g, o: (x, None), least_batch=3,
    needs_statistics=True, parameters=(norms.Parameter("gain", "egain", inits.ONES),)))

@metric(of="parameter", label="largest entry", format=".3e")
def largest(p, gradient, lr):
    return p

@section("Largest", "What is largest?", needs="a")
def largest_section(results):
    return None
"""
)
USES = {
    "conditions.zero.hidden": {"weight": {"gain": {"mine": "variance"}}, "activation": "mine"},
    "conditions.fixed.hidden": {"weight": {"sized": 1, "side": "left"}, "norm": {"even": {"gain": {"sized": 3}}}},
    "conditions.batchnorm.hidden": {"weight": "kaiming", "activation": "mine", "norm": "batch"},
    "claims": [
        {"id": "a", "sentence": "b", "measure": "largest.W1", "of": "zero", "above": 0, "section": "largest"},
        {"id": "c", "sentence": "d", "measure": "largest.W1", "of": {"activation": "mine"}, "above": 0},
    ],
}


def test_a_study_is_named_as_it_was_without_the_code_of_its_extensions(tmp_path: Path) -> None:
    path = study(tmp_path, {"every.py": EVERY}, **USES)
    whole = read(path)
    told = described(whole.extensions)
    extensions.withdraw()
    named = read_study(path, name="tiny.yaml", trust="never", told=lambda _: told)
    assert named.digest() == whole.digest()
    assert named.claims == whole.claims
    assert [c.statistics for c in named.conditions] == [c.statistics for c in whole.conditions]
    assert [one.entries for one in named.extensions] == [one.entries for one in whole.extensions]
    assert [one.loaded for one in named.extensions] == [False]
    with pytest.raises(SpecError, match=r"^here: the extension every.py is not loaded"):
        extensions.load_same(named.extensions, "here")
    with pytest.raises(SpecError, match=r"the activation 'mine': the extension every.py is not loaded"):
        ACTIVATIONS["mine"].torch(0)  # type: ignore[operator]
    assert ADDED["largest"].make(None, None) is None
    write(tmp_path, {"extensions": ["every.py"], **USES, "claims.1.of": {"hidden_std": {"max": 1}}})
    with pytest.raises(SpecError, match=r"claims.1.of: selects by a std that only an extension knows"):
        read_study(path, name="tiny.yaml", trust="never", told=lambda _: told)


@pytest.mark.parametrize(
    "told", [None, [], [{"name": "every.py"}], 3, [{"name": "every.py", "files": {}, "entries": [1]}]]
)
def test_a_manifest_that_does_not_tell_of_an_extension_is_one_line(tmp_path: Path, told: Any) -> None:
    path = study(tmp_path, {"every.py": EVERY})
    before = dict(ACTIVATIONS)
    with pytest.raises(SpecError) as error:
        open_study(path, "tiny.yaml", "never", lambda _: told)
    assert "study run" in one_line(str(error.value))
    assert before == ACTIVATIONS


def test_a_pipe_is_no_extension(tmp_path: Path) -> None:
    path = study(tmp_path, {}, ["pipe.py"])
    os.mkfifo(tmp_path / "pipe.py")
    assert "is no regular file" in refused(path)
