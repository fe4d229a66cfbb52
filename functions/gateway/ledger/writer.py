"""The thread that writes the ledger: what is asked for while a commit runs goes into the next one (group commit).

What nobody waits for, that the broker has taken a job, is committed after a short pause, or with the next job that is
accepted. Whoever asked is answered after the commit. What fails for the database's sake fails for all of it, and
nothing of it is recorded; what fails by itself, alone. Where the thread ends by itself, everything that was asked of it
is answered StorageUnavailable, and the next that is asked for begins another.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

from events.http import Event
from functions.gateway import listening
from functions.gateway.ledger import gates, jobs
from functions.gateway.ledger.job import NewJob, key_of_event
from functions.gateway.ledger.rules import NO_RULES, Rules
from functions.storage.database import Database, StorageUnavailable, Transaction

log = logging.getLogger("errands.gateway")

BATCH_LIMIT: Final = 64  # lists of requests in one commit
LAZY_S: Final = 0.005
GATHER_S: Final = 0.002  # from one list to the next: a commit takes nearly as long for one job as for twenty
STOP_S: Final = 30.0  # for the last commit, on a disk that may hang


@dataclass(frozen=True, slots=True)
class Accept:
    """Record these requests, all or none; gives a list of what became of each."""

    jobs: Sequence[NewJob]


@dataclass(frozen=True, slots=True)
class Sent:
    """The broker has taken a job, which is overdue at `due_ms`."""

    id: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A job has ended so; gives how and of when it is (Closed), None where that changes nothing."""

    outcome: Event


Work = Callable[[Transaction], Any]
Asked = Accept | Sent | Ended | Work
_Request = tuple[Asked, "asyncio.Future[Any]"]


class Writer:
    """Works in the loop that first asks it for something; its thread begins then."""

    def __init__(
        self,
        database: Database,
        clock_ms: Callable[[], int],
        rules_of: Callable[[Transaction], Rules] = lambda _: NO_RULES,
        *,
        has_room: Callable[[], None] = lambda: None,
    ) -> None:
        """`has_room` is called in the loop where the end of a job has made room for one that a limit holds."""
        self._database = database
        self._clock_ms = clock_ms
        self._rules_of = rules_of
        self._has_room = has_room
        self._is_room = False  # made by the batch that is being written
        self._requests: SimpleQueue[list[_Request] | None] = SimpleQueue()
        self._asked: list[_Request] = []  # what goes there next
        self._taken: list[_Request] = []  # what the thread works on
        self._timer: asyncio.TimerHandle | None = None
        self._is_lazy = False
        self._handed_over_s = 0.0
        self._thread: threading.Thread | None = None

    def ask(self, asked: Asked, *, lazily: bool = False) -> "asyncio.Future[Any]":
        """Have it written: with what else is asked for in this turn of the loop, or lazily after a pause."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
            self._thread.start()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append((asked, future))
        if self._timer is None or (self._is_lazy and not lazily):
            if self._timer is not None:
                self._timer.cancel()
            pause_s = LAZY_S if lazily else max(0.0, self._handed_over_s + GATHER_S - self._loop.time())
            self._timer, self._is_lazy = self._loop.call_later(pause_s, self._hand_over), lazily
        return future

    async def close(self) -> None:
        """Write what was asked for, and end."""
        if self._thread is not None:
            self._hand_over()
            self._requests.put(None)
            await asyncio.to_thread(self._thread.join, STOP_S)
            self._thread = None

    def _hand_over(self) -> None:
        self._timer = None
        if self._asked:
            self._requests.put(self._asked)
            self._asked, self._handed_over_s = [], self._loop.time()

    def _run(self) -> None:
        """The thread: batch after batch, until it is told to stop."""
        try:
            while self._write():
                pass
        except BaseException as error:  # whatever ends it, those who wait are told
            self._tell_loop(self._give_up, f"the ledger's thread ended: {error!r}")

    def _write(self) -> bool:
        """Take all that waits, do it in one transaction, tell the askers after the commit; whether to go on."""
        batch = [self._requests.get()]
        while len(batch) < BATCH_LIMIT and not self._requests.empty():
            batch.append(self._requests.get())
        self._taken = [request for each in batch for request in each or ()]
        results = self._committed([asked for asked, _ in self._taken])
        if self._is_room:
            self._is_room = False
            self._tell_loop(lambda _: self._has_room(), None)
        self._tell_loop(_tell, [(future, result) for (_, future), result in zip(self._taken, results, strict=True)])
        return None not in batch

    def _tell_loop(self, tell: Callable[[Any], None], what: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell, what)

    def _give_up(self, reason: str) -> None:
        """In the loop, when the thread has ended."""
        log.error("%s; another begins with the next request", reason)
        waiting = self._taken + self._asked
        while not self._requests.empty():
            waiting += self._requests.get() or []
        self._taken, self._asked, self._thread = [], [], None
        _tell([(future, StorageUnavailable(reason)) for _, future in waiting])

    def _committed(self, asked: Sequence[Asked]) -> list[Any]:
        """What each comes to; the same StorageUnavailable for each where the database takes none of it."""
        if not asked:
            return []
        try:
            with self._database.transaction() as transaction:
                return self._written(transaction, asked)
        except StorageUnavailable as error:
            log.error("the ledger cannot be written: %s", error)
            return [error] * len(asked)
        except Exception as error:
            if len(asked) > 1:
                return [result for each in asked for result in self._committed([each])]
            log.exception("what the ledger was asked for ended in a bug")
            return [error]

    def _written(self, transaction: Transaction, asked: Sequence[Asked]) -> list[Any]:
        """All of it, what is alike together: requests, what was sent of them, ends, and the rest."""
        now_ms = self._clock_ms()
        new = [job for each in asked if isinstance(each, Accept) for job in each.jobs]
        accepted = iter(jobs.accept(transaction, new, self._rules_of(transaction)) if new else ())
        sent = [(each.id, each.due_ms) for each in asked if isinstance(each, Sent)]
        if sent:
            jobs.mark_sent(transaction, sent, now_ms=now_ms)
        outcomes = [each.outcome for each in asked if isinstance(each, Ended)]
        changed = jobs.end(transaction, outcomes, now_ms=now_ms) if outcomes else {}
        self._is_room = bool(changed and gates.ready(transaction, now_ms=now_ms))
        listening.tell(self._database, transaction, list(changed))
        results: list[Any] = []
        for each in asked:
            if isinstance(each, Accept):
                results.append([next(accepted) for _ in each.jobs])
            elif isinstance(each, Ended):
                results.append(changed.get(key_of_event(each.outcome)))
            else:
                results.append(None if isinstance(each, Sent) else each(transaction))
        return results


def _tell(responses: Sequence[tuple["asyncio.Future[Any]", Any]]) -> None:
    for future, result in responses:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
