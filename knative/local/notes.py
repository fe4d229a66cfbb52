"""Tells the gateway of each attempt that failed, beside what the broker does about it: late rather than in its way."""

import asyncio
import logging
from collections import deque
from datetime import UTC, datetime
from typing import Final

from events.http import Event
from functions.runtime.attempt_notes import is_told, kind, requested_type
from functions.runtime.notes import JobNote, noted
from functions.runtime.outcome import Result
from knative.local.broker.broker import Delivery
from knative.local.broker.dispatch import Http
from knative.local.process.processes import Pool, PoolStopping, StartFailed

log = logging.getLogger("errands.notes")

KEPT: Final = 10_000  # beyond, the oldest are forgotten
TIMEOUT_S: Final = 10.0
DETAIL_CHARACTERS: Final = 1_000


class Notes:
    """Those of one runner; `run` is to be kept up."""

    def __init__(self, gateway: Pool, http: Http) -> None:
        self._gateway = gateway
        self._http = http
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._told = asyncio.Event()

    def tell(self, delivery: Delivery, function: str, result: Result, *, charged: bool, next_s: float | None) -> None:
        """Of an attempt that failed, tried again after `next_s`; one that is not `charged` was not made.

        What else is delivered than requests, and outcomes to be called back, is no part of a job's work.
        """
        event, now = delivery.event, datetime.now(UTC)
        if not is_told(event, function):
            return
        note = JobNote(
            kind=kind(event, made=charged),
            type=requested_type(event),
            by=function,
            attempt=delivery.attempt,
            next_ms=None if next_s is None else int((now.timestamp() + next_s) * 1000),
            detail=result.sentence[:DETAIL_CHARACTERS],
        )
        self._events.append(noted(event, note, now=now))
        self._told.set()

    async def run(self) -> None:
        """Bring them to the gateway, in their order, until cancelled."""
        while True:
            await self._told.wait()
            self._told.clear()
            while self._events:
                await self._bring(self._events.popleft())

    async def _bring(self, event: Event) -> None:
        try:
            async with self._gateway.lease() as process:
                result = await self._http.post(process.url, Delivery(0, "notes", 1, event), timeout_s=TIMEOUT_S)
        except (StartFailed, PoolStopping, OSError) as error:
            log.warning("a note of a job is lost: %s", error)
            return
        if result.failed:
            log.warning("a note of a job is lost: %s", result.sentence)
