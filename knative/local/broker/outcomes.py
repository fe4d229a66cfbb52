"""Those who wait for a job's outcome: `errands send --wait`, and an API that updates its user live."""

import asyncio
import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from typing import Final

from events.http import Event
from events.job import canonical, is_request, job_of

Recall = Callable[[str, str], Awaitable[Event | None]]

ASKED: Final = 20_000  # jobs whose data is remembered, each some 200 bytes
HASHED_BYTES: Final = 65_536  # of longer data it is left to the function


class Outcomes:
    """Wakes the waiters of a job when its last event is in the broker."""

    def __init__(self) -> None:
        self._waiters: dict[tuple[str, str], set[asyncio.Future[Event]]] = defaultdict(set)
        self._asked: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def conflicts(self, request: Event) -> bool:
        """Whether its job was asked for with other data, and has not failed since: as far as is remembered here."""
        asked = self._asked.get(job_of(request), b"")
        return bool(asked) and len(request.data) <= HASHED_BYTES and asked != _hash(request)

    def asked(self, request: Event) -> None:
        """Remember with which data a job was asked for, of the newest jobs."""
        if is_request(request) and len(request.data) <= HASHED_BYTES:
            self._asked[job_of(request)] = _hash(request)
            if len(self._asked) > ASKED:
                self._asked.popitem(last=False)

    def announce(self, event: Event) -> None:
        """A last event was accepted; any other event is passed over."""
        outcome = event.get("outcome")
        if not outcome:
            return
        job = (event.get("jobsource") or "", event.get("jobid") or "")
        if outcome in ("failed", "deadlettered"):
            self._asked.pop(job, None)  # mended, it is done anew
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


def _hash(request: Event) -> bytes:
    return hashlib.blake2b(canonical(request.data), digest_size=8).digest()
