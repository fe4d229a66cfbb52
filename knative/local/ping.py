"""PingSources: an event on a cron schedule, posted to a Service or given to the broker."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
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
LOOK_S: Final = 30.0  # at the clock, while a ping waits


class Pinger:
    """Runs every PingSource of the manifests; a ping that is missed while the runner is down is not made up for."""

    def __init__(self, manifests: Manifests, pools: Mapping[str, Pool], broker: Broker, http: Http) -> None:
        self._manifests = manifests
        self._pools = pools
        self._broker = broker
        self._http = http

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for ping in self._manifests.pings:
                group.create_task(self._repeat(ping))

    async def _repeat(self, ping: PingSource) -> None:
        while True:
            due = await next_due(ping)
            try:
                await self._send(ping, event(ping, due))
            except (BrokerUnavailable, StartFailed, PoolStopping, OSError) as error:
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


def clock(timezone: str | None) -> datetime:
    """The time of day that schedules go by."""
    return datetime.now(ZoneInfo(timezone) if timezone else UTC)


async def next_due(ping: PingSource, clock: Callable[[str | None], datetime] = clock) -> datetime:
    """Wait for the next time of the schedule; a clock that is set back meanwhile is looked at anew.

    Times are compared as timestamps: two of one time zone compare as what its clocks show, which DST sets back.
    """
    now = clock(ping.timezone)
    due: datetime = croniter(ping.schedule, now).get_next(datetime)
    before_s = now.timestamp()
    while (left_s := due.timestamp() - now.timestamp()) > 0:
        await asyncio.sleep(min(left_s, LOOK_S))
        now = clock(ping.timezone)
        if now.timestamp() < before_s:
            due = croniter(ping.schedule, now).get_next(datetime)
        before_s = now.timestamp()
    return due


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
