"""Those who wait for a job's outcome (`errands send --wait`, an API that updates its user live), and with which data a
job was asked for.
"""

import asyncio
import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from events.http import Event
from events.job import canonical, job_of

Recall = Callable[[str, str], Awaitable[Event | None]]

Fingerprint = bytes

ASKED: Final = 20_000  # jobs whose data is remembered, each some 200 bytes
AT_ONCE_BYTES: Final = 65_536  # longer data is read and hashed on a thread


class Outcomes:
    """Wakes the waiters of a job when its last event is in the broker."""

    def __init__(self) -> None:
        self._waiters: dict[tuple[str, str], set[asyncio.Future[Event]]] = defaultdict(set)
        self._asked: OrderedDict[tuple[str, str], Fingerprint] = OrderedDict()

    def remembered(self, request: Event) -> Fingerprint | None:
        """Of the data with which its job was asked for; None where it has failed since, or that is not known here."""
        return self._asked.get(job_of(request))

    def asked(self, jobs: Mapping[tuple[str, str], Fingerprint]) -> None:
        """Remember with which data these jobs were asked for; the newest of all jobs are known."""
        self._asked |= jobs
        while len(self._asked) > ASKED:
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


async def fingerprint_of(request: Event) -> Fingerprint:
    """As `fingerprint`, and of longer data beside the loop."""
    if len(request.data) <= AT_ONCE_BYTES:
        return fingerprint(request)
    return await asyncio.to_thread(fingerprint, request)


def fingerprint(request: Event) -> Fingerprint:
    """Of the request's data, however it is written."""
    return hashlib.sha256(canonical(request.data)).digest()
