"""What is sent, how, and when nobody asks: the sender and the clock, before a broker's ingress over real HTTP."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import MappingProxyType

import pytest

from events.flow import Flow, flow
from events.http import Event, read
from events.types import CallCompleted, Request, event_type
from functions.flows import flow_record, timers
from functions.flows.clock import Clock
from functions.flows.definitions import Definitions
from functions.flows.engine import Engine
from functions.flows.flow_record import FlowRecord, flow_id
from functions.flows.schema import open_flows
from functions.flows.sending import Sender
from functions.runtime.adapter import reply_event
from tests.support.http_server import http_server
from tests.support.ports import free_port

LONG_S = 60.0


class NapRequested(Request, frozen=True, kw_only=True):
    hours: float = 0


@flow(NapRequested)
async def nap(job: NapRequested, do: Flow) -> None:
    await do.sleep(hours=job.hours)
    await do.call("wake-up")


@dataclass
class Ingress:
    """Takes events as the broker's does, with a status for each, 202 in the end."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    taken: list[Event] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    served = Ingress()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = served.statuses.pop(0) if served.statuses else 202
            served.tokens.add(self.headers["authorization"])
            if status == 202:
                served.taken.append(read(dict(self.headers.items()), body))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

    with http_server(Handler) as url:
        served.url = f"{url}/"
        yield served


def completed(step: Event, now: datetime) -> Event:
    return reply_event(step, "dev.errands.call.completed.v1", CallCompleted(), now=now)


class Site:
    """Engine, sender and clock, as main.py wires them."""

    def __init__(self, folder: Path, ingress: Ingress) -> None:
        self.now = datetime.now(UTC)
        self.database = open_flows(f"sqlite:///{folder / 'flows.db'}")
        self.engine = Engine(self.database, Definitions.of([nap]), lambda: self.now)
        self.sender = Sender(self.engine, ingress.url, "the secret of this start")
        self.clock = Clock(self.engine, self.sender, lambda: self.now, timedelta(days=30))
        self._ingress = ingress

    def begin(self, id_: str = "n-1", **data: float) -> list[Event]:
        attributes = {"specversion": "1.0", "id": id_, "source": "/s", "type": event_type(NapRequested)}
        body = f'{{"hours": {data.get("hours", 0)}}}'.encode()
        return self.engine.take(Event(MappingProxyType(attributes), body))

    def record(self) -> FlowRecord:
        with self.database.transaction(writes=False) as transaction:
            found = flow_record.find(transaction, flow_id("/s", "n-1"))
        assert found is not None
        return found

    def left(self) -> int:
        with self.database.transaction(writes=False) as transaction:
            return int(transaction.execute("SELECT count(*) AS count FROM flow_outbox")[0]["count"])

    def after_the_nap(self) -> list[Event]:
        """What is to be sent once the sleep has ended."""
        self.begin()
        with self.database.transaction(writes=False) as transaction:
            [timer] = timers.due(transaction, now=self.now)
        return self.engine.fire(timer)

    async def for_a_while(self) -> None:
        """The clock looks a few times."""
        async with self.clock.running():
            for _ in range(5):
                self.clock.wake()
                await asyncio.sleep(0.02)

    async def until_taken(self, count: int) -> None:
        """The clock runs until the broker has so many events, and that is known here."""
        async with self.clock.running(), asyncio.timeout(LONG_S):
            while len(self._ingress.taken) < count or self.left():
                await asyncio.sleep(0.01)
                self.clock.wake()


@pytest.fixture
def site(tmp_path: Path, ingress: Ingress) -> Site:
    return Site(tmp_path, ingress)


def test_a_timer_fires_when_its_time_has_come_and_not_before(site: Site, ingress: Ingress) -> None:
    async def scenario() -> None:
        site.begin(hours=1)
        await site.for_a_while()
        assert ingress.taken == []
        site.now += timedelta(hours=1)
        await site.until_taken(1)

    asyncio.run(scenario())

    assert [each.type for each in ingress.taken] == ["dev.errands.call.requested.v1"]
    assert ingress.tokens == {"Bearer the secret of this start"}


def test_what_a_crash_left_in_the_outbox_is_sent_and_leaves_it(site: Site, ingress: Ingress) -> None:
    async def scenario() -> None:
        site.begin()
        await site.until_taken(1)
        site.engine.take(completed(ingress.taken[0], site.now))  # whose own events nobody sends
        site.now += timedelta(seconds=10)
        await site.until_taken(2)

    asyncio.run(scenario())

    assert [each.type for each in ingress.taken] == ["dev.errands.call.requested.v1", "dev.errands.nap.completed.v1"]
    assert site.left() == 0


def test_what_the_broker_does_not_take_now_stays(site: Site, ingress: Ingress) -> None:
    ingress.statuses = [503, 401]
    events = site.after_the_nap()

    async def scenario() -> None:
        await site.sender.send(events)
        await site.sender.send(events)
        assert (ingress.taken, site.left()) == ([], 1)
        await site.sender.send(events)

    asyncio.run(scenario())

    assert ([each.id for each in ingress.taken], site.left()) == ([each.id for each in events], 0)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_the_broker_refuses_for_what_it_is_fails_the_step_and_its_flow_goes_on(
    site: Site, ingress: Ingress, status: int
) -> None:
    ingress.statuses = [status]

    asyncio.run(site.sender.send(site.after_the_nap()))

    assert (site.record().state, site.left()) == ("failed", 0)
    assert [each.get("outcome") for each in ingress.taken] == ["failed"]


def test_a_broker_that_is_down_loses_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path, Ingress(url=f"http://127.0.0.1:{free_port()}/"))

    asyncio.run(site.sender.send(site.after_the_nap()))

    assert (site.record().state, site.left()) == ("running", 1)


def test_a_timer_that_cannot_fire_keeps_no_other_flow_waiting(
    site: Site, ingress: Ingress, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.begin()
    site.begin("n-2")
    fire = Engine.fire

    def fire_but_one(engine: Engine, timer: timers.Timer) -> list[Event]:
        if timer.flow_id == flow_id("/s", "n-1"):
            raise LookupError("a bug")
        return fire(engine, timer)

    monkeypatch.setattr(Engine, "fire", fire_but_one)

    asyncio.run(site.until_taken(1))

    assert [each.attributes["flowid"] for each in ingress.taken] == [flow_id("/s", "n-2")]
    assert f"the timer of flow {flow_id('/s', 'n-1')}" in caplog.text
