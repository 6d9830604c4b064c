"""Files of a user's own code, run as modules, with the registries put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from study.measurement.metrics import METRICS


def run(path: Path, text: str) -> None:
    """Write the text to a file and run it as a module."""
    path.write_text(text, encoding="utf-8")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(module_from_spec(spec))


@contextmanager
def metrics_put_back() -> Iterator[None]:
    """The registry of metrics holds afterwards what it held before."""
    before = dict(METRICS)
    try:
        yield
    finally:
        METRICS.clear()
        METRICS.update(before)
