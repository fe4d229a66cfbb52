"""An HTTP/1.1 client: one request at a time over a connection, which is kept open for the next to the same origin.

Decided 2026-11-27: httptools parses, as it does in uvicorn, and the rest is here. aiohttp's client, which made the
runner's deliveries and the notifier's callbacks before, took half of the processor time of each, 10 MB, and 0.15 s of a
start: it can do redirects, cookies, proxies and compression, none of which is wanted here, and none of which is done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import httptools

from events.http import BODY_LIMIT_BYTES
from functions.url import Url, parsed

CHUNKS_OVERHEAD: Final = 8  # a body in chunks of one byte takes six on the wire for each


class Broken(Exception):
    """The server cannot be reached, or its answer is not HTTP or not whole."""


class Stale(Broken):
    """The connection ended before any byte of the answer."""


class NotConnected(Broken):
    """There was no connection in time."""


class Late(Broken):
    """There was no answer in time."""


class TooLong(Exception):
    """The answer is over the limit; the message is its status."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; the headers' names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of an answer is read, and how long its connection stays open for the next.

    With `start_bytes` the start of an answer is enough: so much of the body is kept, and what goes wrong after the
    headers, or goes on for too long, ends it there.
    """

    head_bytes: int = 256 * 1024
    body_bytes: int = BODY_LIMIT_BYTES
    start_bytes: int | None = None
    # Less than a function keeps an idle connection (functions/serve.py), so that a request does not meet its end.
    idle_s: float = 60.0


Dial = Callable[[Url, "Callable[[], Connection]"], Awaitable["Connection"]]


async def dial(url: Url, connection: "Callable[[], Connection]") -> "Connection":
    """To wherever the URL leads, without TLS: for URLs of our own making (functions/dialing.py has the others')."""
    if url.scheme != "http":
        raise ValueError(f"url must be of http, got {url.scheme}")
    _, made = await asyncio.get_running_loop().create_connection(connection, host=url.host, port=url.port)
    return made


class Connections:
    """Connections by origin; as many as there are requests at once."""

    def __init__(self, dial: Dial = dial, bounds: Bounds = Bounds()) -> None:  # frozen
        self._dial = dial
        self._bounds = bounds
        self._idle: dict[str, list[Connection]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Coroutine[Any, Any, Answer]:
        """One request and its answer; raise Broken or TooLong. When it is cancelled the connection goes with it."""
        return self.request("POST", parsed(url), headers, body)

    async def request(
        self,
        method: str,
        url: Url,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        connect_timeout_s: float | None = None,
        timeout_s: float | None = None,
        again: bool = False,
    ) -> Answer:
        """As `post`; `timeout_s` covers all of it, `connect_timeout_s` the name, the connection and TLS.

        `again` sends it once more, over a new connection, where a kept one ends before any byte of the answer: mostly
        the server has closed it as idle while the request was on its way. It may also have taken the request, so this
        is for requests of which it takes a second one as the same (RFC 9110 9.2.2).
        """
        end_s = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        head = _head(method, url, headers, body)
        kept = self._kept(url.origin)
        if kept is not None:
            try:
                return await self._exchange(kept, head, body, end_s)
            except Stale:
                if not again:
                    raise
        return await self._exchange(await self._connected(url, connect_timeout_s, end_s), head, body, end_s)

    def close(self) -> None:
        """Close those that are idle."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in [each for kept in self._idle.values() for each in kept]:
            connection.close()

    def forget(self, connection: "Connection") -> None:
        """It was closed."""
        kept = self._idle.get(connection.origin, [])
        if connection in kept:
            kept.remove(connection)
        if not kept:
            self._idle.pop(connection.origin, None)

    async def _exchange(self, connection: "Connection", head: bytes, body: bytes, end_s: float | None) -> Answer:
        try:
            answer = await connection.exchange(head, body, end_s)
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            connection.idle_since_s = asyncio.get_running_loop().time()
            self._idle.setdefault(connection.origin, []).append(connection)
            if self._sweeping is None:
                self._sweep_later()
        return answer

    def _kept(self, origin: str) -> "Connection | None":
        """The one used last, so that the others grow old."""
        kept = self._idle.get(origin)
        if not kept:
            return None
        connection = kept.pop()
        if connection.idle_since_s >= asyncio.get_running_loop().time() - self._bounds.idle_s and connection.is_open:
            return connection
        connection.close()  # so are those that were used before it, which the next sweep closes
        return None

    def _sweep_later(self) -> None:
        delay_s = max(self._bounds.idle_s / 4, 0.1)
        self._sweeping = asyncio.get_running_loop().call_later(delay_s, self._sweep)

    def _sweep(self) -> None:
        """Close what was idle for too long, and look again while there is anything."""
        self._sweeping = None
        oldest_s = asyncio.get_running_loop().time() - self._bounds.idle_s
        for connection in [each for kept in self._idle.values() for each in kept if each.idle_since_s < oldest_s]:
            connection.close()
            self.forget(connection)
        self._idle = {origin: kept for origin, kept in self._idle.items() if kept}
        if self._idle:
            self._sweep_later()

    async def _connected(self, url: Url, connect_timeout_s: float | None, end_s: float | None) -> "Connection":
        until_s = None if connect_timeout_s is None else asyncio.get_running_loop().time() + connect_timeout_s
        try:
            async with asyncio.timeout_at(min((each for each in (until_s, end_s) if each), default=None)) as limit:
                return await self._dial(url, lambda: Connection(url.origin, self.forget, self._bounds))
        except OSError as error:  # TimeoutError is one, which the system may say too
            if limit.expired():
                raise NotConnected("no connection in time") from error
            raise Broken(f"{type(error).__name__}: {error}") from error


class Connection(asyncio.Protocol):
    """Called by the loop, and by httptools for the parts of an answer."""

    def __init__(self, origin: str, forget: "Callable[[Connection], None]", bounds: Bounds) -> None:
        self.origin = origin
        self.idle_since_s = 0.0
        self.reusable = False
        self._forget = forget
        self._bounds = bounds
        self._answer: asyncio.Future[Answer] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent, as far as is known here."""
        return not self._transport.is_closing()

    def exchange(self, head: bytes, body: bytes, end_s: float | None = None) -> "asyncio.Future[Answer]":
        """Send a request; the future is its answer, or Late at `end_s` of the loop's clock."""
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._timer = None if end_s is None else loop.call_at(end_s, self._fail, Late("no answer in time"))
        self._parser = httptools.HttpResponseParser(self)
        self._received_bytes, self._head_bytes, self._body_bytes, self._head_is_whole = 0, 0, 0, False
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self.reusable = False
        self._transport.write(head + body)  # in one record of TLS, too
        return self._answer

    def close(self) -> None:
        """Without waiting for what is on its way."""
        self._settle(None)
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one but for its class

    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nobody asked for it
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
        if self._answer is None:
            return
        if error is None and self._ends_with_the_connection():
            self.on_message_complete()
            return
        kind = Broken if self._received_bytes else Stale
        self._fail(kind(f"the connection was closed before the answer was whole{f': {error}' if error else ''}"))

    def on_message_begin(self) -> None:
        if self._answer is None:  # a second answer behind the first: whose would the next one be?
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
        if self._answer is None:
            return
        if self._parser.get_status_code() < 200:  # informational: the answer follows
            self._headers, self._head_is_whole = {}, False
            return
        self.reusable = self._parser.should_keep_alive() and self.is_open
        self._settle(self._begun())

    def _begun(self) -> Answer:
        """What has come."""
        body = b"".join(self._chunks)[: self._bounds.start_bytes]
        return Answer(self._parser.get_status_code(), self._headers, body)

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
        starts = self._bounds.start_bytes is not None and self._answer is not None and self._head_is_whole
        self._settle(self._begun() if starts else error)
        self._transport.abort()

    def _settle(self, result: Answer | Exception | None) -> None:
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if answer.done() or result is None:
            return
        if isinstance(result, Answer):
            answer.set_result(result)
        else:
            answer.set_exception(result)


def _head(method: str, url: Url, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {url.target} HTTP/1.1", f"host: {url.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method == "POST":  # RFC 9110 8.6
        lines.append(f"content-length: {len(body)}")
    text = "\r\n".join([*lines, "", ""])
    if text.count("\n") != len(lines) + 1 or text.count("\r") != len(lines) + 1:
        raise ValueError("a header cannot hold a line break")
    return text.encode("ascii")
