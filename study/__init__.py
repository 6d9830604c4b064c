"""A reproducible study of how a network starts: conditions × seeds, trained, measured, judged, reported.

The names in `__all__` are public. Each is loaded when it is first used, so that `import study` costs nothing.
"""

import importlib

_PUBLIC = {"open_report": "study.analysis.reader"}  # name → the module that defines it

__all__ = ["open_report"]


def __getattr__(name: str) -> object:
    """A public name, loaded from the module that defines it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'study' has no attribute '{name}'; public are {', '.join(_PUBLIC)}")
    found = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names."""
    return sorted(_PUBLIC)
