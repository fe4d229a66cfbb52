"""Says how far a long job has come, and logs it seldom enough to be read."""

import logging
import time
from collections.abc import Callable
from typing import Final

from functions.runtime.progress import slow_progress

EVERY_S: Final = 5.0
log = logging.getLogger(__name__)


class ProgressLog:
    """Hears each page and logs one line in five seconds; a job that is done before it logs none.

    In how many pages a document will end nobody knows, so there is no percentage.
    """

    def __init__(self, job: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._job, self._clock = job, clock
        self._started_s = self._said_s = clock()
        self._say = slow_progress()

    def told(self, progress: str) -> None:
        """For `Handlers.on_progress`."""
        self._say(progress)
        now_s = self._clock()
        if now_s - self._said_s >= EVERY_S:
            self._said_s = now_s
            elapsed_ms = round((now_s - self._started_s) * 1000)
            log.info("rendering: %s", progress, extra={"job": self._job, "elapsed_ms": elapsed_ms})
