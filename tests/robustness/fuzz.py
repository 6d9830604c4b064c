"""Study files of every kind of damage: each is a Spec or one line with a place, never another exception.

`python -m tests.robustness.fuzz --documents 10000 --seed 0` prints the figures; document i of a seed is always the same,
and `--only i` shows it. Exit 1 when a document ends in another exception, or in a refusal without a place.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from study.errors import SpecError
from study.spec.read import read_study

HOME = Path(__file__).resolve().parents[2]
STUDIES = (HOME / "tests" / "support" / "tiny.yaml", HOME / "experiments.yaml")
PLACE = re.compile(r"[^\n:]+(:\d+)?: \S")  # the study file, or the word list that it names
LONGEST = 600  # characters of a message
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the fast one where there is one

Outcome = Literal["spec", "refusal", "traceback"]
Maker = Callable[[random.Random], bytes]

SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    40,
    10**9,
    10**9 + 1,
    2**63,
    10**30,
    0.0,
    -0.0,
    0.1,
    0.5,
    1e-9,
    1e300,
    -1.5,
    math.nan,
    math.inf,
    -math.inf,
    "",
    " ",
    ".",
    "none",
    "batch",
    "tanh",
    "linear",
    "calibrated",
    "loss.train",
    "log(vocabulary)",
    "10 ** 9 ** 9",
    "__import__('os')",
    "baseline",
    "fixed",
    "full",
    "quick",
    "../x",
    "/etc/passwd",
    "a\x00b",
    "\u202e",
    "é" * 50,
    "x" * 5000,
    "<<",
    "=",
    "2026-01-01",
    "0x1f",
    "1_000",
    "a\nb",
    "😀",
]
MARKS = [
    "\n",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!x ",
    "!!python/name:os.system ",
    '"',
    "'",
    "|\n",
    ">-\n",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "%TAG ! x\n",
    "\t",
    "#",
    ",",
    "\r",
    "\x00",
    "\x07",
    "\ufeff",
    "\x85",
    "\u2028",
    "@",
    "`",
    "1e999",
    ".nan",
    "~",
    "0o17",
    "{a: 1, a: 2}",
    "[" * 60,
    "\\ud800",
    '"\\ud800"',
]


@cache
def source(path: Path) -> str:
    """The text of a study file, without the hash of its word list: a short one stands in for it."""
    return re.sub(r"\n *sha256: \w+", "", path.read_text("utf-8"))


@cache
def _plain(path: Path) -> Any:
    return yaml.safe_load(source(path))


def dump(study: Any, allow_unicode: bool = True) -> str:
    """Plain values as YAML."""
    text: str = yaml.dump(study, Dumper=DUMPER, sort_keys=False, allow_unicode=allow_unicode)
    return text


# -- documents ----------------------------------------------------------------------------------------------------


def noise(draw: random.Random) -> bytes:
    """Bytes without meaning: any, or of a text in any encoding."""
    kind, size = draw.randrange(4), draw.randrange(200)
    if kind == 0:
        return draw.randbytes(size)
    if kind == 1:
        return "".join(chr(draw.randrange(0xD800)) for _ in range(size)).encode()
    text = "".join(draw.choice([*MARKS, "a", "b", "1", " ", "\n  ", "data", "model"]) for _ in range(size // 4))
    return text.encode(draw.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]), "surrogatepass")


def damaged(draw: random.Random) -> bytes:
    """A study file with pieces dropped, doubled, moved or exchanged for marks of YAML; sometimes a byte or its end."""
    text = draw.choice([source(STUDIES[0]), source(STUDIES[0]), source(STUDIES[0]), dump(_study(draw))])
    for _ in range(draw.randrange(1, 6)):
        a = draw.randrange(len(text) + 1)
        b = min(len(text), a + draw.randrange(1, 60))
        text = text[:a] + draw.choice(["", text[a:b] * 2, *draw.choices(MARKS, k=4)]) + text[b:]
    content = bytearray(text.encode("utf-8", "surrogatepass"))
    if content and draw.randrange(4) == 0:
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content[: draw.randrange(len(content) + 1)] if draw.randrange(8) == 0 else content)


def changed(draw: random.Random) -> bytes:
    """A study whose keys and values are dropped, doubled, renamed, moved, or exchanged for those of other types."""
    study = _study(draw)
    for _ in range(draw.randrange(1, 4)):
        study = _change(draw, study)
    return dump(study, allow_unicode=draw.random() < 0.5).encode()


def bent(draw: random.Random) -> bytes:
    """One value of a study exchanged for one that is nearly right: other numbers, names of conditions, lists for values."""
    study = deepcopy(_plain(STUDIES[0]))
    path = draw.choice([place for place in places(study) if place])
    above = _at(study, path[:-1])
    old = above[path[-1]]
    names = list(study["conditions"])
    near: list[Any] = [
        [old],
        {"std": old},
        {0: old},
        {old: old} if isinstance(old, (str, int)) else old,
        draw.choice(names),
    ]
    if isinstance(old, (int, float)):
        near += [-old, old + 1, old * 10, old / 3, str(old), float(old), old * 10**12]
    if isinstance(old, str):
        near += [old + "x", old.upper(), old[:-1], old + "\n", f" {old}", old * 40]
    if isinstance(old, list):
        near += [old * 2, [*old, None], old[:-1], dict(enumerate(old))]
    if isinstance(old, dict):
        near += [list(old), list(old.values()), {**old, "x": 1}, dict(list(old.items())[:-1])]
    above[path[-1]] = draw.choice(near)
    return dump(study).encode()


MAKERS: tuple[Maker, ...] = (noise, damaged, changed, bent)


def document(seed: int, number: int) -> bytes:
    """Document `number` of `seed`: the four makers take turns."""
    return MAKERS[number % len(MAKERS)](random.Random(f"{seed} {number}"))


def _study(draw: random.Random) -> Any:
    """tests/support/tiny.yaml, or experiments.yaml, most often cut down to some of its entries, which reads faster."""
    kind = draw.randrange(8)
    study = deepcopy(_plain(STUDIES[kind >= 4]))
    if 4 <= kind < 7:
        for key in draw.sample(["profiles", "published", "sweeps", "twins", "probe"], 3):
            del study[key]
        study["claims"] = draw.sample(study["claims"], 3)
    return study


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document, mappings and lists included."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in items for place in places(below, (*path, key)))]


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _change(draw: random.Random, study: Any) -> Any:
    """The study after one edit at a random place."""
    found = [place for place in places(study) if place]
    if not found:
        return _value(draw)
    path = draw.choice(found)
    above, key = _at(study, path[:-1]), path[-1]
    kind = draw.choice(["drop", "double", "replace", "replace", "rename", "move", "insert"])
    if kind == "drop":
        del above[key]
    elif kind == "replace":
        above[key] = _value(draw)
    elif kind == "move":
        above[key] = deepcopy(_at(study, draw.choice(found)))
    elif isinstance(above, list):
        above.insert(key, deepcopy(above[key]) if kind == "double" else _value(draw))
    else:
        new = draw.choice([draw.choice(found)[-1], f"{key}x", *(s for s in SCALARS if isinstance(s, (str, int)))])
        entries = list(above.items())
        entry = (new, deepcopy(above[key]) if kind == "double" else _value(draw))
        if kind == "rename":
            entries = [(new, value) if name == key else (name, value) for name, value in entries]
        else:
            entries.insert(draw.randrange(len(entries) + 1), entry)
        above.clear()
        above.update(entries)
    return study


def _value(draw: random.Random, depth: int = 2) -> Any:
    """A scalar, or a small list or mapping of them."""
    kind = draw.randrange(6) if depth else 0
    if kind == 5:
        return [_value(draw, depth - 1) for _ in range(draw.randrange(4))]
    if kind == 4:
        keys = ["std", "gain", "from", "hidden", "steps", "lr", "weight", "norm", "of", "min", "max", 0, 5, -1, "a"]
        return {draw.choice(keys): _value(draw, depth - 1) for _ in range(draw.randrange(4))}
    return draw.choice(SCALARS)


# -- outcomes -----------------------------------------------------------------------------------------------------


def outcome(content: bytes, folder: Path, profile: str = "full") -> tuple[Outcome, str]:
    """What reading a document ends in, and its message; the word list of tests/support/tiny.yaml is in `folder`."""
    path = folder / "fuzz.yaml"
    path.write_bytes(content)
    try:
        spec = read_study(path, profile, name="fuzz.yaml")
        spec.data.load(spec.folder)
    except SpecError as error:
        message = str(error)
        if PLACE.match(message) and message.isprintable() and len(message) < LONGEST:
            return "refusal", message
        return "traceback", f"a message without a place, or not one line: {message!r:.800}"
    except Exception:
        return "traceback", traceback.format_exc()
    return "spec", ""


def run(documents: int, seed: int, show: Callable[[int, str], None]) -> Counter[Outcome]:
    """How many of the documents end in what; `show` gets the number and the traceback of those that must not be."""
    counts: Counter[Outcome] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        for place in ("tiny.txt", "data/names.txt"):
            (folder / place).write_bytes((HOME / "tests" / "support" / "tiny.txt").read_bytes())
        for number in range(documents):
            kind, message = outcome(document(seed, number), folder, ("full", "quick")[number // len(MAKERS) % 2])
            counts[kind] += 1
            if kind == "traceback":
                show(number, message)
    return counts


def main() -> int:
    """The command; prints documents, specs, refusals and tracebacks."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", type=int, help="print this document instead")
    chosen = options.parse_args()
    if chosen.only is not None:
        sys.stdout.buffer.write(document(chosen.seed, chosen.only))
        return 0
    started = time.monotonic()
    counts = run(chosen.documents, chosen.seed, lambda number, message: print(f"document {number}: {message}"))
    print(
        f"documents: {chosen.documents:,}, specs: {counts['spec']:,}, refusals: {counts['refusal']:,}, "
        f"tracebacks: {counts['traceback']:,} (seed {chosen.seed}, {time.monotonic() - started:.0f} s)"
    )
    return 1 if counts["traceback"] else 0


if __name__ == "__main__":
    sys.exit(main())
