"""Imports WeasyPrint in less time: everything else here takes it from this module.

cffi asks `ctypes.util.find_library` for each name that the linker does not know at once, and that runs ldconfig, gcc
and ld: two fifths of the import. On Linux the last name WeasyPrint tries is the library's real one
(`libpango-1.0.so.0`), so the question can be left out.
"""

import ctypes.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _unasked() -> Iterator[None]:
    asked = ctypes.util.find_library
    if sys.platform == "linux":
        ctypes.util.find_library = lambda name: None
    try:
        yield
    finally:
        ctypes.util.find_library = asked


with _unasked():
    import weasyprint  # type: ignore[import-untyped]  # it has no types
    from weasyprint.html import UA_STYLESHEET  # type: ignore[import-untyped]  # as above
    from weasyprint.layout import inline, preferred  # type: ignore[import-untyped]  # as above
    from weasyprint.urls import (  # type: ignore[import-untyped]  # as above
        FatalURLFetchingError,
        URLFetcher,
        URLFetcherResponse,
    )

__all__ = [
    "UA_STYLESHEET",
    "FatalURLFetchingError",
    "URLFetcher",
    "URLFetcherResponse",
    "inline",
    "preferred",
    "weasyprint",
]
