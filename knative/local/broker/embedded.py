"""The embedded broker: SQLite in WAL mode, one thread that writes for all (`knative.local.broker.writer`).

Each queue holds a window of its deliveries in memory (`knative.local.broker.window`); the rest stays on disk, so a
backlog costs disk and not memory. A finished delivery is deleted with its commit; an event goes with its last delivery.

What wakes a queue may fail: the commit that its read shares, a timer, a settlement. A read that failed is repeated, and
a slow sweep reads every queue that waits for nothing: no delivery that is due is without a reader for longer than that.
The time of day counts at the start alone, where nothing comes to wait for longer than it was to; from then on time is
what has passed, whatever the clock of this machine is set to.

What one commit keeps and forgets is a few statements of many rows (`knative.local.broker.event_log`): with each
statement the thread gives the interpreter away, and waits until the loop gives it back.

An event can be taken while its own commit still runs, as RabbitMQ delivers before it confirms: a job waits for the
disk once less for each of its events. What is asked of the thread later, such as to forget the event, is done later.
Where the commit fails the sender is told so, and what was taken already comes to nothing here: sent again, it is
delivered twice, which at-least-once allows.
"""

import asyncio
import itertools
import logging
import math
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from events.http import Event
from knative.local.broker.broker import DLQ, BrokerUnavailable, BrokerUnusable, Delivery
from knative.local.broker.event_log import Change, New, Row, asked, due, no_later, outcome
from knative.local.broker.integrity import Count, opened
from knative.local.broker.outcomes import ASKED
from knative.local.broker.window import WINDOW_BYTES, WINDOW_COUNT, Room, Window
from knative.local.broker.writer import Writer

log = logging.getLogger("errands.broker")

OUTCOME_RETENTION_S: Final = 24 * 3600.0
PRUNE_LIMIT: Final = 2_000  # in one commit, for which who publishes waits
FREE_DISK_BYTES: Final = 64 * 1024 * 1024  # below this nothing more is accepted
DISK_CHECK_S: Final = 1.0
READ_AGAIN_S: Final = 1.0
PUT_BACK: Final = (
    "UPDATE delivery SET due_at = ?, attempt = ?, wait_s = ?, waited_s = ? WHERE queue = ? AND due_at = ? AND seq = ?"
)
SWEEP_S: Final = 10.0
LONGEST_TIMER_S: Final = 3600.0


