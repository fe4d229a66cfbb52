"""Hands events to the broker's ingress, many at a time over connections that are kept open."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from events.http import Event
from functions.flows import outbox
from functions.flows.engine import Engine
from functions.runtime.broker_client import BrokerClient, BrokerRefuses
from functions.runtime.logs import about
from functions.storage.database import StorageUnavailable

log = logging.getLogger("errands.flows")

AT_ONCE: Final = 32


@dataclass(frozen=True)
class Sender:
    """Sends what the engine has written; what is not taken stays in the outbox, and falls due."""

    engine: Engine
    sink_url: str
    token: str

    async def send(self, events: Sequence[Event]) -> None:
        """Send them all; those that the broker took leave the outbox."""
        left, taken = list(reversed(events)), list[Event]()
        await asyncio.gather(*(self._worker(left, taken) for _ in range(min(AT_ONCE, len(left)))))
        if taken:
            try:
                await asyncio.to_thread(self._forget, taken)
            except StorageUnavailable as error:
                log.warning("what was sent cannot be marked so, and goes again: %s", error)

    async def _worker(self, left: list[Event], taken: list[Event]) -> None:
        while left:
            event = left.pop()
            (came,) = await self._client.post([event])
            if came is None:
                taken.append(event)
            elif isinstance(came, BrokerRefuses):
                left += reversed(await asyncio.to_thread(self.engine.refuse, event, f"{event.type}: {came}"))
            else:
                with about(event):
                    log.warning("the broker at %s does not take %s: %s; it is kept", self.sink_url, event.id, came)

    def _forget(self, events: Sequence[Event]) -> None:
        with self.engine.database.transaction() as transaction:
            outbox.sent(transaction, events)

    @cached_property
    def _client(self) -> BrokerClient:
        return BrokerClient(self.sink_url, self.token)
