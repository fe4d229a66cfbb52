"""How often somebody may try a token that is none, for each client and for all of them together."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

OF_A_CLIENT: Final = 10
OF_ALL: Final = 300  # who sends other addresses with each attempt is held up here
WINDOW_S: Final = 60.0


class TooManyAttempts(Exception):
    """So many tokens were wrong that no other is looked at for a while."""


class Attempts:
    """The failed attempts of the last minute; what is older is forgotten."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._failed: deque[tuple[float, str]] = deque()
        self._lock = threading.Lock()

    def require(self, client: str) -> None:
        """Raise TooManyAttempts where this client, or all together, have failed too often."""
        with self._lock:
            while self._failed and self._failed[0][0] < self._clock_s() - WINDOW_S:
                self._failed.popleft()
            of_client = sum(each == client for _, each in self._failed)
            if of_client >= OF_A_CLIENT or len(self._failed) >= OF_ALL:
                raise TooManyAttempts(f"too many wrong tokens: try again in {WINDOW_S:.0f} s")

    def failed(self, client: str) -> None:
        """Note a token that was none."""
        with self._lock:
            self._failed.append((self._clock_s(), client))
