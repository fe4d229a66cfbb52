"""The gateway itself, without HTTP: takes requests, records them, has them sent, hears how they end."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from events.http import Event
from events.problem import NotAnEvent
from functions.gateway.admission import Admission
from functions.gateway.callers import Caller
from functions.gateway.disk import Disk
from functions.gateway.ledger import jobs
from functions.gateway.ledger.job import Accepted, Conflict, NewJob
from functions.gateway.ledger.jobs import Outgoing
from functions.gateway.ledger.writer import Accept, Ended, Writer
from functions.gateway.outside import Refusal
from functions.gateway.routes import Routes
from functions.gateway.sending import BrokerClient, Sender
from functions.gateway.waiting import Waiters
from functions.runtime.notes import JobNote
from functions.storage.database import Database, StorageUnavailable, Transaction

log = logging.getLogger("errands.gateway")

RETRY_AFTER_S: Final = 5.0
LARGE_BYTES: Final = 65_536  # of data that is judged in a thread
AGAIN_S: Final = 1.0
OTHER_DATA: Final = (
    "a job of this source and id was asked for with other data, and is {}: another job needs another id;"
    " one that failed may be sent again, mended, under its own"
)


class Gateway:
    """Works in one loop, within `working`; what it writes can be asked for before that, as a function's process may."""

    def __init__(
        self, database: Database, admission: Admission, routes: Routes, client: BrokerClient, disk: Disk
    ) -> None:
        self.database = database
        self._disk = disk
        self.waiters = Waiters()
        self.writer = Writer(database, clock_ms)
        self._admission = admission
        self._sender = Sender(database, self.writer, client, routes, clock_ms)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Sends what is due, until the end of the context; then all that was asked for is written."""
        keeping = asyncio.get_running_loop().create_task(_kept(self._sender))
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            await self._sender.close()
            await self.writer.close()

    @property
    def trouble(self) -> str | None:
        """Why jobs wait in the ledger, where they do; they are taken all the same."""
        return self._sender.trouble

    async def accept(self, events: Sequence[Event | NotAnEvent], caller: Caller) -> list[Accepted | Refusal]:
        """Record the requests, in one transaction, and have them sent; what became of each."""
        judged = [await self._judged(each, caller) for each in events]
        new = [each for each in judged if isinstance(each, NewJob)]
        recorded = await self._recorded(new)
        self._sender.offer(
            Outgoing(done.id, done.key, job.event)
            for job, done in zip(new, recorded, strict=True)
            if isinstance(done, Accepted) and done.fresh
        )
        remaining = iter(recorded)
        return [next(remaining) if isinstance(each, NewJob) else each for each in judged]

    async def ended(self, outcome: Event) -> None:
        """Record how a job ended; raise StorageUnavailable."""
        key = await self.writer.ask(Ended(outcome), lazily=True)
        if key is not None:
            self.waiters.wake([key])

    async def noted(self, event: Event, note: JobNote) -> None:
        """Record what befell a job; raise StorageUnavailable."""

        def work(transaction: Transaction) -> str:
            return jobs.note(transaction, event, note, now_ms=clock_ms())

        self.waiters.wake([await self.writer.ask(work, lazily=True)])

    async def _judged(self, event: Event | NotAnEvent, caller: Caller) -> NewJob | Refusal:
        if isinstance(event, Event) and len(event.data) > LARGE_BYTES:
            return await asyncio.to_thread(self._admission.judged, event, caller)
        return self._admission.judged(event, caller)

    async def _recorded(self, new: Sequence[NewJob]) -> list[Accepted | Refusal]:
        if not new:
            return []
        if self._disk.is_full:
            return [Refusal(503, "unavailable", "the disk of the ledger is full", (), RETRY_AFTER_S)] * len(new)
        try:
            recorded = await self.writer.ask(Accept(new))
        except StorageUnavailable as error:
            unavailable = Refusal(503, "unavailable", f"the ledger takes nothing now: {error}", (), RETRY_AFTER_S)
            return [unavailable] * len(new)
        return [_refused(each) if isinstance(each, Conflict) else each for each in recorded]


def clock_ms() -> int:
    """The present, as the ledger has it."""
    return int(time.time() * 1000)


def _refused(conflict: Conflict) -> Refusal:
    return Refusal(409, "same-id-other-data", OTHER_DATA.format(conflict.state))


async def _kept(sender: Sender) -> None:
    """Keep the sending up: what ends it is a bug, and the jobs are to go on."""
    while True:
        try:
            await sender.run()
        except Exception:
            log.exception("the sending of jobs failed, and begins again")
            await asyncio.sleep(AGAIN_S)
