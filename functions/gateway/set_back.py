"""Finds that the time of day was set back: what is due at a moment would wait for as long as it was.

A step of the clock forward has things done early, which all that is sent bears; a small one back is as good as none.
"""

import time
from collections.abc import Callable
from typing import Final

IGNORED_MS: Final = 5_000


class SetBack:
    """By a clock that runs on; looks are minutes apart at most, so that no slow correction adds up to a step."""

    def __init__(self, clock_ms: Callable[[], int], steady_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_ms = clock_ms
        self._steady_s = steady_s
        self._ahead_ms = self._ahead()

    def since_last_look(self) -> int:
        """By how many milliseconds the clock was set back since; 0 where it was not."""
        before_ms, self._ahead_ms = self._ahead_ms, self._ahead()
        back_ms = before_ms - self._ahead_ms
        return back_ms if back_ms > IGNORED_MS else 0

    def _ahead(self) -> int:
        return self._clock_ms() - int(self._steady_s() * 1000)
