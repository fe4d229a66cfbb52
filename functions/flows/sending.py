"""Hands events to the broker's ingress, many at a time over connections that are kept open."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from events.http import Event, binary
from events.problem import sentence
from functions.flows import outbox
from functions.flows.engine import Engine
from functions.net.client import Connections
from functions.net.exchange import Broken, TooLong
from functions.net.url import parsed
from functions.runtime.logs import about
from functions.storage.database import StorageUnavailable

log = logging.getLogger("errands.flows")

TIMEOUT_S: Final = 10.0
AT_ONCE: Final = 32
REFUSED: Final = (400, 413, 422)  # for what the event is: the same again would be refused again
REASON_CHARACTERS: Final = 500


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
            status, said = await self._post(event)
            if status == 202:
                taken.append(event)
            elif status in REFUSED:
                left += reversed(await asyncio.to_thread(self.engine.refuse, event, f"{event.type}: {said}"))
            else:
                with about(event):
                    log.warning("the broker at %s does not take %s: %s; it is kept", self.sink_url, event.id, said)

    async def _post(self, event: Event) -> tuple[int, str]:
        headers, body = binary(event)
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        try:
            response = await self._connections.request(
                "POST", parsed(self.sink_url), headers, body, timeout_s=TIMEOUT_S, again=True
            )
        except (Broken, TooLong) as error:
            return 0, str(error)
        return response.status, sentence(response.body)[:REASON_CHARACTERS]

    def _forget(self, events: Sequence[Event]) -> None:
        with self.engine.database.transaction() as transaction:
            outbox.sent(transaction, events)

    @cached_property
    def _connections(self) -> Connections:
        return Connections()
