"""How many flows are held, read from the flows' own database, where the console reaches it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from functions.flows.schema import open_flows
from functions.storage.database import StorageUnavailable

AGAIN_S: Final = 60.0  # after one that was not reached: its timeout is not every page's
SQLITE: Final = "sqlite"


class HeldFlows:
    """Those of one database; `None` where it is not there, or cannot be reached."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._again_s = 0.0

    def __call__(self) -> int | None:
        """How many wait for a person."""
        parts = urlsplit(self._url)
        if not self._url or (parts.scheme == SQLITE and not Path(parts.path).is_file()):  # it is not to be made here
            return None
        if self._clock() < self._again_s:
            return None
        try:
            with open_flows(self._url).transaction(writes=False) as transaction:
                found = transaction.execute("SELECT count(*) AS count FROM flow WHERE state = 'held'")
        except StorageUnavailable:
            self._again_s = self._clock() + AGAIN_S
            return None
        return int(found[0]["count"])
