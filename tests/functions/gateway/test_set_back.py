"""A clock that is set back by an hour: nothing that was accepted waits for the hour to pass."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from events.http import Event
from functions.gateway.ledger import jobs
from functions.gateway.ledger.rules import NO_RULES
from functions.gateway.ledger.schema import open_ledger
from functions.gateway.ledger.writer import Writer
from functions.gateway.sending import Sender
from functions.gateway.set_back import IGNORED_MS, SetBack
from functions.gateway.waiting import Waiters
from functions.gateway.watchdog import Watchdog
from functions.runtime.broker_client import BrokerAway, BrokerClient, Taken
from functions.storage.database import Database
from tests.functions.gateway.test_ledger import new, request
from tests.functions.gateway.test_watchdog import ROUTED
from tests.support.database_servers import database_url, postgresql_server

__all__ = ["database_url", "postgresql_server"]

HOUR_MS = 3_600_000


class Clock:
    """The time of day, which can be set."""

    def __init__(self) -> None:
        self.shift_ms = 0

    def __call__(self) -> int:
        return int(time.time() * 1000) + self.shift_ms


class Broker(BrokerClient):
    """One that is away until it is back."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9/")
        self.is_away = True
        self.asked = asyncio.Event()
        self.events: list[str] = []
        self.came = asyncio.Event()

    async def post(self, events: Sequence[Event]) -> list[Taken]:
        self.asked.set()
        if self.is_away:
            return [BrokerAway("it is away")] * len(events)
        self.events += [each.id for each in events]
        if {"1", "2"} <= set(self.events):
            self.came.set()
        return [None] * len(events)


@pytest.mark.parametrize(
    ("steps_ms", "told_ms"),
    [((0, 0), (0, 0)), ((-HOUR_MS, 0), (HOUR_MS, 0)), ((HOUR_MS, -HOUR_MS), (0, HOUR_MS)), ((-IGNORED_MS, 0), (0, 0))],
)
def test_a_step_back_is_told_once_and_no_step_forward(steps_ms: tuple[int, ...], told_ms: tuple[int, ...]) -> None:
    now_ms = [5 * HOUR_MS]
    set_back = SetBack(lambda: now_ms[0], lambda: 0.0)
    found = []
    for step_ms in steps_ms:
        now_ms[0] += step_ms
        found.append(set_back.since_last_look())

    assert tuple(found) == told_ms


@pytest.mark.slow
def test_what_waits_for_a_broker_that_was_away_goes_out_though_the_clock_was_set_back(database_url: str) -> None:
    ledger, clock = open_ledger(database_url), Clock()
    accept(ledger, clock)

    async def scenario() -> list[str]:
        broker, writer = Broker(), Writer(ledger, clock)
        watchdog = Watchdog(ledger, ROUTED)
        sender = Sender(ledger, writer, broker, watchdog, Waiters(), clock_ms=clock, rules_of=lambda _: NO_RULES)
        running = asyncio.create_task(sender.run())
        await asyncio.wait_for(broker.asked.wait(), 60)
        clock.shift_ms = -HOUR_MS
        broker.is_away = False
        sender.wake()
        await asyncio.wait_for(broker.came.wait(), 60)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await sender.close()
        await writer.close()
        return broker.events

    assert sorted(asyncio.run(scenario())) == ["1", "2"]


def accept(ledger: Database, clock: Clock) -> None:
    """Two jobs: one that is due, and one that was accepted and whose gateway died."""
    due_ms = clock()
    with ledger.transaction() as transaction:
        given = [
            replace(new(request(each)), accepted_ms=due_ms, due_ms=due_ms + later)
            for each, later in (("1", 0), ("2", 500))
        ]
        jobs.accept(transaction, given)
