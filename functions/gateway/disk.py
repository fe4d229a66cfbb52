"""Whether there is room for another job, where the ledger is a file: what is left is for those that are there."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

FREE_BYTES: Final = 64 * 1024 * 1024
LOOK_S: Final = 1.0
SQLITE: Final = "sqlite:///"


class Disk:
    """Looks at most once in so many seconds."""

    def __init__(
        self,
        ledger_url: str,
        free_bytes: Callable[[Path], int] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = Path(ledger_url.removeprefix(SQLITE)).parent if ledger_url.startswith(SQLITE) else None
        self._free_bytes = free_bytes or _free_bytes
        self._clock_s = clock_s
        self._looked_s = -math.inf
        self._full = False

    @property
    def is_full(self) -> bool:
        """Whether less is free than may be; never of a database server."""
        now_s = self._clock_s()
        if self._folder is not None and now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._full = self._free_bytes(self._folder) < FREE_BYTES
        return self._full


def _free_bytes(folder: Path) -> int:
    """What is free for us where the folder is; where that cannot be asked, enough: SQLite says more."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return FREE_BYTES
    return found.f_bavail * found.f_frsize
