"""The thread that writes the event log: what is asked for while a commit runs goes into the next one (group commit).

What nobody waits for, that a function is done with an event, is committed at most every 5 ms, or with the next event
that is accepted. A commit takes as long for one of them as for twenty: without the pause, a sixth of the runner's
processor time under load. A crash within it has the function asked once more, as one just before it.

The answers reach the loop in the order of their commits; the windows rely on it. A call here must not be cancelled
once it waits: its work may be done all the same. Where the thread ends by itself, everything that was or is asked of it
is answered BrokerUnavailable, and whoever made it is told once.
"""

import asyncio
import logging
import math
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from knative.local.broker.broker import BrokerUnavailable
from knative.local.broker.event_log import Change, Work, commit, progress
from knative.local.broker.integrity import Count

T = TypeVar("T")

BATCH_LIMIT: Final = 512  # lists of requests in one commit
LAZY_S: Final = 0.005
STOP_S: Final = 30.0  # for the last commit, on a disk that may hang

log = logging.getLogger("errands.event_log")

_Request = tuple[Work | Change, asyncio.Future[Any]]


class Writer:
    """Works on one connection, which is its own from now on; `died` is called in the loop, with a sentence."""

    def __init__(self, connection: sqlite3.Connection, count: Count, died: Callable[[str], None]) -> None:
        self._connection = connection
        self._count = count
        self._counted = progress(connection)
        self._changes = connection.total_changes
        count.write(*self._counted)
        self._died = died
        self._loop = asyncio.get_running_loop()
        self._requests: SimpleQueue[list[_Request] | None] = SimpleQueue()
        self._asked: list[_Request] = []  # what goes there next
        self._taken: list[_Request] = []  # what the thread works on
        self._hand_over_at_s = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._handed_over_s = 0.0
        self._death: str | None = None
        self.trouble: str | None = None  # why the last commit failed
        self._thread = threading.Thread(target=self._run, name="event_log", daemon=True)
        self._thread.start()

    def ask(self, work: Callable[[sqlite3.Connection], T] | Change, *, lazily: bool = False) -> "asyncio.Future[T]":
        """Have the thread do it: with what else is asked for in this turn of the loop, or lazily after a pause."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._death is not None:
            future.set_exception(BrokerUnavailable(self._death))
            return future
        self._asked.append((work, future))
        now_s = self._loop.time()
        at_s = max(now_s, self._handed_over_s + LAZY_S) if lazily else now_s
        if at_s < self._hand_over_at_s:
            self._set_timer(at_s - now_s)
            self._hand_over_at_s = at_s
        return future

    async def close(self) -> None:
        """Commit what was asked for and close the file."""
        self._hand_over()
        self._requests.put(None)
        await asyncio.to_thread(self._thread.join, STOP_S)

    def _set_timer(self, pause_s: float) -> None:
        """In place of the one that runs, which would cut the pause of what is asked for after this."""
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(pause_s, self._hand_over)

    def _hand_over(self) -> None:
        if self._asked:
            self._requests.put(self._asked)
            self._asked, self._hand_over_at_s, self._handed_over_s = [], math.inf, self._loop.time()

    def _run(self) -> None:
        """The thread: batch after batch, until it is told to stop."""
        try:
            while self._write():
                pass
            self._count.close(*self._counted)
        except BaseException as error:  # whatever ends it, those who wait are told
            self._tell_loop(self._give_up, f"the event log's thread ended: {error!r}")
        finally:
            self._connection.close()

    def _write(self) -> bool:
        """Take all that waits, do it in one transaction, tell the askers after the commit; whether to go on."""
        batch = [self._requests.get()]
        while len(batch) < BATCH_LIMIT and not self._requests.empty():
            batch.append(self._requests.get())
        self._taken = [request for each in batch for request in each or ()]
        results = commit(self._connection, [work for work, _ in self._taken])
        if self._connection.total_changes != self._changes:
            self._changes, self._counted = self._connection.total_changes, progress(self._connection)
            self._count.write(*self._counted)
        responses = list(zip([future for _, future in self._taken], results, strict=True))
        if responses:
            self._tell_loop(self._tell, responses)
        return None not in batch

    def _tell_loop(self, tell: Callable[[Any], None], what: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell, what)

    def _tell(self, responses: list[tuple[asyncio.Future[Any], Any]]) -> None:
        failures = [str(result) for _, result in responses if isinstance(result, BrokerUnavailable)]
        self.trouble = failures[0] if failures else None
        for future, result in responses:
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _give_up(self, reason: str) -> None:
        self._death = self.trouble = reason
        waiting = self._taken + self._asked
        while not self._requests.empty():
            waiting += self._requests.get() or []
        for _, future in waiting:
            if not future.done():
                future.set_exception(BrokerUnavailable(reason))
        self._died(reason)
