"""The fonts that a process has found, which the processes forked from it need not look for.

For each size and weight of a document Pango asks fontconfig to sort all fonts of the machine. It asks in threads, and a
fork has none of them. Pango 1.50 starts one for each question and is done with it; where threads stay with the font map
(later versions) a fork would wait for them forever, and its fonts are not shared.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element

from functions.report.engine.weasy import FONTS_FILE, FontConfiguration

_THREADS: Final = "/proc/self/task"
_RULES: Final = Path(__file__).with_name("fonts.conf")
# Pango takes Korean to be written without Chinese characters, and asks for them in a language that it calls xx.
_KOREAN: Final = (
    '<match target="pattern"><test name="lang"><string>xx</string></test>'
    '<edit name="lang" mode="assign"><string>ko</string></edit></match>'
)
_PATIENCE_S: Final = 0.5
_M_ARENA_MAX: Final = -8  # malloc.h
_shared: list[Any] = []


def shared() -> Any | None:
    """What WeasyPrint takes as `font_config`; None where each document finds its fonts itself."""
    return _shared[0] if _shared else None


@contextmanager
def of(root: Element) -> Iterator[Any | None]:
    """What a page takes: `shared`, or where any of it is in Korean fonts of its own, with Korean Chinese characters."""
    is_korean = any((each.get("lang") or "").lower().partition("-")[0] == "ko" for each in root.iter())
    if not is_korean or str(_RULES) != FONTS_FILE:  # whoever runs the function has chosen others
        yield shared()
        return
    rules = _RULES.read_text().replace("<fontconfig>", f"<fontconfig>{_KOREAN}")
    with _current(rules.encode()):
        yield FontConfiguration()


@contextmanager
def _current(rules: bytes) -> Iterator[None]:
    """Has fontconfig's current configuration, by which Pango asks, be of these rules."""
    library = ctypes.CDLL("libfontconfig.so.1")
    library.FcConfigCreate.restype = ctypes.c_void_p
    made = ctypes.c_void_p(library.FcConfigCreate())
    library.FcConfigParseAndLoadFromMemory(made, rules, True)
    library.FcConfigBuildFonts(made)
    library.FcConfigSetCurrent(made)
    try:
        yield
    finally:
        library.FcInitReinitialize()


def gather() -> None:
    """Have the documents to come share the fonts that each of them finds."""
    _shared[:] = [FontConfiguration()]


def settle() -> None:
    """Wait for the threads of the search; share nothing when they stay. To be called before a fork."""
    end_s = time.monotonic() + _PATIENCE_S
    while not _is_alone():
        if time.monotonic() > end_s:
            forget()
            return
        time.sleep(0.001)


def forget() -> None:
    """Have each document find its fonts itself."""
    _shared.clear()


def use_one_heap() -> None:
    """Have the threads of the search share one: glibc reserves 64 MB of addresses for each thread's own, and a job's
    memory limit counts them."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def _is_alone() -> bool:
    return os.path.isdir(_THREADS) and len(os.listdir(_THREADS)) == 1
