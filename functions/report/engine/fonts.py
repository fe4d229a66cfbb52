"""The fonts that a process has found, which the processes forked from it need not look for.

For each size and weight of a document Pango asks fontconfig to sort all fonts of the machine. It asks in threads, and a
fork has none of them. Pango 1.50 starts one for each question and is done with it; where threads stay with the font map
(later versions) a fork would wait for them forever, and its fonts are not shared.
"""

import ctypes
import os
import time
from typing import Any, Final

from functions.report.engine.weasy import FontConfiguration

_THREADS: Final = "/proc/self/task"
_PATIENCE_S: Final = 0.5
_M_ARENA_MAX: Final = -8  # malloc.h
_shared: list[Any] = []


def shared() -> Any | None:
    """What WeasyPrint takes as `font_config`; None where each document finds its fonts itself."""
    return _shared[0] if _shared else None


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
