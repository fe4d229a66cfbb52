"""The runner's connections to its functions: what a server may send, in whatever pieces, and what is made of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from events.http import BODY_LIMIT_BYTES
from functions.net.client import Connections
from functions.net.exchange import Bounds, Broken, ServerResponse, TooLong
from functions.net.url import parsed

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def request(reader: asyncio.StreamReader) -> bytes:
    """One request's head and body, as they came."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
    return head + await reader.readexactly(int(length.split(b" ")[1]))


def answering(*pieces: bytes, close: bool = False) -> Serve:
    """A server that sends these pieces, one after the other, to every request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await request(reader):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                if close:
                    break
        writer.close()

    return serve


def exchange(
    serve: Serve,
    *bodies: bytes,
    headers: dict[str, str] | None = None,
    bounds: Bounds = Bounds(),  # noqa: B008  # frozen
) -> tuple[list[ServerResponse], int]:
    """The answers to one POST after another, and over how many connections they came."""
    count = 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await serve(reader, writer)

    async def run() -> list[ServerResponse]:
        server, connections = await asyncio.start_server(counted, "127.0.0.1", 0), Connections(bounds=bounds)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        try:
            return [
                await asyncio.wait_for(connections.request("POST", parsed(url), headers or {}, body), 10)
                for body in bodies
            ]
        finally:
            connections.close()
            server.close()

    return asyncio.run(run()), count


def test_a_request_is_a_post_with_its_headers_and_its_body() -> None:
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(OK)

    exchange(serve, b"body", headers={"ce-id": "1"})

    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST / HTTP/1.1"
    assert b"ce-id: 1" in head.split(b"\r\n")
    assert any(line.startswith(b"host: 127.0.0.1:") for line in head.split(b"\r\n"))
    assert body == b"body"


@pytest.mark.parametrize("pieces", [(OK,), tuple(OK[at : at + 1] for at in range(len(OK)))], ids=["whole", "bytes"])
def test_a_response_may_come_in_any_pieces(pieces: tuple[bytes, ...]) -> None:
    responses, _ = exchange(answering(*pieces), b"")

    assert responses == [ServerResponse(200, {"content-type": "text/plain", "content-length": "5"}, b"hello")]


@pytest.mark.parametrize(
    ("response", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, b"hello"),
    ],
    ids=["chunked", "empty", "no content", "after an informational one"],
)
def test_each_way_to_end_a_response_is_understood_and_the_connection_used_again(response: bytes, body: bytes) -> None:
    responses, connections = exchange(answering(response), b"", b"", b"")

    assert [each.body for each in responses] == [body] * 3
    assert connections == 1


def test_what_stands_behind_a_chunked_body_is_no_header() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nCe-Id: 2\r\n\r\n"

    responses, _ = exchange(answering(chunked), b"")

    assert responses == [ServerResponse(200, {"transfer-encoding": "chunked"}, b"")]


def test_a_connection_that_the_server_closes_is_not_used_again() -> None:
    ending = OK.replace(b"\r\nContent-Type", b"\r\nConnection: close\r\nContent-Type")

    responses, connections = exchange(answering(ending, close=True), b"", b"")

    assert [each.status for each in responses] == [200, 200]
    assert connections == 2


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    responses, _ = exchange(answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it", close=True), b"")

    assert responses[0].body == b"all of it"


@pytest.mark.parametrize("end", range(len(OK)))
def test_a_response_that_is_cut_off_anywhere_is_broken_and_never_taken_as_whole(end: int) -> None:
    with pytest.raises(Broken, match="closed before the answer was whole"):
        exchange(answering(OK[:end], close=True), b"")


def test_a_chunked_response_that_is_cut_off_is_broken() -> None:
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

    with pytest.raises(Broken, match="closed before the answer was whole"):
        exchange(answering(cut, close=True), b"")


@pytest.mark.parametrize(
    "response",
    [b"+PONG\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"],
)
def test_what_is_not_http_is_broken(response: bytes) -> None:
    with pytest.raises(Broken, match="is no HTTP"):
        exchange(answering(response), b"")


def test_a_response_over_the_limit_is_given_up_with_its_status() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"

    with pytest.raises(TooLong) as raised:
        exchange(answering(head, *([chunk] * (BODY_LIMIT_BYTES // 0x100000 + 1))), b"")

    assert raised.value.status == 200


def test_headers_without_end_are_given_up() -> None:
    with pytest.raises(Broken, match="headers are over 262144 bytes"):
        exchange(answering(b"HTTP/1.1 200 OK\r\n", *([b"x" * 60_000] * 5)), b"")


def test_nobody_who_listens_is_broken() -> None:
    async def run() -> None:
        await Connections().request("POST", parsed("http://127.0.0.1:1/"), {})

    with pytest.raises(Broken, match="ConnectionRefusedError"):
        asyncio.run(run())


@pytest.mark.parametrize("value", ["a\r\nce-id: another", "a\nb", "a\rb"])
def test_a_header_cannot_bring_another_one_in(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        exchange(answering(OK), b"", headers={"ce-subject": value})


def test_a_request_that_is_given_up_takes_its_connection_with_it() -> None:
    """Otherwise its late answer would be the next request's."""
    closed = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(4_096):
                pass
        closed.append(True)
        writer.close()

    async def run() -> None:
        server, connections = await asyncio.start_server(serve, "127.0.0.1", 0), Connections()
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connections.request("POST", parsed(url), {})
        async with asyncio.timeout(10):
            while not closed:
                await asyncio.sleep(0.01)
        server.close()

    asyncio.run(run())

    assert closed


def test_a_connection_that_was_idle_for_too_long_is_not_used() -> None:
    responses, connections = exchange(answering(OK), b"", b"", bounds=Bounds(idle_s=-1.0))

    assert len(responses) == 2
    assert connections == 2
