"""One connection to the runner's port: what a slow, idle or half-hearted client costs is bounded, and only it pays.

uvicorn knows no limit for a head, in bytes or in time, none for a body that stops coming, and loses the body of a
request that offers another protocol (`Upgrade: h2c`, as the JDK's client and `curl --http2` do): llhttp skips it. It
waits for ever for a client that reads no answer, and goes on taking a body that was answered already.
"""

import asyncio
import logging
import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from functions.runtime.places import Places

log = logging.getLogger("errands.ingress")

# An event's attributes may have 64 KiB and more when they are encoded.
HEAD_LIMIT_BYTES: Final = 256 * 1024
HEAD_TIMEOUT_S: Final = 10.0  # from the connection, or a request's first byte, to the end of its head
BODY_WINDOW_S: Final = 10.0  # within each, at least
BODY_WINDOW_BYTES: Final = 10 * 1024  # of a body must come
BODY_WINDOWS: Final = 30  # in which it must be whole
UNREAD_BYTES: Final = 1024 * 1024  # of a body that come after the answer: who sends more is cut off
WRITE_WINDOW_S: Final = 20.0  # within each, at least
WRITE_WINDOW_BYTES: Final = 20 * 1024  # of an answer must be taken
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
    """Limits the connections, the head, and the pace of body and answer."""

    def __init__(self, *, places: Places, **given: Any) -> None:
        super().__init__(**given)
        self._places = places
        self._head = bytearray()
        self._in_head = True
        self._received_bytes = 0
        self._unread_bytes = 0
        self._body_windows = 0
        self._watch: asyncio.TimerHandle | None = None
        self._write_watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take it, where there is a place."""
        super().connection_made(transport)
        if not self._places.enter(self, self.client[0] if self.client else ""):
            self._cut_off(BUSY, "there are too many connections")
        else:
            self._watch = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._unwatch()
        self._places.leave(self)
        if self._write_watch is not None:
            self._write_watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand a head on when it is whole, a body as it comes."""
        self._received_bytes += len(data)
        if self._in_head:
            data = self._whole_head(data)
            if not data:
                return
        super().data_received(data)
        if not self._in_head and self._watch is None:
            self._watch_body()
        self._count_unread(len(data))

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True
        self._unread_bytes = self._body_windows = 0

    def on_headers_complete(self) -> None:
        """Its head is whole; the watch goes on with its body."""
        self._in_head = False
        self._unwatch()
        self._places.work(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole; what comes next is a head."""
        self._in_head = True
        self._unwatch()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is given, which is not to say that it was taken."""
        super().on_response_complete()
        self._watch_writing()
        if self.cycle is None or self.cycle.response_complete:
            self._places.rest(self)

    def pause_writing(self) -> None:
        """The client takes an answer slower than it is made."""
        super().pause_writing()
        self._watch_writing()

    def give_way(self) -> None:
        """Somebody else needs the place, and nothing is asked for on this connection."""
        self.transport.abort()

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

    def _count_unread(self, size_bytes: int) -> None:
        """Of a body that nobody waits for any more not much is taken: enough for a client to come to its answer."""
        if self._in_head or self.cycle is None or not self.cycle.response_complete:
            return
        self._unread_bytes += size_bytes
        if self._unread_bytes > UNREAD_BYTES:
            log.info("a client at %s is cut off: it goes on sending what was answered", self.client)
            self.transport.abort()

    def _watch_body(self) -> None:
        self._watch = self.loop.call_later(BODY_WINDOW_S, self._body_is_late, self._received_bytes)

    def _body_is_late(self, before_bytes: int) -> None:
        """A client that is held back by us is not late."""
        self._watch = None
        if self._in_head:
            return
        self._body_windows += not self.flow.read_paused
        if self._received_bytes - before_bytes < BODY_WINDOW_BYTES and not self.flow.read_paused:
            self._cut_off(LATE, f"less than {BODY_WINDOW_BYTES} bytes of its body came in {BODY_WINDOW_S:.0f} s")
        elif self._body_windows >= BODY_WINDOWS:
            self._cut_off(LATE, f"its body was not whole after {BODY_WINDOWS * BODY_WINDOW_S:.0f} s")
        else:
            self._watch_body()

    def _watch_writing(self) -> None:
        """While the client has something to take; a connection that is to be closed waits for that, too."""
        if self._write_watch is None and (unsent_bytes := self.transport.get_write_buffer_size()):
            self._write_watch = self.loop.call_later(WRITE_WINDOW_S, self._answer_is_late, unsent_bytes)

    def _answer_is_late(self, before_bytes: int) -> None:
        self._write_watch = None
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes and before_bytes - unsent_bytes < WRITE_WINDOW_BYTES:
            log.info("a client at %s is cut off: it does not take its answer", self.client)
            self.transport.abort()
        else:
            self._watch_writing()

    def resume_writing(self) -> None:
        """The client has taken what there was."""
        super().resume_writing()
        if self._write_watch is not None:
            self._write_watch.cancel()
            self._write_watch = None

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
        self._watch_writing()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
