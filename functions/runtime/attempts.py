"""How many wrong tokens somebody has sent of late."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

OF_A_CLIENT: Final = 10
WINDOW_S: Final = 60.0
KEPT: Final = 1_000  # the newest, of all clients together


class TooManyAttempts(Exception):
    """This client has sent many wrong tokens, and now one more. A right one is taken all the same."""


class Attempts:
    """The wrong tokens of the last minute; what is older is forgotten."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._wrong: deque[tuple[float, str]] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def wrong(self, client: str) -> int:
        """Note one more, and tell how many it are of this client."""
        with self._lock:
            while self._wrong and self._wrong[0][0] < self._clock_s() - WINDOW_S:
                self._wrong.popleft()
            self._wrong.append((self._clock_s(), client))
            return sum(each == client for _, each in self._wrong)
