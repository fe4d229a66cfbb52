"""Sends the traces of jobs that have ended to a receiver of OTLP, beside what the gateway is there for.

Held in memory are keys alone, of a number that has a limit: what is told of a job is read of the ledger when its batch
goes out. Nothing waits for it, and where the receiver is away for long, the newest jobs are not told of.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final
from urllib.parse import unquote

from functions.gateway.ledger import jobs, notes
from functions.gateway.tracing.spans import Span, Traced, callbacks, spans
from functions.runtime.threads import in_thread
from functions.storage.database import Database, StorageUnavailable, Transaction

log = logging.getLogger("errands.gateway")

KEPT_COUNT: Final = 10_000  # jobs that are still to be told of
BATCH_COUNT: Final = 200
PAUSE_FIRST_S: Final = 5.0
PAUSE_LAST_S: Final = 300.0
CLOSING_S: Final = 3.0  # for what is left when the process ends
PATH: Final = "/v1/traces"  # OTLP/HTTP


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where spans are sent, and under which name; `delay_s` after a job's end, so that they go together."""

    url: str
    headers: Mapping[str, str]
    service: str
    delay_s: float

    @classmethod
    def parse(cls, endpoint: str, headers: str, service: str, delay_ms: int) -> "Receiver":
        """Of the variables that OpenTelemetry names; raise ValueError that says which is wrong."""
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError(f"OTEL_EXPORTER_OTLP_ENDPOINT must be http://... or https://..., got {endpoint!r}")
        pairs = [each.partition("=") for each in headers.split(",") if each.strip()]
        if not all(name.strip() and equals for name, equals, _ in pairs):
            raise ValueError("OTEL_EXPORTER_OTLP_HEADERS must be NAME=VALUE,NAME=VALUE")
        given = {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
        return cls(endpoint.rstrip("/") + PATH, given, service, delay_ms / 1000)


@dataclass(slots=True)
class _Due:
    """What is to be told of a job: all of it, or callbacks by the numbers of their notes."""

    whole: bool = False
    notes: set[int] = field(default_factory=set)


class Tracing:
    """Works in one loop; `run` is to be kept up there."""

    def __init__(self, database: Database, receiver: Receiver) -> None:
        self._database = database
        self._receiver = receiver
        self._due: dict[str, _Due] = {}
        self._told = asyncio.Event()
        self._failures = 0
        self.forgotten = 0  # jobs that there was no room for

    def ended(self, key: str) -> None:
        """A job has ended."""
        due = self._of(key)
        if due is not None:
            due.whole = True

    def called_back(self, key: str, note: int) -> None:
        """A callback of a job has failed."""
        due = self._of(key)
        if due is not None:
            due.notes.add(note)

    async def run(self) -> None:
        """Send what is due, in batches, until cancelled."""
        while True:
            await self._told.wait()
            await asyncio.sleep(self._pause_s)
            await self._send()
            if not self._due:
                self._told.clear()

    async def close(self) -> None:
        """Send what is left, within a short time."""
        try:
            async with asyncio.timeout(CLOSING_S):
                while self._due and not self._failures:
                    await self._send()
        except TimeoutError:
            log.warning("the traces of %s jobs are left unsent", len(self._due))

    @property
    def _pause_s(self) -> float:
        if not self._failures:
            return 0.0 if len(self._due) > BATCH_COUNT else self._receiver.delay_s
        return min(PAUSE_FIRST_S * (1 << min(self._failures - 1, 10)), PAUSE_LAST_S)

    def _of(self, key: str) -> _Due | None:
        if key not in self._due and len(self._due) >= KEPT_COUNT:
            self.forgotten += 1
            return None
        self._told.set()
        return self._due.setdefault(key, _Due())

    async def _send(self) -> None:
        batch = dict(islice(self._due.items(), BATCH_COUNT))
        for key in batch:
            del self._due[key]
        try:
            await in_thread(_sent, self._database, self._receiver, batch)
        except _Later as error:
            self._keep(batch)
            if not self._failures:
                log.warning("traces wait: %s", error)
            self._failures += 1
        else:
            self._failures = 0

    def _keep(self, batch: Mapping[str, _Due]) -> None:
        for key, each in batch.items():
            due = self._of(key)
            if due is not None:
                due.whole |= each.whole
                due.notes |= each.notes


class _Later(Exception):
    """Nothing of a batch could be sent now."""


def _sent(database: Database, receiver: Receiver, batch: Mapping[str, _Due]) -> None:
    """Read, made and sent in one; raise _Later. What the receiver refuses for what it is, is given up."""
    from functions.gateway.tracing import otlp  # with protobuf and httpx, which who traces nothing does without

    try:
        with database.transaction(writes=False) as transaction:
            found = [span for key, each in batch.items() for span in _spans(transaction, key, each)]
    except StorageUnavailable as error:
        raise _Later(f"the ledger cannot be read: {error}") from error
    if not found:
        return
    try:
        otlp.send(receiver.url, receiver.headers, otlp.encoded(found, service=receiver.service))
    except otlp.NotTaken as error:
        if error.again:
            raise _Later(f"{receiver.url} does not take them: {error}") from error
        log.error("%s refuses the traces of %s jobs: %s", receiver.url, len(batch), error)


def _spans(transaction: Transaction, key: str, due: _Due) -> Sequence[Span]:
    job = jobs.find(transaction, key)
    if job is None or job.is_open:  # it was erased, or asked for again
        return ()
    event = jobs.request(transaction, job.id) or jobs.outcome(transaction, job.id) or job.named
    traced = Traced(job, notes.of(transaction, job.id), event)
    made: Callable[[Traced], list[Span]] = spans if due.whole else partial(callbacks, notes=due.notes)
    return made(traced)
