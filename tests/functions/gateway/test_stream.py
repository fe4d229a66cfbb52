"""A job's stream: what befalls it is told as it does, resumed where it ended, and ends."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from functions.gateway.ledger import jobs
from functions.gateway.ledger.job import key_of
from functions.gateway.ledger.schema import open_ledger
from functions.gateway.stream import Pace, stream
from functions.gateway.tickets import Tickets
from functions.gateway.waiting import Waiters
from tests.functions.gateway.test_gateway import ICS, job, outcome, state
from tests.functions.gateway.test_ledger import new, request
from tests.support.database_servers import database_url, new_database, postgresql_server
from tests.support.gateway_process import TOKENS, GatewayProcess, gateway_process
from tests.support.local_runner import until

__all__ = ["database_url", "postgresql_server"]

pytestmark = pytest.mark.slow


def note(id_: str, number: int) -> dict[str, Any]:
    own = {"specversion": "1.0", "id": f"note-{id_}-{number}", "source": "/errands/ics", "jobid": id_}
    data = {"kind": "attempt failed", "attempt": number, "by": "ics", "detail": f"try {number}"}
    return {**own, "type": "dev.errands.job.noted.v1", "jobsource": ICS["source"], "data": data}


def told(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The events of a stream as a browser parses them."""
    event: dict[str, Any] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            continue
        if line:
            event[name] = json.loads(value) if name == "data" else value
        elif event:
            yield event
            event = {}


def test_a_stream_says_that_it_is_there_while_nothing_happens_and_is_ended_after_its_time(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    with ledger.transaction() as transaction:
        jobs.accept(transaction, [new(request("1"))])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    async def follow() -> None:
        key, pace = key_of("/tests", "1"), Pace(comment_s=0.02, last_s=0.3)
        application = await stream(ledger, Waiters(), key, "", pace=pace)
        await application({}, receive, send)

    asyncio.run(follow())

    bodies = [each["body"] for each in sent[1:]]
    assert bodies[0].startswith(b"event: job\n")
    assert len(bodies) >= 3
    assert set(bodies[1:-1]) == {b":\n\n"}
    assert (bodies[-1], sent[-1].get("more_body", False)) == (b"", False)
    assert (Pace().comment_s, Pace().last_s) == (15, 300)


def later(gateway: GatewayProcess, *events: dict[str, Any]) -> threading.Timer:
    def tell() -> None:
        for each in events:
            gateway.tell(each)

    timer = threading.Timer(0.3, tell)
    timer.start()
    return timer


def test_what_befalls_a_job_is_told_by_its_ticket_until_it_ends(database_url: str, tmp_path: Path) -> None:
    with gateway_process(tmp_path, database_url, GATEWAY_TOKENS=TOKENS) as (gateway, _broker):
        accepted = gateway.post(job("1"), token="shop-token-shop-token")
        until(lambda: state(gateway, "1", token="reader-token-reader-token") == "sent", what="the broker's")
        timer = later(gateway, note("1", 1), note("1", 2), outcome("1"))
        with gateway.client.stream("GET", accepted.json()["stream"]) as response:
            events = list(told(response))
        timer.join()
        after = {"Last-Event-ID": events[-1]["id"]}
        over = gateway.client.get(accepted.json()["stream"], headers=after).status_code
        half = next(each["id"] for each in events if each["event"] == "note")
        with gateway.client.stream("GET", accepted.json()["stream"], headers={"Last-Event-ID": half}) as response:
            rest = list(told(response))

    notes = [each["data"]["detail"] for each in events if each["event"] == "note"]
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
    assert notes == ["try 1", "try 2"]
    assert (events[0]["data"]["state"], events[-1]["data"]["state"]) == ("sent", "completed")
    assert events[-1]["data"]["result"]
    assert over == 204
    assert [each["data"]["detail"] for each in rest if each["event"] == "note"] == ["try 2"]
    assert rest[-1]["data"]["state"] == "completed"


def test_a_stream_is_for_who_has_a_ticket_for_it_or_may_read_the_job(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with gateway_process(tmp_path, url, GATEWAY_TOKENS=TOKENS) as (gateway, _broker):
        streams = [gateway.post(job(each), token="shop-token-shop-token").json()["stream"] for each in ("1", "2")]
        gateway.tell(outcome("1"))
        gateway.tell(outcome("2"))
        path = urlsplit(streams[0]).path
        shown = gateway.get(path.removesuffix("/stream"), token="reader-token-reader-token").json()["stream"]
        old = Tickets("ticket-secret-of-the-tests").issue(path.split("/")[2], now_s=int(time.time()) - 90_000)
        statuses = [
            gateway.client.get(streams[0]).status_code,
            gateway.get(path, token="reader-token-reader-token").status_code,
            gateway.get(path, token="pictures-token-pictures").status_code,
            gateway.client.get(f"{path}?{urlsplit(streams[1]).query}").status_code,
            gateway.client.get(f"{path}?ticket={old}").status_code,
            gateway.get(path).status_code,
            gateway.client.get(shown).status_code,
        ]

    assert statuses == [200, 200, 404, 401, 401, 401, 200]


def test_a_stop_ends_streams_and_a_client_that_never_reads_holds_nobody_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with gateway_process(tmp_path, url) as (gateway, _broker):
        stream = gateway.post(job("1")).json()["stream"]
        deaf = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(20)]
        for each in deaf:
            each.sendall(f"GET {stream} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        for number in range(50):
            gateway.tell(note("1", number))
        gateway.tell(outcome("1"))
        with gateway.client.stream("GET", stream) as response:
            events = list(told(response))
        followed = gateway.post(job("2")).json()["stream"]
        with gateway.client.stream("GET", followed) as response:
            first = next(told(response))
            started_s = time.monotonic()
            code = gateway.stop()
            stopped_s = time.monotonic() - started_s

    assert len(events) == 51
    assert first["event"] == "job"
    assert code == 0
    assert stopped_s < 20  # not as long as a stream may take, nor as the wait for what is in flight


def test_a_stream_hears_of_an_outcome_that_another_gateway_was_told(postgresql_server: str, tmp_path: Path) -> None:
    database_url = new_database(postgresql_server)
    (tmp_path / "b").mkdir()
    with (
        gateway_process(tmp_path, database_url) as (first, _),
        gateway_process(tmp_path / "b", database_url) as (second, _),
    ):
        accepted = first.post(job("1")).json()["stream"]
        until(lambda: state(first, "1") == "sent", what="the broker's")
        timer = threading.Timer(1, lambda: first.tell(outcome("1")))
        with second.client.stream("GET", accepted) as response:
            events = told(response)
            next(events)
            timer.start()
            started_s = time.monotonic()
            last = next(events)
            waited_s = time.monotonic() - started_s

    assert last["data"]["state"] == "completed"
    assert waited_s < 10  # a comment, with which it would look as well, comes later
