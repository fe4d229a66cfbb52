"""PingSources: an event on a cron schedule, posted to a Service or given to the broker."""

import asyncio
import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter

from events.http import Event
from knative.local.broker.broker import Broker, BrokerUnavailable, Delivery
from knative.local.broker.dispatch import Http
from knative.local.process.processes import Pool, PoolStopping, StartFailed
from knative.manifests.manifests import Manifests, PingSource

log = logging.getLogger("errands.ping")

PING_TYPE: Final = "dev.knative.sources.ping"
PING_TIMEOUT_S: Final = 30.0


class Pinger:
    """Runs every PingSource of the manifests; a ping that is missed while the runner is down is not made up for."""

    def __init__(self, manifests: Manifests, pools: Mapping[str, Pool], broker: Broker, http: Http) -> None:
        self._manifests = manifests
        self._pools = pools
        self._broker = broker
        self._http = http

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._repeat(ping) for ping in self._manifests.pings))

    async def _repeat(self, ping: PingSource) -> None:
        while True:
            now = datetime.now(ZoneInfo(ping.timezone) if ping.timezone else UTC)
            due = croniter(ping.schedule, now).get_next(datetime)
            await asyncio.sleep((due - now).total_seconds())
            try:
                await self._send(ping, event(ping, due))
            except (BrokerUnavailable, StartFailed, PoolStopping) as error:
                log.warning("ping %s was not delivered: %s", ping.name, error)

    async def _send(self, ping: PingSource, event: Event) -> None:
        if ping.sink is None:
            wanted = self._manifests.wanted_by(event.attributes)
            await self._broker.publish(event, [trigger.name for trigger in wanted])
            return
        async with self._pools[ping.sink].lease() as process:
            delivery = Delivery(0, ping.name, 1, event)
            result = await self._http.post(process.url, delivery, timeout_s=PING_TIMEOUT_S)
        if result.failed:
            log.warning("ping %s was answered %d: %r", ping.name, result.code, result.error)


def event(ping: PingSource, due: datetime) -> Event:
    """The event that Knative's PingSource sends."""
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"/apis/v1/namespaces/default/pingsources/{ping.name}",
        "type": PING_TYPE,
        "time": due.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "datacontenttype": ping.content_type,
    }
    return Event(MappingProxyType(attributes), ping.data.encode())
