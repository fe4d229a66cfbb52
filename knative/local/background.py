"""What runs beside the rest of the runner: begun again when it fails; where that does not help, the runner ends."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

log = logging.getLogger("errands.runner")

FAILURES: Final = 5  # in a row, after which it is not begun again
AGAIN_S: Final = 1.0  # after the first of them, then twice as long each time
STEADY_S: Final = 30.0  # what has run for as long begins a new row


class Background:
    """Keeps tasks up, and knows what of the runner is down."""

    def __init__(self) -> None:
        self._down: dict[str, str] = {}
        self._failed = asyncio.Event()
        self._reason = ""

    @property
    def trouble(self) -> str | None:
        """What is down at present, in one sentence."""
        return self._reason or next(iter(self._down.values()), None)

    def give_up(self, reason: str) -> None:
        """The runner cannot go on; the first reason counts."""
        log.critical("%s: the runner ends", reason)
        self._reason = self._reason or reason
        self._failed.set()

    async def failed(self) -> str:
        """The reason, once there is one."""
        await self._failed.wait()
        return self._reason

    @contextmanager
    def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
        """Runs the work, for as long as the context."""
        task = asyncio.get_running_loop().create_task(self._kept(name, work))
        try:
            yield
        finally:
            task.cancel()

    async def _kept(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        failures = 0
        while True:
            begun_s = time.monotonic()
            try:
                return await work()
            except Exception as error:
                log.exception("%s failed", name)
                reason = f"{name} failed: {error!r}"
            failures = 1 if time.monotonic() - begun_s >= STEADY_S else failures + 1
            if failures >= FAILURES:
                return self.give_up(f"{reason}, {failures} times in a row")
            self._down[name] = reason
            await asyncio.sleep(AGAIN_S * 2 ** (failures - 1))
            del self._down[name]
