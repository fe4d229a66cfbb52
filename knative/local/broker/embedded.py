"""The embedded broker: SQLite in WAL mode, one thread that writes for all (group commit).

Everything that is asked for while a commit runs goes into the next one, so an event costs a share of an fsync and
not one of its own. Each queue holds a window of its deliveries in memory; the rest stays on disk, so a backlog costs
disk and not memory. A finished delivery is deleted with its commit; an event goes with its last delivery.

Decided 2026-11-27: what nobody waits for, that a function is done with an event, is committed at most every 5 ms, or
with the next event that is accepted. A commit takes as long for one of them as for twenty: without the pause, a sixth
of the runner's processor time under load. A crash within it has the function asked once more, as one just before it.

Decided 2026-11-27: what one commit keeps and forgets is a few statements of many rows
(`knative.local.broker.event_log`). With each statement the thread gives the interpreter away, and waits until the
loop gives it back.

The answers of the thread reach the loop in the order of their commits; the windows rely on it. A call here must not be
cancelled once it waits: its work may be done all the same.

Decided 2026-11-27: an event can be taken while its own commit still runs, as RabbitMQ delivers before it confirms.
A job waits for the disk once less for each of its events, some 1 ms. What is asked of the thread later, such as
to forget the event, is done later. Where the commit fails the sender is told so, and what was taken already
comes to nothing here: sent again, it is delivered twice, which at-least-once allows.
"""

import asyncio
import itertools
import math
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from events.http import Event
from knative.local.broker.broker import DLQ, BrokerUnavailable, BrokerUnusable, Delivery
from knative.local.broker.event_log import Change, New, Row, Work, commit, due, open_event_log, outcome

T = TypeVar("T")

WINDOW_COUNT: Final = 256  # deliveries of a queue that wait in memory
WINDOW_BYTES: Final = 8 * 1024 * 1024  # and the data that they may hold together, all queues
BATCH_LIMIT: Final = 512  # lists of requests in one commit
LAZY_S: Final = 0.005
OUTCOME_RETENTION_S: Final = 24 * 3600.0
PRUNE_LIMIT: Final = 10_000
FREE_DISK_BYTES: Final = 64 * 1024 * 1024  # below this nothing more is accepted
DISK_CHECK_S: Final = 1.0

_Request = tuple[Work | Change, asyncio.Future[Any]]


@dataclass(slots=True)
class _Queue:
    """A window on one queue. `held` are the numbers of all that is in memory, waiting or in flight."""

    depth: int = 0
    waiting: deque[Row] = field(default_factory=deque)
    held: dict[int, Row] = field(default_factory=dict)
    behind: bool = True  # there may be more on disk that is due
    reading: bool = False
    timer: asyncio.TimerHandle | None = None


