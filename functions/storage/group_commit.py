"""A thread that writes for all of a loop: what is asked for while a commit runs goes into the next one (group commit).

What nobody waits for is committed after a short pause, or with the next that somebody does: a commit takes nearly as
long for one as for twenty. The answers reach the loop in the order of their commits. A call here must not be cancelled
once it waits: its work may be done all the same. Where the thread ends by itself, everybody who asked is answered.
"""

import asyncio
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

A = TypeVar("A")

LAZY_S: Final = 0.005
STOP_S: Final = 30.0  # for the last commit, on a disk that may hang


class GroupCommit(ABC, Generic[A]):
    """Works in the loop that first asks it for something; its thread begins then."""

    def __init__(self, name: str, *, batch_limit: int, gather_s: float = 0.0) -> None:
        """At most `batch_limit` lists of requests go into one commit; a list comes `gather_s` after the one before."""
        self._name = name
        self._batch_limit = batch_limit
        self._gather_s = gather_s
        self._requests: SimpleQueue[list[tuple[A, asyncio.Future[Any]]] | None] = SimpleQueue()
        self._asked: list[tuple[A, asyncio.Future[Any]]] = []  # what goes there next
        self._taken: list[tuple[A, asyncio.Future[Any]]] = []  # what the thread works on
        self._hand_over_at_s = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._handed_over_s = 0.0
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _committed(self, asked: Sequence[A]) -> list[Any]:
        """In the thread: what each comes to, or the exception that its asker is told."""

    @abstractmethod
    def _died(self, reason: str) -> Exception:
        """In the loop, when the thread has ended by itself: what those who wait are told."""

    def ask(self, asked: A, *, lazily: bool = False) -> "asyncio.Future[Any]":
        """Have the thread do it: with what else is asked for in this turn of the loop, or lazily after a pause."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append((asked, future))
        now_s = self._loop.time()
        at_s = max(now_s, self._handed_over_s + (LAZY_S if lazily else self._gather_s))
        if at_s < self._hand_over_at_s:
            self._set_timer(at_s - now_s)
            self._hand_over_at_s = at_s
        return future

    async def close(self) -> None:
        """Commit what was asked for, and end."""
        if self._thread is not None:
            self._hand_over()
            self._requests.put(None)
            await asyncio.to_thread(self._thread.join, STOP_S)
            self._thread = None
        else:
            self._finish(whole=True)

    def _finish(self, *, whole: bool) -> None:  # who has nothing to close does nothing
        """When nothing is written any more, in the thread where there was one; not `whole` where it ended by itself."""

    def _tell_loop(self, tell: Callable[[Any], None], what: object) -> None:
        """From the thread, have the loop call this."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(tell, what)

    def _tell(self, responses: Sequence[tuple["asyncio.Future[Any]", Any]]) -> None:
        for future, result in responses:
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

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
            self._finish(whole=True)
        except BaseException as error:  # whatever ends it, those who wait are told
            self._finish(whole=False)
            self._tell_loop(self._give_up, f"the {self._name}'s thread ended: {error!r}")

    def _write(self) -> bool:
        """Take all that waits, do it in one commit, tell the askers after it; whether to go on."""
        batch = [self._requests.get()]
        while len(batch) < self._batch_limit and not self._requests.empty():
            batch.append(self._requests.get())
        self._taken = [request for each in batch for request in each or ()]
        if self._taken:
            results = self._committed([asked for asked, _ in self._taken])
            self._tell_loop(self._tell, list(zip([future for _, future in self._taken], results, strict=True)))
        return None not in batch

    def _give_up(self, reason: str) -> None:
        waiting = self._taken + self._asked
        while not self._requests.empty():
            waiting += self._requests.get() or []
        self._taken, self._asked, self._thread = [], [], None
        self._hand_over_at_s = math.inf
        error = self._died(reason)
        self._tell([(future, error) for _, future in waiting])
