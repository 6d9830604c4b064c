"""The text of a program changes with its behaviour, and with nothing that only readers see."""

from __future__ import annotations

import pytest

from study.syntax import canonical

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
    assert canonical(same) == canonical(PLAIN)


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
    assert canonical(other) != canonical(PLAIN)


def test_only_the_first_text_of_a_body_is_a_docstring() -> None:
    assert canonical('"a"\n"b"') == canonical("'other'\n'b'")
    assert canonical('"a"\n"b"') != canonical('"a"\n"c"')
    assert canonical("f'{1}'") != canonical("")  # computed, so no docstring
    assert canonical("b'a'") != canonical("")


def test_none_and_nothing_are_told_apart() -> None:
    assert canonical("def f():\n return None") != canonical("def f():\n return")
    assert canonical("f([])") != canonical("f()")
    assert canonical("f(None)") != canonical("f()")


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
    assert (canonical(one) == canonical(other)) is same
