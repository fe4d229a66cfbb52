"""Connections of clients that are slow, idle, too many, or want another protocol: only they pay for it."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from events.http import BODY_LIMIT_BYTES
from functions.runtime import connection
from functions.runtime.asgi import read_body
from functions.runtime.port import HttpServer, IngressResponse
from tests.support.local_runner import ROOT, event, service, trigger, up

POST = b"POST / HTTP/1.1\r\nhost: localhost\r\n"
Scenario = Callable[[], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a scenario in either loop, with limits that a test can wait for."""
    monkeypatch.setattr(connection, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connection, "BODY_WINDOW_S", 0.3)
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def runs(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(scenario(), 30))

    return runs


@asynccontextmanager
async def serving(*, limit: int = 100) -> AsyncIterator[int]:
    """A server that answers with the body's length; yields its port."""

    async def measure(_scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = await read_body(receive)
        await IngressResponse(200, f"{len(body.content)}".encode())(_scope, receive, send)

    listening = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(measure, listening)
    server._connection_limit = limit
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


def test_a_body_that_stops_is_answered_408_and_one_that_gets_on_is_taken(run: Run) -> None:
    async def scenario() -> None:
        head = POST + b"content-length: 20480\r\n\r\n"
        async with serving() as port:
            stopped, slow = await asyncio.gather(
                answered(port, head + b"half"), answered(port, head, *[b"a" * 2048] * 10, pause_s=0.1)
            )
            assert stopped.startswith(b"HTTP/1.1 408 ")
            assert slow.startswith(b"HTTP/1.1 200 ")

    run(scenario)


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


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_with_http2_sends_an_event(tmp_path: Path) -> None:
    structured = ["-H", "content-type: application/cloudevents+json", "-d", json.dumps(event("1"))]
    with up(tmp_path, (service(), trigger())) as runner:
        command = ["curl", "-s", "--http2", "-o", "/dev/null", "-w", "%{http_code}", *structured, runner.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout == "202"


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
