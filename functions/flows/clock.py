"""What flows do by the clock, beside the requests: timers fire, and what was left in the outbox is sent.

It sleeps until the next row falls due. One that is written meanwhile wakes it; one that another process writes is found
within the longest sleep.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from events.http import Event
from functions.flows import flow_record, outbox, timers
from functions.flows.engine import Engine
from functions.flows.sending import Sender
from functions.storage.database import StorageUnavailable

log = logging.getLogger("errands.flows")

LONGEST_SLEEP_S: Final = 60.0
TROUBLE_S: Final = 5.0  # between tries while the database is down


@dataclass(frozen=True)
class Clock:
    """Looks after what falls due; `keep` is how long flows that have ended stay."""

    engine: Engine
    sender: Sender
    now: Callable[[], datetime]
    keep: timedelta
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """It runs for as long as this context lasts."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """Something was written that may fall due sooner than what was known."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            try:
                wait_s = await self._round()
            except StorageUnavailable as error:
                log.error("flows stand still: %s", error)
                wait_s = TROUBLE_S
            except Exception:
                log.exception("a round of the flows' clock has a bug")
                wait_s = TROUBLE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):  # wait_for may swallow the cancel that ends this
                    await self._woken.wait()
            self._woken.clear()

    async def _round(self) -> float:
        """Do all that is due; how long there is nothing to do."""
        fired = [await self._fired(timer) for timer in await asyncio.to_thread(self._due_timers)]
        await self.sender.send(await asyncio.to_thread(self._left_behind))
        wait_s = await asyncio.to_thread(self._wait_s)
        return wait_s if all(fired) else max(wait_s, TROUBLE_S)

    async def _fired(self, timer: timers.Timer) -> bool:
        """Whether it fired: the timers of other flows do not stop for a bug that one meets."""
        try:
            await self.sender.send(await asyncio.to_thread(self.engine.fire, timer))
        except StorageUnavailable:
            raise
        except Exception:
            log.exception("the timer of flow %s, step %s, cannot fire", timer.flow_id, timer.step)
            return False
        return True

    def _due_timers(self) -> list[timers.Timer]:
        with self.engine.database.transaction(writes=False) as transaction:
            return timers.due(transaction, now=self.now())

    def _left_behind(self) -> list[Event]:
        with self.engine.database.transaction() as transaction:
            flow_record.remove_ended(transaction, before=self.now() - self.keep)
            return outbox.due(transaction, now=self.now())

    def _wait_s(self) -> float:
        with self.engine.database.transaction(writes=False) as transaction:
            due = [each for each in (timers.next_due(transaction), outbox.next_due(transaction)) if each is not None]
        wait_s = min(((each - self.now()).total_seconds() for each in due), default=LONGEST_SLEEP_S)
        return min(max(wait_s, 0.0), LONGEST_SLEEP_S)
