"""A broker in one process and in virtual time, at which everything happens that an at-least-once broker allows.

Messages overtake each other, come twice, are lost on the way in (their sender hears of it) or after they were taken
(their sender hears the same), and the process of the flows crashes before and after its commits.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from events.http import Event
from events.problem import TryAgain
from functions.flows import outbox, timers
from functions.flows.engine import Engine
from functions.storage.database import Database, Transaction

DUPLICATES: Final = 0.15
LOSSES: Final = 0.03
CRASHES: Final = 0.03
START: Final = datetime(2026, 12, 1, tzinfo=UTC)


class Crash(Exception):
    """The process of the flows is gone, with all that it had in memory."""


class CrashingDatabase:
    """A database whose process ends now and then just before a commit, and just after one."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self._database = database
        self._chance = chance

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Transaction]:
        with self._database.transaction(writes=writes) as transaction:
            yield transaction
            self._perhaps_crash()
        self._perhaps_crash()

    def _perhaps_crash(self) -> None:
        if self._chance.random() < CRASHES:
            raise Crash


class HostileBroker:
    """Brings events to the flows and to workers, until nothing is on its way and nothing falls due."""

    def __init__(self, engine: Callable[[Any, Callable[[], datetime]], Engine], database: Database, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311  # what happens, the same for a seed
        self.now = START
        self.taken: list[Event] = []
        self._engine = engine(CrashingDatabase(database, self.chance), lambda: self.now)
        self._database = database
        self._worker: Callable[[Event], Event | None] = lambda event: None
        self._waiting: list[tuple[datetime, int, Event]] = []
        self._count = 0

    def run(self, worker: Callable[[Event], Event | None], seen: Callable[[], None] = lambda: None) -> None:
        """Bring everything to where it goes; `worker` answers what is not for the flows."""
        self._worker = worker
        for _ in range(100_000):
            if not self._step():
                return
            seen()
        raise AssertionError("it goes on for ever")

    def later(self, event: Event, longest_s: float) -> None:
        """The event comes at some time until then."""
        self._count += 1
        at = self.now + timedelta(seconds=self.chance.uniform(0.001, longest_s))
        heapq.heappush(self._waiting, (at, self._count, event))

    def _step(self) -> bool:
        """The next thing that happens."""
        with self._database.transaction(writes=False) as transaction:
            timer, left = timers.next_due(transaction), outbox.next_due(transaction)
        due = [each for each in (timer, left, self._waiting[0][0] if self._waiting else None) if each is not None]
        if not due:
            return False
        self.now = max(self.now, min(due))
        if self._waiting and self._waiting[0][0] <= self.now:
            self._deliver(heapq.heappop(self._waiting)[2])
            return True
        with suppress(Crash):
            if timer is not None and timer <= self.now:
                self._fire()
            else:
                self._sweep()
        return True

    def _sweep(self) -> None:
        with self._database.transaction() as transaction:
            events = outbox.due(transaction, now=self.now)
        self._send(events)

    def _fire(self) -> None:
        with self._database.transaction(writes=False) as transaction:
            due = timers.due(transaction, now=self.now)
        for timer in due:
            self._send(self._engine.fire(timer))

    def _deliver(self, event: Event) -> None:
        """Once, or once more: what is not acknowledged comes again."""
        try:
            if self._is_for_flows(event):
                self._send(self._engine.take(event))
            else:
                reply = self._worker(event)
                if reply is not None:
                    self.later(reply, 20)
        except (Crash, TryAgain):
            self.later(event, 20)
            return
        if self.chance.random() < DUPLICATES + LOSSES:
            self.later(event, 60)

    def _send(self, events: list[Event]) -> None:
        """After the commit, one by one; what was not taken, or seems so, stays in the outbox."""
        for event in events:
            if self.chance.random() < CRASHES:
                raise Crash
            if self.chance.random() < LOSSES:
                continue
            self.taken.append(event)
            self.later(event, 20)
            if self.chance.random() < LOSSES:
                continue
            with self._database.transaction() as transaction:
                outbox.sent(transaction, [event])

    def _is_for_flows(self, event: Event) -> bool:
        known = self._engine.definitions.newest
        return event.type in known or "flow" in event.attributes or ".signal.requested." in event.type
