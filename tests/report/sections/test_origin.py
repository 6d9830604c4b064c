"""How a section was made: the lines of the study file, and the code behind it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from study.report.sections.contents import SECTIONS
from study.report.sections.origin import code_of, extent
from study.spec.anchors import SECTION_ORDER
from study.tables import TABLES

HOME = Path(__file__).parents[3]
SHOWN = ("study.analysis.", "study.measurement.")


def test_the_lines_of_a_key_end_with_the_last_below_it():
    from study.spec.document import parse

    found = parse("a:\n  b: 1\n  c: [1,\n    2]\n\n# of d\nd: 3\n", "x.yaml")
    assert (extent(found, ("a",)), extent(found, ("a", "b")), extent(found, ("d",))) == ("1-4", "2", "7")


def named(anchor: str, *tables: str) -> set[Path]:
    """The files that stand as code behind a section."""
    question = SECTIONS[anchor]
    return {HOME / part.partition(": ")[0] for part in code_of(question.module, question.function, tables)}


@pytest.mark.parametrize("anchor", SECTION_ORDER)
def test_the_code_of_a_section_is_what_its_module_uses(anchor: str) -> None:
    """The names in the module, once it is imported, say where they come from."""
    held = vars(sys.modules[SECTIONS[anchor].module]).values()
    modules = {value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "") for value in held}
    used = {str(sys.modules[name].__file__) for name in modules if name and name.startswith(SHOWN)}
    assert used
    assert {Path(file) for file in used} <= named(anchor)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_made_where_code_lies(table: str) -> None:
    others = named("method", table) - named("method")
    assert len(others) == 1 and all(path.is_file() for path in others)


def test_gradients_are_measured_and_published_losses_collected() -> None:
    assert HOME / "study/measurement/measure.py" in named("gradients", "metrics", "histograms")
    assert HOME / "study/execution/collect.py" in named("published", "published")
    assert HOME / "study/measurement/probe.py" in named("growth", "probe")
