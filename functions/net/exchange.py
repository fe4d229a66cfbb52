"""One request after another, and their responses, over one HTTP/1.1 connection.

httptools parses, as it does in uvicorn. Redirects, cookies, proxies and compression are not wanted here, and not done
(functions/net/README.md says why the client is our own).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

import httptools

from events.http import BODY_LIMIT_BYTES
from functions.net.url import Url

CHUNKS_OVERHEAD: Final = 8  # a body in chunks of one byte takes six on the wire for each


class Broken(Exception):
    """The server cannot be reached, or its response is not HTTP or not whole."""


class Stale(Broken):
    """The connection ended before any byte of the response."""


class NotConnected(Broken):
    """There was no connection in time."""


class Late(Broken):
    """There was no response in time."""


class TooLong(Exception):
    """The response is over the limit; the message is its status."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass(frozen=True, slots=True)
class ServerResponse:
    """What a server answered; the headers' names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of a response is read, and how long its connection stays open for the next.

    With `start_bytes` the start of a response is enough: so much of the body is kept, and what goes wrong after the
    headers, or goes on for too long, ends it there.
    """

    head_bytes: int = 256 * 1024
    body_bytes: int = BODY_LIMIT_BYTES
    start_bytes: int | None = None
    # Less than a function keeps an idle connection (functions/runtime/server.py), so that a request does not meet its
    # end.
    idle_s: float = 60.0


def head(method: str, url: Url, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request's head, for any method but HEAD and CONNECT, whose responses have a form of their own."""
    lines = [f"{method} {url.target} HTTP/1.1", f"host: {url.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method == "POST":  # RFC 9110 8.6
        lines.append(f"content-length: {len(body)}")
    text = "\r\n".join([*lines, "", ""])
    if text.count("\n") != len(lines) + 1 or text.count("\r") != len(lines) + 1:
        raise ValueError("a header cannot hold a line break")
    return text.encode("ascii")


class ClientConnection(asyncio.Protocol):
    """Called by the loop, and by httptools for the parts of a response."""

    def __init__(self, origin: str, forget: "Callable[[ClientConnection], None]", bounds: Bounds) -> None:
        self.origin = origin
        self.idle_since_s = 0.0
        self.reusable = False
        self._forget = forget
        self._bounds = bounds
        self._response: asyncio.Future[ServerResponse] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent, as far as is known here."""
        return not self._transport.is_closing()

    def exchange(self, head: bytes, body: bytes, end_s: float | None = None) -> "asyncio.Future[ServerResponse]":
        """Send a request; the future is its response, or Late at `end_s` of the loop's clock."""
        loop = asyncio.get_running_loop()
        self._response = loop.create_future()
        self._timer = None if end_s is None else loop.call_at(end_s, self._fail, Late("no answer in time"))
        self._parser = httptools.HttpResponseParser(self)
        self._received_bytes, self._head_bytes, self._body_bytes, self._head_is_whole = 0, 0, 0, False
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self.reusable = False
        response = self._response
        if self.is_open:
            self._transport.write(head + body)  # in one record of TLS, too
        else:  # it was lost between its making and now, and nothing will ever come of it
            self._fail(Stale("the connection was closed before the request was sent"))
        return response

    def close(self) -> None:
        """Close the connection without waiting for what is on its way."""
        self._settle(None)
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one but for its class

    def data_received(self, data: bytes) -> None:
        if self._response is None:  # nobody asked for it
            self.close()
            return
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(Broken(f"what it answered is no HTTP: {error}"))
        if self._received_bytes > self._bounds.head_bytes:
            self._require_measure()

    def connection_lost(self, error: Exception | None) -> None:
        self._forget(self)
        if self._response is None:
            return
        if error is None and self._ends_with_the_connection():
            self.on_message_complete()
            return
        kind = Broken if self._received_bytes else Stale
        self._fail(kind(f"the connection was closed before the answer was whole{f': {error}' if error else ''}"))

    def on_message_begin(self) -> None:
        if self._response is None:  # a second response behind the first: whose would the next one be?
            self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > self._bounds.head_bytes:
            self._fail(self._endless())
        elif not self._head_is_whole:  # trailers are of no interest
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._head_is_whole = True

    def on_body(self, chunk: bytes) -> None:
        if self._bounds.start_bytes is None or self._body_bytes < self._bounds.start_bytes:
            self._chunks.append(chunk)
        self._body_bytes += len(chunk)
        if self._body_bytes > self._bounds.body_bytes:
            self._fail(TooLong(self._parser.get_status_code()))

    def on_message_complete(self) -> None:
        if self._response is None:
            return
        if self._parser.get_status_code() < 200:  # informational: the response follows
            self._headers, self._head_is_whole = {}, False
            return
        self.reusable = self._parser.should_keep_alive() and self.is_open
        self._settle(self._begun())

    def _begun(self) -> ServerResponse:
        """The response as far as it has come."""
        body = b"".join(self._chunks)[: self._bounds.start_bytes]
        return ServerResponse(self._parser.get_status_code(), self._headers, body)

    def _require_measure(self) -> None:
        """Nothing but a body may be long: neither the headers, nor what stands between chunks and after the last."""
        if not self._head_is_whole:
            self._fail(self._endless())
        elif self._received_bytes > self._bounds.head_bytes + CHUNKS_OVERHEAD * self._bounds.body_bytes:
            self._fail(TooLong(self._parser.get_status_code()))

    def _endless(self) -> Broken:
        return Broken(f"what it answered is no HTTP: headers are over {self._bounds.head_bytes} bytes")

    def _ends_with_the_connection(self) -> bool:
        """RFC 9112 6.3: a body without a length is over when the connection is."""
        return self._head_is_whole and not {"content-length", "transfer-encoding"} & self._headers.keys()

    def _fail(self, error: Exception) -> None:
        starts = self._bounds.start_bytes is not None and self._response is not None and self._head_is_whole
        self._settle(self._begun() if starts else error)
        self._transport.abort()

    def _settle(self, result: ServerResponse | Exception | None) -> None:
        response, self._response = self._response, None
        if response is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if response.done() or result is None:
            return
        if isinstance(result, ServerResponse):
            response.set_result(result)
        else:
            response.set_exception(result)
