"""The gateway itself, without HTTP: takes requests, records them, has them sent, hears how they end."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

from events.http import Event
from events.problem import NotAnEvent, TryAgain
from events.types import sibling_type
from functions.gateway import listening
from functions.gateway.admission import Admission
from functions.gateway.callers import Caller
from functions.gateway.disk import Disk
from functions.gateway.files import Files
from functions.gateway.ledger import changes, jobs, notes, outbox, rules, selection
from functions.gateway.ledger.job import Accepted, Conflict, Job, NewJob, State, key_of_event
from functions.gateway.ledger.jobs import Closed, Outgoing
from functions.gateway.ledger.rules import Limit, Rules
from functions.gateway.ledger.selection import Oldest
from functions.gateway.ledger.writer import Accept, Ended, Writer
from functions.gateway.metrics import JobMetrics
from functions.gateway.outside import Refusal
from functions.gateway.replies import Replies, TooLate, cancelled_reply
from functions.gateway.routes import Routes
from functions.gateway.ruling import Ruling
from functions.gateway.scheduling import Scheduling
from functions.gateway.sending import Sender
from functions.gateway.signals import Said, signal_event
from functions.gateway.tracing.tracing import Receiver, Tracing
from functions.gateway.waiting import Waiters
from functions.gateway.watchdog import Watchdog
from functions.runtime.adapter import system_clock
from functions.runtime.broker_client import BrokerClient
from functions.runtime.notes import JobNote, erased
from functions.runtime.threads import in_thread
from functions.storage.database import Database, Postgresql, StorageUnavailable, Transaction

log = logging.getLogger("errands.gateway")

RETRY_AFTER_S: Final = 5.0
LARGE_BYTES: Final = 65_536  # of data that is judged in a thread
AGAIN_S: Final = 1.0
PRUNE_COUNT: Final = 200
PRUNE_S: Final = 600.0
PRUNE_PAUSE_S: Final = 0.2  # between two transactions, for those who accept jobs
RETENTION: Final = "retention"
OTHER_DATA: Final = (
    "a job of this source and id was asked for with other data, and is {}: another job needs another id;"
    " one that failed may be sent again, mended, under its own"
)


class Gateway:
    """Works in one loop, within `working`; what it writes can be asked for before that, as a function's process may."""

    def __init__(
        self,
        database: Database,
        admission: Admission,
        routes: Routes,
        client: BrokerClient,
        disk: Disk,
        *,
        sink: BrokerClient | None = None,
        replies: Replies | None = None,
        kept: timedelta = timedelta(0),
        files: Files | None = None,
        traced: Receiver | None = None,
        limits: Mapping[str, Limit] | None = None,
    ) -> None:
        """Without `replies` a job cannot be cancelled. Ended jobs are `kept` so long; with nothing told, for ever."""
        self.database = database
        self._tracing = Tracing(database, traced) if traced else None
        self._disk = disk
        self.waiters = Waiters()
        self.metrics = JobMetrics(routes.known_types)
        self.writer = Writer(database, clock_ms, self._rules_of, has_room=self._look_again)
        self._admission = admission
        self._routes = routes
        self._replies = replies
        self._has_sink = sink is not None
        self._files = files
        self._limits = limits or {}
        self._kept_ms = int(kept.total_seconds() * 1000)
        watchdog = Watchdog(database, routes)
        self._sender = Sender(
            database,
            self.writer,
            client,
            watchdog,
            self.waiters,
            clock_ms=clock_ms,
            rules_of=self._rules_of,
            sink=sink,
        )
        self.scheduling = Scheduling(database, self.writer, admission, self._rules_of, clock_ms, self._sender.wake)
        self.ruling = Ruling(database, self.writer, routes, self._limits, clock_ms, self._sender.wake)

    def _look_again(self) -> None:
        self._sender.wake()

    def _rules_of(self, transaction: Transaction) -> Rules:
        return rules.read(transaction, self._limits)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Sends what is due, until the end of the context; then all that was asked for is written."""
        loop = asyncio.get_running_loop()
        keeping = [loop.create_task(_kept(self._sender)), loop.create_task(self._kept_short())]
        if self._tracing is not None:
            keeping.append(loop.create_task(self._tracing.run()))
        if isinstance(self.database, Postgresql):
            keeping.append(loop.create_task(listening.listen(self.database.url, self.waiters.wake)))
        try:
            yield
        finally:
            for each in keeping:
                each.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)
            await self._sender.close()
            await self.writer.close()
            if self._tracing is not None:
                await self._tracing.close()

    @property
    def trouble(self) -> str | None:
        """Why jobs wait in the ledger, where they do; they are taken all the same."""
        return self._sender.trouble

    async def accept(self, events: Sequence[Event | NotAnEvent], caller: Caller) -> list[Accepted | Refusal]:
        """Record the requests, in one transaction, and have them sent; what became of each."""
        judged = [await self._judged(each, caller) for each in events]
        new = [each for each in judged if isinstance(each, NewJob)]
        recorded = await self._recorded(new)
        fresh = [
            (job, done) for job, done in zip(new, recorded, strict=True) if isinstance(done, Accepted) and done.fresh
        ]
        self._begin(fresh)
        remaining = iter(recorded)
        return [next(remaining) if isinstance(each, NewJob) else each for each in judged]

    def _begin(self, accepted: Sequence[tuple[NewJob, Accepted]]) -> None:
        """Have sent at once what may be; the rest waits in the ledger, perhaps not as long as what was known of it."""
        for job, _ in accepted:
            self.metrics.accepted(job.event.type)
        self._sender.offer(
            Outgoing(done.id, done.key, done.event or job.event) for job, done in accepted if not done.waits
        )
        if any(done.waits for _, done in accepted):
            self._sender.wake()

    async def measured(self) -> str:
        """What is told of jobs for Prometheus; raise StorageUnavailable."""
        return self.metrics.render(await in_thread(self._oldest), now_ms=clock_ms())

    def _oldest(self) -> list[Oldest]:
        with self.database.transaction(writes=False) as transaction:
            return selection.oldest(transaction)

    async def ended(self, outcome: Event) -> None:
        """Record how a job ended; raise StorageUnavailable."""
        closed: Closed | None = await self.writer.ask(Ended(outcome), lazily=True)
        if closed is not None:
            type_ = sibling_type(outcome.type, "requested")
            self.metrics.ended(type_, closed.state, (clock_ms() - closed.wanted_ms) / 1000)
            self._has_ended(key_of_event(outcome))

    async def noted(self, event: Event, note: JobNote) -> None:
        """Record what befell a job; raise StorageUnavailable."""

        def work(transaction: Transaction) -> tuple[str, int | None]:
            key, number = jobs.note(transaction, event, note, now_ms=clock_ms())
            listening.tell(self.database, transaction, [key])
            return key, number

        key, number = await self.writer.ask(work, lazily=True)
        if self._tracing is not None and note.kind == "callback failed" and number is not None:
            self._tracing.called_back(key, number)
        self.waiters.wake([key])

    def _has_ended(self, key: str) -> None:
        if self._tracing is not None:
            self._tracing.ended(key)
        self.waiters.wake([key])

    async def cancel(self, job: Job, actor: str) -> None:
        """End the job as cancelled; raise TooLate where it has ended, TryAgain and StorageUnavailable."""
        request = await in_thread(self._request, job.id)
        if not job.is_open:
            raise TooLate(job.state)
        if request is not None and self._routes.begins_flow(request):
            await self._cancel_flow(job, request, actor)
            return
        if request is None or self._replies is None:
            raise TooLate("sent past the gateway" if request is None else "in a place without a store of replies")
        reply = await in_thread(partial(self._replies.cancel, request, actor=actor))
        if not await self._cancelled(job, reply, actor):
            found = await in_thread(self._state, job.key)
            if found != "cancelled":
                raise TooLate(found)

    async def _cancelled(self, job: Job, reply: Event, actor: str, *, waiting_only: bool = False) -> bool:
        """Record the cancel of a job that has not ended; whether there was one."""

        def work(transaction: Transaction) -> bool:
            listening.tell(self.database, transaction, [job.key])
            now_ms = clock_ms()
            return changes.cancel(transaction, job, reply, actor=actor, now_ms=now_ms, waiting_only=waiting_only)

        is_cancelled: bool = await self.writer.ask(work)
        if is_cancelled:
            self.metrics.ended(job.type, "cancelled", (clock_ms() - job.accepted_ms) / 1000)
        if is_cancelled or not waiting_only:
            self._sender.forget(job.id)
            self._sender.wake()
            self._has_ended(job.key)
        return is_cancelled

    async def _cancel_flow(self, job: Job, request: Event, actor: str) -> None:
        """Tell a flow that it is cancelled: it undoes what it has done, and ends so. One that waits here ends at once,
        and is told all the same, since it may be on its way.
        """
        retried = request.get(changes.RETRIED) or "0"
        said = Said("cancel", {changes.RETRIED: retried})
        told = await self.signal(job, said, actor, id_=f"cancel-{job.key}-{retried}")
        if isinstance(told, Refusal):
            raise TryAgain(told.detail)
        await self._cancelled(job, cancelled_reply(request, actor), actor, waiting_only=True)

    async def signal(self, job: Job, said: Said, actor: str, *, id_: str) -> Accepted | Refusal:
        """Say something to a flow that has not ended, by a job of its own; the same id again is the same signal. Raises
        TooLate where the job has ended, or is no flow.
        """
        request = await in_thread(self._request, job.id)
        if not job.is_open:
            raise TooLate(job.state)
        if request is None or not self._routes.begins_flow(request):
            raise TooLate("no flow: nothing can be said to it")
        signaller = Caller(actor, frozenset({"send"}))  # who may change a flow may signal it
        (told,) = await self.accept([signal_event(request, said, id_)], signaller)
        if isinstance(told, Accepted) and told.fresh:
            await self.writer.ask(partial(_note_signal, job=job, said=said, actor=actor))
            self.waiters.wake([job.key])
        return told

    async def retry(self, job: Job, actor: str) -> None:
        """Have an ended job done anew; raise TooLate for one that is open or done, and StorageUnavailable."""

        def work(transaction: Transaction) -> str | None:
            return changes.retry(transaction, job.key, actor=actor, now_ms=clock_ms())

        refused = await self.writer.ask(work)
        if refused is not None:
            raise TooLate(refused)
        self._sender.wake()
        self.waiters.wake([job.key])

    async def erase(self, wanted: Sequence[Job], actor: str) -> int:
        """Remove all that is kept of ended jobs, and keep who wanted that; how many. Raises as `cancel` does.

        Their dead letters are removed where those are kept, which has limits of its own for what is merely old.
        """
        ended = [each for each in wanted if not each.is_open]
        if self._replies is not None:
            for each in ended:
                await in_thread(self._erase_stored, each)

        def work(transaction: Transaction) -> None:
            now_ms = clock_ms()
            changes.erase(transaction, [each.id for each in ended])
            if actor != RETENTION:
                changes.audit(transaction, [each.key for each in ended], actor=actor, now_ms=now_ms)
                for each in ended if self._has_sink else ():
                    outbox.add(transaction, erased(each.named, now=system_clock()), due_ms=now_ms, place="sink")

        if ended:
            await self.writer.ask(work)
            self._sender.wake()
            log.info("%s had %s jobs erased", actor, len(ended))
        return len(ended)

    async def _kept_short(self) -> None:
        """Forget jobs that ended long ago, with what is kept of them, a few at a time."""
        while self._kept_ms:
            try:
                old = await in_thread(self._ended_before, clock_ms() - self._kept_ms)
                await self.erase(old, actor=RETENTION)
                if self._files is not None:
                    await in_thread(self._files.remove_old, time.time())
            except (StorageUnavailable, TryAgain, OSError) as error:
                log.warning("old jobs cannot be removed now: %s", error)
                old = []
            await asyncio.sleep(PRUNE_PAUSE_S if len(old) == PRUNE_COUNT else PRUNE_S)

    def _ended_before(self, before_ms: int) -> list[Job]:
        with self.database.transaction(writes=False) as transaction:
            return changes.ended_before(transaction, before_ms, limit=PRUNE_COUNT)

    def _erase_stored(self, job: Job) -> None:
        with self.database.transaction(writes=False) as transaction:
            outcome = jobs.outcome(transaction, job.id)
        if self._replies is not None:
            self._replies.erase(job.named, outcome)

    def _request(self, id_: int) -> Event | None:
        with self.database.transaction(writes=False) as transaction:
            return jobs.request(transaction, id_)

    def _state(self, key: str) -> State | str:
        with self.database.transaction(writes=False) as transaction:
            found = jobs.find(transaction, key)
        return "erased" if found is None else found.state

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


def _note_signal(transaction: Transaction, *, job: Job, said: Said, actor: str) -> None:
    notes.add(transaction, job.id, f"signal {said.name}", at_ms=clock_ms(), actor=actor)


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
