"""One connection to the runner's port: what a slow, idle or half-hearted client costs is bounded, and only it pays.

uvicorn knows no limit for a head, in bytes or in time, none for a body that stops coming, and loses the body of a
request that offers another protocol (`Upgrade: h2c`, as the JDK's client and `curl --http2` do): llhttp skips it.
"""

import asyncio
import logging
import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = logging.getLogger("errands.ingress")

# An event's attributes may have 64 KiB and more when they are encoded.
HEAD_LIMIT_BYTES: Final = 256 * 1024
HEAD_TIMEOUT_S: Final = 10.0  # from the connection, or a request's first byte, to the end of its head
BODY_WINDOW_S: Final = 10.0  # within each, at least
BODY_WINDOW_BYTES: Final = 1024  # of a body must come
END_OF_HEAD: Final = re.compile(rb"\n\r?\n")  # after any \r: a search for what may begin with one is slow
# Nothing else is spoken here, and a server may go on in HTTP/1.1 (RFC 9110 7.8).
UPGRADE: Final = re.compile(rb"(?mi)^upgrade(?=[ \t]*:)")
BUSY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 22\r\n\r\n"
    b"too many connections.\n"
)
LATE: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 34\r\n\r\n"
    b"the request did not come in time.\n"
)


class Connection(HttpToolsProtocol):
    """Limits the connections, the head and the pace of the body."""

    def __init__(self, *, connection_limit: int, **given: Any) -> None:
        super().__init__(**given)
        self._connection_limit = connection_limit
        self._head = bytearray()
        self._in_head = True
        self._received_bytes = 0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take it, unless as many are there as descriptors allow."""
        super().connection_made(transport)
        if len(self.connections) > self._connection_limit:
            self._cut_off(BUSY, "there are too many connections")
        else:
            self._watch = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand a head on when it is whole, a body as it comes."""
        self._received_bytes += len(data)
        if self._in_head:
            data = self._whole_head(data)
            if not data:
                return
        super().data_received(data)
        if self._waits_for_body() and self._watch is None:
            self._watch_body()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Its head is whole; the watch goes on with its body."""
        self._in_head = False
        self._unwatch()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole; what comes next is a head."""
        self._in_head = True
        self._unwatch()
        super().on_message_complete()

    def _whole_head(self, data: bytes) -> bytes:
        """All that has come, once the head is whole; nothing before."""
        if not self._head and self._watch is None:
            self._watch = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)
        self._head += data
        end = END_OF_HEAD.search(self._head)
        if (end.end() if end else len(self._head)) > HEAD_LIMIT_BYTES:
            self.send_400_response(f"The headers are over {HEAD_LIMIT_BYTES} bytes.")
            return b""
        if end is None:
            return b""
        head, rest = bytes(self._head[: end.end()]), bytes(self._head[end.end() :])
        self._head.clear()
        if b"upgrade" in head.lower():
            head = UPGRADE.sub(b"x-upgrade", head)
        return head + rest

    def _waits_for_body(self) -> bool:
        cycle = self.cycle
        return not self._in_head and cycle is not None and cycle.more_body and not cycle.response_complete

    def _watch_body(self) -> None:
        self._watch = self.loop.call_later(BODY_WINDOW_S, self._body_is_late, self._received_bytes)

    def _body_is_late(self, before_bytes: int) -> None:
        """A client that is held back by us is not late."""
        self._watch = None
        if not self._waits_for_body():
            return
        if self._received_bytes - before_bytes < BODY_WINDOW_BYTES and not self.flow.read_paused:
            self._cut_off(LATE, f"less than {BODY_WINDOW_BYTES} bytes of its body came in {BODY_WINDOW_S:.0f} s")
        else:
            self._watch_body()

    def _head_is_late(self) -> None:
        self._watch = None
        if self._head or self._received_bytes:
            self._cut_off(LATE, f"its headers did not come within {HEAD_TIMEOUT_S:.0f} s")
        else:
            self.transport.close()  # a browser opens connections that it may need

    def _cut_off(self, response: bytes, reason: str) -> None:
        log.info("a client at %s is cut off: %s", self.client, reason)
        self.transport.write(response)
        self.transport.close()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
