"""Imports WeasyPrint in less time: everything else here takes it from this module.

cffi asks `ctypes.util.find_library` for each name that the linker does not know at once, and that runs ldconfig, gcc
and ld: two fifths of the import. On Linux the last name WeasyPrint tries is the library's real one
(`libpango-1.0.so.0`), so the question can be left out.

A fourth of what remains is fontTools' subsetter, which WeasyPrint calls for variable fonts and where HarfBuzz has none:
it is imported with the first call.

A type that cffi has not met it parses together with all that WeasyPrint declares, in 3 ms. That of an array of glyphs
has their number in it, and so is new in nearly every document; told by its content an array needs no number.
"""

import ctypes.util
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def _unasked() -> Iterator[None]:
    asked = ctypes.util.find_library
    if sys.platform == "linux":
        ctypes.util.find_library = lambda name: None
    try:
        yield
    finally:
        ctypes.util.find_library = asked


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


with _unasked(), _later("fontTools.subset", "fontTools.varLib.instancer"):
    import weasyprint  # type: ignore[import-untyped]  # it has no types
    from weasyprint.formatting_structure import boxes  # type: ignore[import-untyped]  # as above
    from weasyprint.html import UA_STYLESHEET  # type: ignore[import-untyped]  # as above
    from weasyprint.layout import inline, preferred  # type: ignore[import-untyped]  # as above
    from weasyprint.layout import page as layout_page
    from weasyprint.text.ffi import ffi  # type: ignore[import-untyped]  # as above
    from weasyprint.text.fonts import FontConfiguration  # type: ignore[import-untyped]  # as above
    from weasyprint.urls import (  # type: ignore[import-untyped]  # as above
        FatalURLFetchingError,
        URLFetcher,
        URLFetcherResponse,
    )


def _of_any_length(new: Callable[..., Any]) -> Callable[..., Any]:
    """`ffi.new`, by one type for all arrays of a kind that have a content."""

    def create(kind: Any, content: Any = None, **options: Any) -> Any:
        if isinstance(kind, str) and isinstance(content, (list, tuple)):
            kind = re.sub(r"\[\d+\]$", "[]", kind)
        return new(kind, content, **options)

    return create


ffi.new = _of_any_length(ffi.new)

__all__ = [
    "UA_STYLESHEET",
    "FatalURLFetchingError",
    "FontConfiguration",
    "URLFetcher",
    "URLFetcherResponse",
    "boxes",
    "ffi",
    "inline",
    "layout_page",
    "preferred",
    "weasyprint",
]
