"""Brings jobs from the ledger to the broker: those that were just accepted at once, others when they are due.

A job stays `waiting` until the broker has taken it, so one that a crash came between is sent again, under the same id.
While the broker takes nothing, nothing is held in memory: what waits is in the ledger.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from functions.gateway.ledger import claims, gates, jobs, outbox, schedules
from functions.gateway.ledger.jobs import Outgoing
from functions.gateway.ledger.outbox import Letter
from functions.gateway.ledger.rules import Rules
from functions.gateway.ledger.writer import Asked, Sent, Writer
from functions.gateway.waiting import Waiters
from functions.gateway.watchdog import Watchdog
from functions.runtime.broker_client import TIMEOUT_S, BrokerAway, BrokerClient, BrokerRefuses
from functions.storage.database import Database, StorageUnavailable, Transaction

log = logging.getLogger("errands.gateway")

AT_ONCE: Final = 32  # requests to the broker
PACKED_AT_ONCE: Final = 2
TOGETHER_BYTES: Final = 1024 * 1024
QUEUED_COUNT: Final = 2_000
QUEUED_BYTES: Final = 32 * 1024 * 1024
CLAIM_MS: Final = 30_000  # what was claimed and not sent by then is for whoever finds it
PAUSE_FIRST_S: Final = 0.5
PAUSE_LAST_S: Final = 15.0
REFUSED_MS: Final = 60_000  # until what the broker refuses for what it is, is offered to it again
OVERDUE_COUNT: Final = 100  # in one transaction
LOOK_S: Final = 60.0  # at the ledger, where nothing of it is due sooner: another gateway may have left something


class Sender:
    """Works in one loop; `run` is to be kept up there."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        client: BrokerClient,
        watchdog: Watchdog,
        waiters: Waiters,
        *,
        clock_ms: Callable[[], int],
        rules_of: Callable[[Transaction], Rules],
        sink: BrokerClient | None = None,
    ) -> None:
        """`sink` is that of dead letters; without one those wait in the ledger."""
        self._database = database
        self._writer = writer
        self._client = client
        self._sink = sink
        self._watchdog = watchdog
        self._waiters = waiters
        self._clock_ms = clock_ms
        self._rules_of = rules_of
        self._workers = AT_ONCE if client.at_once == 1 else PACKED_AT_ONCE
        self._queue: deque[Outgoing] = deque()
        self._queued_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._failures = 0
        self._again_ms = 0  # when the broker is asked again, after a failure
        self.trouble: str | None = None  # why the broker took nothing when it was last asked

    def offer(self, jobs_: Iterable[Outgoing]) -> None:
        """Send these as soon as may be; what there is no room for waits in the ledger."""
        left = [each for each in jobs_ if not self._take(each)]
        if left:
            self._put_off(left, until_ms=max(self._again_ms, self._clock_ms()), reason=self.trouble)

    def forget(self, id_: int) -> None:
        """A job is not to be sent any more; one that is on its way arrives."""
        for each in [each for each in self._queue if each.id == id_ and each.letter is None]:
            self._queue.remove(each)
            self._queued_bytes -= len(each.event.data)

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def run(self) -> None:
        """Send what is due, whenever it is, until cancelled."""
        while True:
            self._wake.clear()
            try:
                due, letters, next_ms = await asyncio.to_thread(self._claim)
            except StorageUnavailable as error:
                log.error("what is due cannot be read: %s", error)
                due, letters, next_ms = [], [], None
            self.offer(due)
            await self._bring(letters)
            wait_s = LOOK_S if next_ms is None else min(LOOK_S, max(0.0, (next_ms - self._clock_ms()) / 1000))
            if not due and not letters:
                await self._woken(wait_s)
            elif len(self._queue) >= QUEUED_COUNT // 2:
                await self._woken(1.0)

    async def close(self) -> None:
        """Let what is on its way arrive; the rest waits in the ledger."""
        self._queue.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=TIMEOUT_S)
        self._client.close()

    async def _woken(self, within_s: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), within_s)
        except TimeoutError:
            return

    async def _bring(self, letters: Sequence[Letter]) -> None:
        """Dead letters to their sink, one after another."""
        for each in letters:
            taken = (await self._sink.post([each.event]))[0] if self._sink else BrokerAway("no sink is configured")
            if taken is None:
                self._tell(_arrived(each.id))
            else:
                log.error("the dead letter of %s waits: %s", each.event.id, taken)

    def _claim(self) -> tuple[list[Outgoing], list[Letter], int | None]:
        """Jobs and what is for the broker, dead letters, as much as there is room for; and when something is next."""
        room = QUEUED_COUNT // 2 if self.trouble is None else 1  # which finds out whether the broker is back
        now_ms = self._clock_ms()
        with self._database.transaction(writes=False) as transaction:
            next_ms = _next_ms(transaction)
        if next_ms is None or next_ms > now_ms:
            return [], [], next_ms
        with self._database.transaction() as transaction:
            when = {"now_ms": now_ms, "until_ms": now_ms + CLAIM_MS}
            rules = self._rules_of(transaction)
            schedules.fire(self._database, transaction, rules, now_ms=now_ms)
            due = claims.claim(self._database, transaction, rules, **when, limit=room)
            due += self._watchdog.claim(transaction, **when, limit=min(room, OVERDUE_COUNT))
            letters = outbox.claim(self._database, transaction, **when, limit=min(room, OVERDUE_COUNT))
            due += [Outgoing(0, "", each.event, letter=each.id) for each in letters if each.place == "broker"]
            return due, [each for each in letters if each.place == "sink"], _next_ms(transaction)

    def _take(self, job: Outgoing) -> bool:
        full = len(self._queue) >= QUEUED_COUNT or self._queued_bytes >= QUEUED_BYTES
        if full or (self.trouble is not None and (self._tasks or self._clock_ms() < self._again_ms)):
            return False
        self._queue.append(job)
        self._queued_bytes += len(job.event.data)
        if len(self._tasks) < self._workers:
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def _work(self) -> None:
        """Send what is queued, until nothing is."""
        while self._queue:
            await self._send(list(self._next()))
        self._wake.set()

    def _next(self) -> Iterator[Outgoing]:
        """As many jobs as are sent together: a large one goes alone."""
        size_bytes = 0
        for _ in range(min(self._client.at_once, len(self._queue))):
            size_bytes += len(self._queue[0].event.data)
            if size_bytes > TOGETHER_BYTES and size_bytes != len(self._queue[0].event.data):
                return
            job = self._queue.popleft()
            self._queued_bytes -= len(job.event.data)
            yield job

    async def _send(self, sent: Sequence[Outgoing]) -> None:
        away: list[Outgoing] = []
        for job, taken in zip(sent, await self._client.post([each.event for each in sent]), strict=True):
            if isinstance(taken, BrokerRefuses):
                log.error("%s is refused: %s", job.event.id, taken)
                self._put_off([job], until_ms=self._clock_ms() + REFUSED_MS, reason=str(taken))
            elif isinstance(taken, BrokerAway):
                away.append(job)
                reason = str(taken)
            else:
                self._failures, self.trouble = 0, None
                self._arrived(job)
        if away:
            self._suspend(away, reason)

    def _suspend(self, away: Sequence[Outgoing], reason: str) -> None:
        """Leave all that is queued in the ledger, for a while that grows with each time that the broker is asked."""
        if self.trouble is None:
            log.warning("jobs wait in the ledger: %s", reason)
        if self._clock_ms() >= self._again_ms:
            pause_s = min(PAUSE_FIRST_S * 2 ** min(self._failures, 10), PAUSE_LAST_S)
            self._again_ms = self._clock_ms() + int(pause_s * 1000)
            self._failures += 1
        self.trouble = reason
        waiting = [*away, *self._queue]
        self._queue.clear()
        self._queued_bytes = 0
        self._put_off(waiting, until_ms=self._again_ms, reason=reason)

    def _arrived(self, job: Outgoing) -> None:
        if job.letter is not None:
            self._tell(_arrived(job.letter))
            return
        due_ms = self._clock_ms() + self._watchdog.deadline_ms(job.event, job.tries + 1)
        self._tell(Sent(job.id, due_ms))
        if self._waiters.any:  # who follows it hears of it after the commit
            self._writer.ask(_nothing, lazily=True).add_done_callback(lambda _: self._waiters.wake([job.key]))

    def _put_off(self, left: Sequence[Outgoing], *, until_ms: int, reason: str | None) -> None:
        ids = [each.id for each in left if each.letter is None]
        if not ids:  # what is of the outbox is due again when its claim ends
            return

        def put_off(transaction: Transaction) -> None:
            jobs.postpone(transaction, ids, until_ms=until_ms, error=reason)

        self._tell(put_off)

    def _tell(self, asked: Asked) -> None:
        """Have it written; where it cannot be, the job is due again when its claim ends."""
        self._writer.ask(asked, lazily=True).add_done_callback(self._told)

    def _told(self, done: "asyncio.Future[Any]") -> None:
        if not done.cancelled() and done.exception() is None:
            self._wake.set()


def _arrived(letter: int) -> Callable[[Transaction], None]:
    return lambda transaction: outbox.done(transaction, [letter])


def _nothing(_transaction: Transaction) -> None:
    """What is asked for to hear of a commit."""


def _next_ms(transaction: Transaction) -> int | None:
    places = (jobs, outbox, gates, schedules)
    known = [due_ms for each in places if (due_ms := each.next_due_ms(transaction)) is not None]
    return min(known, default=None)
