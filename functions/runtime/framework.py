"""functions-framework's asynchronous side, imported without what only its other side uses.

The first lines of its package import Flask and Werkzeug, for functions that block in Flask's way; no function of ours
does. They are two thirds of the import and of its memory. So stand-ins are there while it is imported. Afterwards
whoever imports Flask gets it, and functions-framework does too, once it asks a stand-in for something.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

LIBRARY: Final = "functions_framework"
LEFT_OUT: Final = ("flask", "werkzeug", "werkzeug.local")
LOG_EXECUTION_ID: Final = "LOG_EXECUTION_ID"  # functions-framework's own setting, which needs Flask's loggers


class StandIn(ModuleType):
    """What a library may name on its first lines, and decorate by; later on, the module of this name."""

    is_early = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if StandIn.is_early:
            return StandIn(f"{self.__name__}.{name}")
        return getattr(importlib.import_module(self.__name__), name)

    def __call__(self, decorated: Any) -> Any:
        return decorated


@contextmanager
def stand_ins() -> Iterator[None]:
    """For the modules that are left out; not where functions-framework is loaded, as it is by its own command."""
    if LIBRARY in sys.modules or os.environ.get(LOG_EXECUTION_ID):
        yield
        return
    standing_in = {name: StandIn(name) for name in LEFT_OUT if name not in sys.modules}
    sys.modules.update(standing_in)
    try:
        yield
    finally:
        StandIn.is_early = False
        for name in standing_in:
            del sys.modules[name]


with stand_ins():
    from functions_framework import aio, exceptions

# what says that a source or a target is not there
MISSING: Final = (
    exceptions.InvalidConfigurationException,
    exceptions.MissingSourceException,
    exceptions.MissingTargetException,
)

__all__ = ["MISSING", "aio"]