class EmbeddedBroker:
    """Implements `knative.local.broker.broker.Broker` on one file."""

    def __init__(
        self, file: Path, queues: Sequence[str], *, backlog_limit: int, clock: Callable[[], float] | None = None
    ) -> None:
        self._file = file
        self._room = Room()
        self._queues = {queue: Window(self._room) for queue in queues}
        self._backlog_limit = backlog_limit
        self._clock = clock or _steady()
        self._sweeping: asyncio.TimerHandle | None = None
        self._damaged = 0
        self._disk_checked_s = -math.inf
        self._disk_full = False

    async def start(self, wake: Callable[[str], None], died: Callable[[str], None] = log.critical) -> None:
        """Open the file and begin to read each queue."""
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        try:
            connection = await asyncio.to_thread(opened, self._file)  # which may look a large file over
            no_later(connection, self._clock())
            for queue, count in connection.execute("SELECT queue, count(*) FROM delivery GROUP BY queue"):
                self._window(queue).depth = count
            (last_seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
            (self._damaged,) = connection.execute("SELECT count(*) FROM damaged").fetchone()
            self._seqs = itertools.count(last_seq + 1)
        except sqlite3.Error as error:
            raise BrokerUnusable(f"{self._file} is not an event log that can be used: {error}") from error
        self._writer = Writer(connection, Count(self._file), died)
        for queue in self._queues:
            await self._read(queue)
        self._sweep_later()

    async def stop(self) -> None:
        """Commit what was asked for and close the file."""
        if self._sweeping:
            self._sweeping.cancel()
        for window in self._queues.values():
            window.cancel_timer()
        await self._writer.close()

    @property
    def trouble(self) -> str | None:
        """Why nothing can be kept at present."""
        return self._writer.trouble

    async def publish(self, event: Event, queues: Sequence[str]) -> None:
        """Keep the event in each queue; durable when this returns."""
        self._refuse_when_full()
        now = self._clock()
        await self._change(Change(now, new=New(event, queues, next(self._seqs)), ended=event, begun=event))

    def take(self, queue: str) -> Delivery | None:
        """The next delivery that is due, in the order of arrival."""
        window = self._queues[queue]
        if window.behind and not window.reading and window.low:
            window.reading = True
            self._loop.create_task(self._read(queue))
        return window.take()

    async def acknowledge(self, delivery: Delivery, reply: Event | None, reply_queues: Sequence[str]) -> None:
        """Delete the delivery and keep its reply, in one commit: a reply is in the broker exactly once."""
        now, row = self._clock(), self._held(delivery)
        if row is None:
            return
        new = New(reply, reply_queues, next(self._seqs)) if reply is not None and reply_queues else None
        await self._change(Change(now, new=new, done=row, ended=reply), lazily=True)
        self._queues[delivery.queue].settle(delivery)

    async def retry(self, delivery: Delivery, *, delay_s: float, charged: bool = True) -> None:
        """Put the delivery back for later; others behind it go on."""
        row, due_at = self._held(delivery), self._clock() + delay_s
        if row is None:
            return
        attempt, before = delivery.attempt + charged, row.due_at
        waited_s = delivery.waited_s + (0.0 if charged else delay_s)

        def work(db: sqlite3.Connection) -> int:
            place = (due_at, attempt, delay_s, waited_s, delivery.queue, before, delivery.tag)
            return db.execute(PUT_BACK, place).rowcount

        kept = await self._writer.ask(work)
        self._queues[delivery.queue].settle(delivery, left=1 - kept)
        self._wake_at(delivery.queue, due_at)

    async def dead_letter(self, delivery: Delivery, dead_letter: Event) -> None:
        """Move the delivery into the queue of dead letters, in one commit."""
        now, row = self._clock(), self._held(delivery)
        if row is None:
            return
        await self._change(Change(now, new=New(dead_letter, (delivery.queue + DLQ,), next(self._seqs)), done=row))
        self._queues[delivery.queue].settle(delivery)

    async def outcome(self, source: str, id_: str) -> Event | None:
        """The last event of a job, for a day."""
        return await self._writer.ask(lambda db: outcome(db, source, id_))

    async def asked(self) -> Mapping[tuple[str, str], bytes]:
        """Of all requests in the event log, up to as many as are remembered."""
        return await self._writer.ask(lambda db: asked(db, limit=ASKED))

    def knows(self, _source: str, _id: str) -> bool:
        """Every job's end comes through here."""
        return True

    def depths(self) -> dict[str, int]:
        """Deliveries by queue."""
        depths = {name: window.depth for name, window in self._queues.items()}
        return depths | ({"damaged": self._damaged} if self._damaged else {})

    async def prune(self) -> None:
        """Forget all outcomes that are older than a day, a bounded number in each commit."""
        before = self._clock() - OUTCOME_RETENTION_S
        old = "SELECT source, id FROM outcome WHERE finished_at < ? LIMIT ?"
        query = f"DELETE FROM outcome WHERE (source, id) IN ({old})"  # noqa: S608  # a constant
        while await self._writer.ask(lambda db: db.execute(query, (before, PRUNE_LIMIT)).rowcount) == PRUNE_LIMIT:
            pass

    def _refuse_when_full(self) -> None:
        depth = sum(queue.depth for queue in self._queues.values())
        if depth >= self._backlog_limit:
            raise BrokerUnavailable(f"the backlog holds {depth} deliveries; its limit is {self._backlog_limit}", 30)
        if self._loop.time() >= self._disk_checked_s + DISK_CHECK_S:
            self._disk_checked_s = self._loop.time()
            self._disk_full = _free_bytes(self._file.parent) < FREE_DISK_BYTES
        if self._disk_full:
            raise BrokerUnavailable(f"the disk of {self._file} has less than {FREE_DISK_BYTES} bytes free", 30)

    async def _change(self, change: Change, *, lazily: bool = False) -> None:
        """Have the thread make it, and offer what is new meanwhile."""
        done: asyncio.Future[None] = self._writer.ask(change, lazily=lazily)
        if change.new is not None:
            self._offer(change.new, change.now)
        try:
            await done
        except BrokerUnavailable:
            if change.new is not None:
                for name in change.new.queues:
                    self._queues[name].take_back(change.new)
            raise

    def _offer(self, new: New, now: float) -> None:
        """Put a new event into the windows that have room, so that it need not be read from disk."""
        for name in new.queues:
            window = self._queues[name]
            window.depth += 1
            if not window.behind and not window.reading and window.has_room(new.event):
                window.hold(Row(Delivery(new.seq, name, 1, new.event), now, len(new.queues) == 1))
            else:
                window.behind = True
            self._woken(name)

    def _held(self, delivery: Delivery) -> Row | None:
        """Where it stands; None once it is settled."""
        return self._queues[delivery.queue].held.get(delivery.tag)

    async def _read(self, name: str, *, swept: bool = False) -> None:
        """Fill a queue's window from disk with what is due, and set the timer for what is due later; never fails."""
        window, now = self._queues[name], self._clock()
        # what comes meanwhile may or may not be among what is read, and says so by `behind`
        window.reading, window.behind, held = True, False, frozenset(window.held)
        try:
            read = await self._writer.ask(
                lambda db: due(db, name, now, held, limit=WINDOW_COUNT, limit_bytes=WINDOW_BYTES)
            )
        except BrokerUnavailable as error:
            log.error("the queue %s cannot be read, again in %g s: %s", name, READ_AGAIN_S, error)
            window.behind = True
            self._loop.call_later(READ_AGAIN_S, self._woken, name)
            return
        finally:
            window.reading = False
        late = [row for row in read.rows if row.delivery.tag not in window.held]
        if swept and any(row.due_at < now - SWEEP_S for row in late):
            log.error("the queue %s stood still with %d deliveries that are due", name, len(late))
        for row in late:
            window.hold(row)
        self._leave_out(name, read.damaged)
        window.behind |= read.more
        if read.next_due_at is not None:
            self._wake_at(name, read.next_due_at)
        self._woken(name)

    def _leave_out(self, name: str, damaged: Sequence[tuple[int, str]]) -> None:
        for seq, reason in damaged:
            log.error("delivery %d of queue %s is damaged and set aside: %s", seq, name, reason)
            self._queues[name].depth -= 1
            self._damaged += 1

    def _sweep(self) -> None:
        """Read every queue that waits for no read, whether or not anything says that there is something to read."""
        self._sweep_later()
        for name, window in self._queues.items():
            if window.reading:
                continue
            if window.low and not window.behind:
                window.reading = True
                self._loop.create_task(self._read(name, swept=True))
            else:
                self._woken(name)

    def _sweep_later(self) -> None:
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)

    def _wake_at(self, name: str, due_at: float) -> None:
        window = self._queues[name]
        if window.timer and window.timer_at <= due_at:
            return
        window.cancel_timer()
        delay_s = min(max(0.0, due_at - self._clock()), LONGEST_TIMER_S)
        window.timer, window.timer_at = self._loop.call_later(delay_s, self._due, name), due_at

    def _due(self, name: str) -> None:
        self._queues[name].timer = None
        self._queues[name].behind = True
        self._woken(name)

    def _woken(self, name: str) -> None:
        """Have somebody take; who fails at it is woken again by the next sweep."""
        try:
            self._wake(name)
        except Exception:
            log.exception("who takes from %s has a bug", name)

    def _window(self, name: str) -> Window:
        if name not in self._queues:
            log.warning("the event log has deliveries of %s, which no Trigger here has: they stay there", name)
        return self._queues.setdefault(name, Window(self._room))


def _free_bytes(folder: Path) -> int:
    """How much room the folder's disk has; none where it cannot be looked at."""
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        log.error("the disk of %s cannot be looked at: %s", folder, error)
        return 0


def _steady() -> Callable[[], float]:
    """The time of day as it is now, and then what has passed since."""
    begun_at, begun_s = time.time(), time.monotonic()
    return lambda: begun_at + (time.monotonic() - begun_s)