class EmbeddedBroker:
    """Implements `knative.local.broker.broker.Broker` on one file."""

    def __init__(
        self, file: Path, queues: Sequence[str], *, backlog_limit: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._file = file
        self._queues = {queue: _Queue() for queue in queues}
        self._backlog_limit = backlog_limit
        self._clock = clock
        self._requests: SimpleQueue[list[_Request] | None] = SimpleQueue()
        self._asked: list[_Request] = []  # what goes there next
        self._hand_over_at_s = math.inf
        self._handed_over_s = 0.0
        self._window_bytes = 0
        self._disk_checked_at = 0.0
        self._disk_full = False

    async def start(self, wake: Callable[[str], None]) -> None:
        """Open the file and begin to read each queue."""
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        try:
            connection = open_event_log(self._file)
            for queue, count in connection.execute("SELECT queue, count(*) FROM delivery GROUP BY queue"):
                self._queues.setdefault(queue, _Queue()).depth = count
            (last_seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
            self._seqs = itertools.count(last_seq + 1)
        except sqlite3.Error as error:
            raise BrokerUnusable(f"{self._file} is not an event log that can be used: {error}") from error
        self._thread = threading.Thread(target=self._write, args=(connection,), name="event_log", daemon=True)
        self._thread.start()
        for queue in self._queues:
            await self._read(queue)

    async def stop(self) -> None:
        """Commit what was asked for and close the file."""
        for queue in self._queues.values():
            if queue.timer:
                queue.timer.cancel()
        self._hand_over()
        self._requests.put(None)
        await asyncio.to_thread(self._thread.join)

    async def publish(self, event: Event, queues: Sequence[str]) -> None:
        """Keep the event in each queue; durable when this returns."""
        self._refuse_when_full()
        now = self._clock()
        await self._change(Change(now, new=New(event, queues, next(self._seqs)), ended=event, begun=event))

    def take(self, queue: str) -> Delivery | None:
        """The next delivery that is due, in the order of arrival."""
        state = self._queues[queue]
        if state.behind and not state.reading and len(state.waiting) < WINDOW_COUNT // 4:
            state.reading = True
            self._loop.create_task(self._read(queue))
        if not state.waiting:
            return None
        row = state.waiting.popleft()
        self._window_bytes -= len(row.delivery.event.data)
        return row.delivery

    async def acknowledge(self, delivery: Delivery, reply: Event | None, reply_queues: Sequence[str]) -> None:
        """Delete the delivery and keep its reply, in one commit: a reply is in the broker exactly once."""
        now, row = self._clock(), self._queues[delivery.queue].held[delivery.tag]
        new = New(reply, reply_queues, next(self._seqs)) if reply is not None and reply_queues else None
        await self._change(Change(now, new=new, done=row, ended=reply), lazily=True)
        self._settle(delivery)

    async def retry(self, delivery: Delivery, *, delay_s: float) -> None:
        """Put the delivery back for later; others behind it go on."""
        row, due_at = self._queues[delivery.queue].held[delivery.tag], self._clock() + delay_s

        def work(db: sqlite3.Connection) -> int:
            place = (due_at, delivery.attempt + 1, delivery.queue, row.due_at, delivery.tag)
            query = "UPDATE delivery SET due_at = ?, attempt = ? WHERE queue = ? AND due_at = ? AND seq = ?"
            return db.execute(query, place).rowcount

        kept = await self._ask(work)
        self._settle(delivery, left=1 - kept)
        self._wake_at(delivery.queue, due_at)

    async def dead_letter(self, delivery: Delivery, dead_letter: Event) -> None:
        """Move the delivery into the queue of dead letters, in one commit."""
        now, row = self._clock(), self._queues[delivery.queue].held[delivery.tag]
        await self._change(Change(now, new=New(dead_letter, (delivery.queue + DLQ,), next(self._seqs)), done=row))
        self._settle(delivery)

    async def outcome(self, source: str, id_: str) -> Event | None:
        """The last event of a job, for a day."""
        return await self._ask(lambda db: outcome(db, source, id_))

    def depths(self) -> dict[str, int]:
        """Deliveries by queue."""
        return {name: queue.depth for name, queue in self._queues.items()}

    async def prune(self) -> None:
        """Forget outcomes after a day, a bounded number at a time."""
        before = self._clock() - OUTCOME_RETENTION_S
        old = "SELECT source, id FROM outcome WHERE finished_at < ? LIMIT ?"
        query = f"DELETE FROM outcome WHERE (source, id) IN ({old})"  # noqa: S608  # a constant
        await self._ask(lambda db: db.execute(query, (before, PRUNE_LIMIT)).rowcount)

    def _refuse_when_full(self) -> None:
        depth = sum(queue.depth for queue in self._queues.values())
        if depth >= self._backlog_limit:
            raise BrokerUnavailable(f"the backlog holds {depth} deliveries; its limit is {self._backlog_limit}", 30)
        if self._clock() - self._disk_checked_at > DISK_CHECK_S:
            self._disk_checked_at = self._clock()
            self._disk_full = shutil.disk_usage(self._file.parent).free < FREE_DISK_BYTES
        if self._disk_full:
            raise BrokerUnavailable(f"the disk of {self._file} has less than {FREE_DISK_BYTES} bytes free", 30)

    async def _change(self, change: Change, *, lazily: bool = False) -> None:
        """Have the thread make it, and offer what is new meanwhile."""
        done: asyncio.Future[None] = self._ask(change, lazily=lazily)
        if change.new is not None:
            self._offer(change.new, change.now)
        try:
            await done
        except BrokerUnavailable:
            if change.new is not None:
                self._take_back(change.new)
            raise

    def _offer(self, new: New, now: float) -> None:
        """Put a new event into the windows that have room, so that it need not be read from disk."""
        for name in new.queues:
            queue = self._queues[name]
            queue.depth += 1
            if not queue.behind and not queue.reading and self._room(queue, new.event):
                self._hold(queue, Row(Delivery(new.seq, name, 1, new.event), now, len(new.queues) == 1))
            else:
                queue.behind = True
            self._wake(name)

    def _take_back(self, new: New) -> None:
        """It is not on disk; who works on it already settles it in vain."""
        for name in new.queues:
            queue = self._queues[name]
            row = queue.held.get(new.seq)
            if row is not None and row not in queue.waiting:
                continue
            queue.depth -= 1
            if row is not None:
                queue.waiting.remove(row)
                del queue.held[new.seq]
                self._window_bytes -= len(new.event.data)

    def _room(self, queue: _Queue, event: Event) -> bool:
        """Whether the window takes one more; an empty one always does."""
        if not queue.waiting:
            return True
        return len(queue.waiting) < WINDOW_COUNT and self._window_bytes + len(event.data) <= WINDOW_BYTES

    def _hold(self, queue: _Queue, row: Row) -> None:
        queue.held[row.delivery.tag] = row
        queue.waiting.append(row)
        self._window_bytes += len(row.delivery.event.data)

    def _settle(self, delivery: Delivery, *, left: int = 1) -> None:
        queue = self._queues[delivery.queue]
        del queue.held[delivery.tag]
        queue.depth -= left

    async def _read(self, name: str) -> None:
        """Fill a queue's window from disk with what is due, and set the timer for what is due later."""
        queue, now = self._queues[name], self._clock()
        # what comes meanwhile may or may not be among what is read, and says so by `behind`
        queue.reading, queue.behind, held = True, False, frozenset(queue.held)
        try:
            rows, more, next_due_at = await self._ask(
                lambda db: due(db, name, now, held, limit=WINDOW_COUNT, limit_bytes=WINDOW_BYTES)
            )
        except BrokerUnavailable:
            queue.behind = True
            raise
        finally:
            queue.reading = False
        for row in rows:
            if row.delivery.tag not in queue.held:
                self._hold(queue, row)
        queue.behind |= more
        if next_due_at is not None:
            self._wake_at(name, next_due_at)
        self._wake(name)

    def _wake_at(self, name: str, due_at: float) -> None:
        queue = self._queues[name]
        delay_s = max(0.0, due_at - self._clock())
        if queue.timer and queue.timer.when() <= self._loop.time() + delay_s and not queue.timer.cancelled():
            return
        if queue.timer:
            queue.timer.cancel()
        queue.timer = self._loop.call_later(delay_s, self._due, name)

    def _due(self, name: str) -> None:
        self._queues[name].timer = None
        self._queues[name].behind = True
        self._wake(name)

    def _ask(self, work: Callable[[sqlite3.Connection], T] | Change, *, lazily: bool = False) -> "asyncio.Future[T]":
        """Have the thread do it: with what else is asked for in this turn of the loop, or lazily after a pause."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._asked.append((work, future))
        now_s = self._loop.time()
        at_s = max(now_s, self._handed_over_s + LAZY_S) if lazily else now_s
        if at_s < self._hand_over_at_s:  # a handle that comes too late finds nothing to do
            self._hand_over_at_s = at_s
            self._loop.call_later(at_s - now_s, self._hand_over)
        return future

    def _hand_over(self) -> None:
        if self._asked:
            self._requests.put(self._asked)
            self._asked, self._hand_over_at_s, self._handed_over_s = [], math.inf, self._loop.time()

    def _write(self, connection: sqlite3.Connection) -> None:
        """The thread: take all that waits, do it in one transaction, tell the askers after the commit."""
        while True:
            batch = [self._requests.get()]
            while len(batch) < BATCH_LIMIT and not self._requests.empty():
                batch.append(self._requests.get())
            requests = [request for each in batch for request in each or ()]
            results = commit(connection, [work for work, _ in requests])
            responses = list(zip([future for _, future in requests], results, strict=True))
            if responses and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_tell, responses)
            if None in batch:
                connection.close()
                return


def _tell(responses: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in responses:
        if future.cancelled():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
