"""Connections of clients that are slow, idle, too many, or want another protocol: only they pay for it."""

import asyncio
import json
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from events.http import BODY_LIMIT_BYTES
from functions.runtime import connection
from functions.runtime.asgi import read_body
from functions.runtime.places import SHARE_LIMIT, Places
from functions.runtime.port import Application, HttpServer, IngressResponse, is_loopback
from tests.support.local_runner import ROOT, event, service, trigger, up

POST = b"POST / HTTP/1.1\r\nhost: localhost\r\n"
Scenario = Callable[[], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a scenario in either loop, with limits that a test can wait for."""
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connection, "BODY_WINDOW_S", 0.3)
    monkeypatch.setattr(connection, "WRITE_WINDOW_S", 0.3)
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def runs(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(scenario(), 30))

    return runs


async def measure(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with the body's length."""
    body = await read_body(receive)
    await IngressResponse(200, f"{len(body.content)}".encode())(_scope, receive, send)


@asynccontextmanager
async def serving(*, application: Application = measure, limit: int = 100) -> AsyncIterator[int]:
    """A server, by default one that answers with the body's length; yields its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(application, listening)
    server.places = Places(limit, is_of_many=is_loopback)
    await server.start()
    yield listening.getsockname()[1]
    server.stop()
    await server.close()
    listening.close()


async def answered(port: int, *parts: bytes, pause_s: float = 0) -> bytes:
    """What comes back until the server closes, or has answered and is idle."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(pause_s)
    try:
        return await asyncio.wait_for(reader.read(-1), 5) if not parts else await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    finally:
        writer.close()


def test_a_head_that_stops_is_answered_408_and_others_are_served(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as port:
            late, other = await asyncio.gather(
                answered(port, POST + b"x-half: "), answered(port, POST + b"content-length: 2\r\n\r\nab")
            )
            assert late.startswith(b"HTTP/1.1 408 ")
            assert other.startswith(b"HTTP/1.1 200 ")

    run(scenario)


def test_a_second_request_on_a_connection_has_the_same_time_for_its_head(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(POST + b"content-length: 0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n0")
            writer.write(b"POST /")
            assert (await reader.read(-1)).startswith(b"HTTP/1.1 408 ")
            writer.close()

    run(scenario)


def test_a_connection_on_which_nothing_comes_is_closed_without_a_word(run: Run) -> None:
    async def scenario() -> None:
        async with serving() as port:
            assert await answered(port) == b""

    run(scenario)


@pytest.mark.slow
def test_a_body_that_stops_is_answered_408_and_one_that_gets_on_is_taken(run: Run) -> None:
    async def scenario() -> None:
        head = POST + b"content-length: 81920\r\n\r\n"
        async with serving() as port:
            stopped, slow = await asyncio.gather(
                answered(port, head + b"half"), answered(port, head, *[b"a" * 8192] * 10, pause_s=0.1)
            )
            assert stopped.startswith(b"HTTP/1.1 408 ")
            assert slow.startswith(b"HTTP/1.1 200 ")

    run(scenario)


@pytest.mark.slow
def test_a_low_soft_limit_of_descriptors_is_raised() -> None:
    code = "import resource; from functions.runtime.port import descriptors;"
    code += "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
    code += "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)); print(descriptors());"
    code += "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    told, found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    ).stdout.split()

    assert told == found
    assert int(found) > 64


def test_more_connections_than_descriptors_allow_are_told_to_come_again(run: Run) -> None:
    async def scenario() -> None:
        async with serving(limit=2) as port:
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for _, writer in held:
                writer.write(POST + b"content-length: 2\r\n\r\n")
            await asyncio.sleep(0.05)
            refused = await answered(port, POST)
            for _, writer in held:
                writer.close()
            await asyncio.sleep(0.05)
            taken = await answered(port, POST + b"content-length: 0\r\n\r\n")

            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after" in refused
            assert taken.startswith(b"HTTP/1.1 200 ")

    run(scenario)


def test_connections_on_which_nothing_is_asked_for_give_way(run: Run) -> None:
    async def scenario() -> None:
        async with serving(limit=4) as port:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            _, asking = await asyncio.open_connection("127.0.0.1", port)
            asking.write(POST + b"content-length: 2\r\n\r\n")
            await asyncio.sleep(0.05)
            taken = [await answered(port, POST + b"content-length: 0\r\n\r\n") for _ in range(8)]
            gone = await idle[0][0].read(-1)

            assert all(each.startswith(b"HTTP/1.1 200 ") for each in taken)
            assert gone == b""
            for _, writer in [*idle, (None, asking)]:
                writer.close()

    run(scenario)


class FakeSeat:
    def __init__(self, gone: list["FakeSeat"]) -> None:
        self._gone = gone

    def give_way(self) -> None:
        self._gone.append(self)


def test_one_address_has_its_share_of_the_places_and_no_more() -> None:
    gone: list[FakeSeat] = []
    places = Places(40, is_of_many=is_loopback)
    working = [FakeSeat(gone) for _ in range(10)]
    for each in working:
        assert places.enter(each, "192.0.2.7")
        places.work(each)

    refused = places.enter(FakeSeat(gone), "192.0.2.7")
    others = [places.enter(FakeSeat(gone), f"192.0.2.{number}") for number in range(100, 110)]
    own = [places.enter(FakeSeat(gone), "127.0.0.1") for _ in range(20)]
    places.rest(working[3])
    again = places.enter(FakeSeat(gone), "192.0.2.7")

    assert (refused, all(others), all(own), again) == (False, True, True, True)
    assert gone == [working[3]]


def test_a_share_of_many_places_is_bounded() -> None:
    gone: list[FakeSeat] = []
    places = Places(32_768)
    for each in (taken := [FakeSeat(gone) for _ in range(SHARE_LIMIT)]):
        assert places.enter(each, "192.0.2.7")
        places.work(each)

    assert not places.enter(FakeSeat(gone), "192.0.2.7")
    assert places.enter(FakeSeat(gone), "192.0.2.8")
    assert len(taken) == 512


def test_who_has_most_idle_connections_gives_way_first() -> None:
    gone: list[FakeSeat] = []
    places = Places(8)
    first, second = FakeSeat(gone), FakeSeat(gone)
    places.enter(FakeSeat(gone), "192.0.2.1")
    for each in (first, second):
        places.enter(each, "192.0.2.2")

    entered = [places.enter(FakeSeat(gone), f"198.51.100.{number}") for number in range(6)]

    assert all(entered)
    assert gone == [first]
    places.leave(second)
    places.leave(second)  # which a connection may be told twice
    assert places.enter(FakeSeat(gone), "192.0.2.9")
    assert gone == [first]


async def dribbled(port: int, part: bytes) -> bytes:
    """What comes back to a body without an end, of which a part is sent each tenth of a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(POST + b"content-length: 819200\r\n\r\n")
    answer = asyncio.ensure_future(reader.readline())
    for _ in range(100):
        if (await asyncio.wait((answer,), timeout=0.1))[0]:
            break
        writer.write(part)
    writer.close()
    return await answer


@pytest.mark.parametrize("part", [b"a" * 1024, b"a" * 8192], ids=["too slow", "without an end"])
def test_a_body_that_gets_on_for_ever_is_not_taken_for_ever(
    run: Run, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if len(part) == 8192:
        monkeypatch.setattr(connection, "BODY_WINDOWS", 2)

    async def scenario() -> None:
        async with serving() as port:
            assert (await dribbled(port, part)).startswith(b"HTTP/1.1 408 ")

    run(scenario)


async def refuse(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers before it has read anything."""
    await IngressResponse(401, b"who are you?")(_scope, receive, send)


@pytest.mark.parametrize("chunk", [b"a" * 65536, b"a"], ids=["at once", "byte by byte"])
def test_a_body_that_was_answered_already_is_taken_for_a_while_only(run: Run, chunk: bytes) -> None:
    async def scenario() -> None:
        async with serving(application=refuse) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(POST + b"content-length: 1073741824\r\n\r\n")
            assert (await reader.readuntil(b"who are you?")).startswith(b"HTTP/1.1 401 ")
            sent_bytes = 0
            with suppress(ConnectionError, RuntimeError):  # which is uvloop's word for a closed one
                while not reader.at_eof() and sent_bytes < 64 * connection.UNREAD_BYTES:
                    writer.write(chunk)
                    await writer.drain()
                    await asyncio.sleep(0 if len(chunk) > 1 else 0.02)
                    sent_bytes += len(chunk)

            assert sent_bytes < 64 * connection.UNREAD_BYTES
            writer.close()

    run(scenario)


LARGE = b"x" * (32 * 1024 * 1024)


async def answer_at_length(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    await IngressResponse(200, LARGE)(_scope, receive, send)


@pytest.mark.slow
@pytest.mark.parametrize("last", [b"", b"connection: close\r\n"], ids=["kept", "closed"])
def test_an_answer_that_nobody_reads_is_not_kept(run: Run, last: bytes) -> None:
    async def scenario() -> None:
        async with serving(application=answer_at_length, limit=1) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(POST + last + b"content-length: 0\r\n\r\n")
            await reader.readexactly(10)
            await asyncio.sleep(1)  # the windows of this test are shorter
            got = 0
            with suppress(ConnectionError):
                while part := await reader.read(1 << 20):
                    got += len(part)

            assert got < len(LARGE)
            writer.close()

    run(scenario)


@pytest.mark.slow
def test_an_answer_that_is_read_slowly_comes_whole(run: Run) -> None:
    async def scenario() -> None:
        async with serving(application=answer_at_length) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(POST + b"content-length: 0\r\nconnection: close\r\n\r\n")
            got = 0
            while part := await reader.readexactly(1 << 20) if got < len(LARGE) else b"":
                got += len(part)
                await asyncio.sleep(0.05)

            assert got >= len(LARGE)
            writer.close()

    run(scenario)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_with_few_descriptors_and_many_idle_connections_functions_are_served(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    begun = (b"", b"POST / HTTP/1.1\r\nhost: ", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    with up(tmp_path, (service(), trigger()), prefix=("prlimit", "--nofile=1024:1024")) as runner, ExitStack() as stack:
        for number in range(1_200):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", runner.port), timeout=30))
            with suppress(ConnectionError):  # of one that gave way at once
                client.sendall(begun[number % len(begun)])
        accepted = [runner.post(event(str(number))).status_code for number in range(10)]
        ended = [runner.outcome(str(number)) for number in range(10)]
        well = httpx.get(f"{runner.url}readyz").status_code

    assert accepted == [202] * 10
    assert all(ended)
    assert well == 200


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE"])
@pytest.mark.parametrize("cut", [0, 30, 60, 90])
def test_the_body_of_a_request_that_offers_another_protocol_is_taken(run: Run, name: bytes, cut: int) -> None:
    request = POST + b"connection: Upgrade, HTTP2-Settings\r\n" + name + b": h2c\r\nhttp2-settings: AAMA\r\n"
    request += b"content-length: 15\r\n\r\n\r\nUpgrade: body"

    async def scenario() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request[:cut])
            await asyncio.sleep(0.02)
            writer.write(request[cut:])
            assert await reader.readuntil(b"\r\n\r\n15")
            writer.close()

    run(scenario)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_with_http2_sends_an_event(tmp_path: Path) -> None:
    structured = ["-H", "content-type: application/cloudevents+json", "-d", json.dumps(event("1"))]
    with up(tmp_path, (service(), trigger())) as runner:
        command = ["curl", "-s", "--http2", "-o", "/dev/null", "-w", "%{http_code}", *structured, runner.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout == "202"


@pytest.mark.slow
def test_a_body_over_the_limit_is_answered_and_not_reset(tmp_path: Path) -> None:
    size_bytes = 4 * BODY_LIMIT_BYTES
    with up(tmp_path, (service(), trigger())) as runner:
        with socket.create_connection(("127.0.0.1", runner.port), timeout=30) as client:
            head = f"content-type: application/cloudevents+json\r\ncontent-length: {size_bytes}\r\n".encode()
            client.sendall(POST + head + b"connection: close\r\n\r\n")
            for _ in range(size_bytes // 65536):
                client.sendall(b"x" * 65536)
            response = client.recv(65536)

        assert response.startswith(b"HTTP/1.1 413 ")
        assert runner.client.get("/healthz").status_code == 200
