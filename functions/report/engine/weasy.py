"""Imports WeasyPrint in half the time: everything else in this folder takes it from this module.

Its C declarations are ready made (binding.py), and what a page of ours never or seldom needs is imported with the first
call: fontTools' subsetter, which WeasyPrint calls for variable fonts and where HarfBuzz has none, and its reader of
WOFF 2; the forgiving reader of HTML. Its fonts are the system's, with what fonts.conf says of them.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from functions.report.engine.binding import ready_made

SELDOM: Final = (
    "fontTools.subset",
    "fontTools.ttLib.woff2",
    "fontTools.varLib.instancer",
    "tinyhtml5",
)


class Later(ModuleType):
    """Stands for a module of which only functions are called: a call imports the real one."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*values: Any, **named: Any) -> Any:
            return getattr(importlib.import_module(self.__name__), name)(*values, **named)

        return call


@contextmanager
def _later(*names: str) -> Iterator[None]:
    absent = [name for name in names if name not in sys.modules]
    sys.modules |= {name: Later(name) for name in absent}
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


if Path("/etc/fonts/fonts.conf").exists():  # which fonts.conf includes
    os.environ.setdefault("FONTCONFIG_FILE", str(Path(__file__).with_name("fonts.conf")))

# What fontconfig reads.
FONTS_FILE: Final = os.environ.get("FONTCONFIG_FILE")

with ready_made(), _later(*SELDOM):
    import weasyprint  # type: ignore[import-untyped]  # it has no types
    from weasyprint.layout import inline, preferred  # type: ignore[import-untyped]  # as above
    from weasyprint.text.fonts import FontConfiguration  # type: ignore[import-untyped]  # as above
    from weasyprint.urls import (  # type: ignore[import-untyped]  # as above
        FatalURLFetchingError,
        URLFetcher,
        URLFetcherResponse,
    )

__all__ = [
    "FONTS_FILE",
    "FatalURLFetchingError",
    "FontConfiguration",
    "URLFetcher",
    "URLFetcherResponse",
    "inline",
    "preferred",
    "weasyprint",
]
