"""The threads that run a function, beside the loop that keeps the connection alive.

A thread takes one task after the other or, of a function that takes lists, all that wait up to a limit: while it works
on one list the next comes together. What is finished goes to the loop in as few wake-ups as there can be, since a
wake-up costs more than a small event.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
A = TypeVar("A")


class Threads(Generic[T, A]):
    """`count` threads that call `work` with lists of at most `limit` tasks; `finished` is called on the loop."""

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[A]],
        finished: Callable[[Sequence[T], Sequence[A]], None],
        *,
        count: int,
        limit: int,
    ) -> None:
        self._work = work
        self._finished = finished
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._tasks: SimpleQueue[T] = SimpleQueue()
        self._done: deque[tuple[Sequence[T], Sequence[A]]] = deque()
        self._told = False
        self._running: dict[int, tuple[float, Sequence[T]]] = {}
        for number in range(count):  # daemons: a function that never returns must not keep the process
            threading.Thread(target=self._run, args=(number,), name=f"function-{number}", daemon=True).start()

    def put(self, task: T) -> None:
        """Have a task done by the next thread that is free."""
        self._tasks.put(task)

    def take_back(self) -> list[T]:
        """What no thread has begun with; it will not be done."""
        taken: list[T] = []
        while (task := self._next()) is not None:
            taken.append(task)
        return taken

    def overdue(self, timeout_s: float) -> list[T]:
        """What is worked on for longer than `timeout_s`."""
        before_s = time.monotonic() - timeout_s
        return [task for started_s, tasks in tuple(self._running.values()) if started_s < before_s for task in tasks]

    def _next(self) -> T | None:
        try:
            return self._tasks.get_nowait()
        except Empty:
            return None

    def _run(self, number: int) -> None:
        while True:
            tasks = [self._tasks.get()]
            while len(tasks) < self._limit and (task := self._next()) is not None:
                tasks.append(task)
            self._running[number] = (time.monotonic(), tasks)
            responses = self._work(tasks)
            del self._running[number]
            self._done.append((tasks, responses))
            if not self._told:
                self._told = True
                self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._told = False
        tasks: list[T] = []
        responses: list[A] = []
        while self._done:
            some, their = self._done.popleft()
            tasks += some
            responses += their
        if tasks:
            self._finished(tasks, responses)
