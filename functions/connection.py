"""An HTTP/1.1 connection to a function's process: one request at a time, kept open for the next.

Decided 2026-11-27: httptools parses, as it does in uvicorn, and the rest is here. aiohttp's client, which made these
requests before, took half of the runner's processor time for a delivery: it can do redirects, cookies, proxies,
compression and TLS, none of which there is between the runner and its own functions.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from events.http import BODY_LIMIT_BYTES

HEAD_LIMIT_BYTES: Final = 256 * 1024
# Less than a function keeps an idle connection (functions/serve.py), so that a request does not meet its end.
IDLE_LIMIT_S: Final = 60.0


class Broken(Exception):
    """The function cannot be reached, or its answer is not HTTP or not whole."""


class TooLong(Exception):
    """The answer is over the limit of an event; the message is its status."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; the headers' names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connections:
    """Connections by URL; as many as there are requests at once."""

    def __init__(self) -> None:
        self._idle: dict[str, list[_Connection]] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request and its answer; raise Broken or TooLong. When it is cancelled the connection goes with it."""
        connection = self._kept(url) or await self._connected(url)
        try:
            answer = await connection.exchange(_head(url, headers, body), body)
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            connection.idle_since_s = asyncio.get_running_loop().time()
            self._idle.setdefault(url, []).append(connection)
        return answer

    def close(self) -> None:
        """Close those that are idle."""
        for kept in self._idle.values():
            for connection in kept:
                connection.close()

    def forget(self, connection: "_Connection") -> None:
        """It was closed."""
        kept = self._idle.get(connection.url, [])
        if connection in kept:
            kept.remove(connection)
        if not kept:
            self._idle.pop(connection.url, None)

    def _kept(self, url: str) -> "_Connection | None":
        """The one used last, so that the others grow old."""
        oldest_s = asyncio.get_running_loop().time() - IDLE_LIMIT_S
        kept = self._idle.get(url, [])
        for connection in [each for each in kept if each.idle_since_s < oldest_s]:
            connection.close()
            self.forget(connection)
        return kept.pop() if kept else None

    async def _connected(self, url: str) -> "_Connection":
        place = urlsplit(url)
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(url, self), host=place.hostname or "", port=place.port or 80
            )
        except OSError as error:
            raise Broken(f"{type(error).__name__}: {error}") from error
        return connection


class _Connection(asyncio.Protocol):
    """Called by the loop, and by httptools for the parts of an answer."""

    def __init__(self, url: str, connections: Connections) -> None:
        self.url = url
        self.idle_since_s = 0.0
        self.reusable = False
        self._connections = connections
        self._answer: asyncio.Future[Answer] | None = None

    def exchange(self, head: bytes, body: bytes) -> "asyncio.Future[Answer]":
        """Send a request; the future is its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes, self._body_bytes, self._head_is_whole = 0, 0, False
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self.reusable = False
        self._transport.writelines([head, body])
        return self._answer

    def close(self) -> None:
        """Without waiting for what is on its way."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one but for its class

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nobody asked for it
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(Broken(f"the answer is not HTTP/1.1: {error}"))
        self._head_bytes += 0 if self._head_is_whole else len(data)
        if self._head_bytes > HEAD_LIMIT_BYTES:
            self._fail(Broken(f"the answer's headers are over {HEAD_LIMIT_BYTES} bytes"))

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.forget(self)
        if self._answer is None:
            return
        if error is None and self._ends_with_the_connection():
            self.on_message_complete()
        else:
            self._fail(Broken(f"the connection was closed before the answer was whole{f': {error}' if error else ''}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._head_is_whole = True

    def on_body(self, chunk: bytes) -> None:
        self._body_bytes += len(chunk)
        if self._body_bytes > BODY_LIMIT_BYTES:
            self._fail(TooLong(self._parser.get_status_code()))
        else:
            self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is None:
            return
        if status < 200:  # informational: the answer follows
            self._headers, self._head_is_whole = {}, False
            return
        self.reusable = self._parser.should_keep_alive() and not self._transport.is_closing()
        answer, self._answer = self._answer, None
        if not answer.done():
            answer.set_result(Answer(status, self._headers, b"".join(self._chunks)))

    def _ends_with_the_connection(self) -> bool:
        """RFC 9112 6.3: a body without a length is over when the connection is."""
        return self._head_is_whole and not {"content-length", "transfer-encoding"} & self._headers.keys()

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
        self._transport.abort()


def _head(url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(
        ["POST / HTTP/1.1", f"host: {urlsplit(url).netloc}", *lines, f"content-length: {len(body)}", "", ""]
    )
    if text.count("\n") != len(lines) + 4 or text.count("\r") != len(lines) + 4:
        raise ValueError("a header cannot hold a line break")
    return text.encode("ascii")
