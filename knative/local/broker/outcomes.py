"""Those who wait for a job's outcome: `errands send --wait`, and an API that updates its user live."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from events.http import Event

Recall = Callable[[str, str], Awaitable[Event | None]]


class Outcomes:
    """Wakes the waiters of a job when its last event is in the broker."""

    def __init__(self) -> None:
        self._waiters: dict[tuple[str, str], set[asyncio.Future[Event]]] = defaultdict(set)

    def announce(self, event: Event) -> None:
        """A last event was accepted; any other event is passed over."""
        job = (event.get("jobsource") or "", event.get("jobid") or "")
        if event.get("outcome"):
            for waiter in self._waiters.pop(job, ()):
                if not waiter.done():
                    waiter.set_result(event)

    async def wait(self, source: str, id_: str, *, recall: Recall, timeout_s: float) -> Event | None:
        """The job's last event, at once where it has ended, or None when it has not within `timeout_s`."""
        waiter: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._waiters[source, id_].add(waiter)
        try:
            ended = await recall(source, id_)
            return ended or await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            return None
        finally:
            waiters = self._waiters.get((source, id_), set())
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop((source, id_), None)
