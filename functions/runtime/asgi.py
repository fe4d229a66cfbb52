"""ASGI as the functions and the runner use it: a body read to its end or its limit, an answer sent as a whole."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from events.http import BODY_LIMIT_BYTES
from events.problem import NotAnEvent

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# with it comes the secret of who calls a function, where the function was given one (functions/runtime/server.py)
INVOKER_HEADER: Final = "errands-invoker"
BROKEN: Final = "errands.broken"  # a server says so in the scope of a request whose body ends before its end
DISCARDED_BYTES: Final = 256 * 1024 * 1024  # of a body over the limit, before it is answered


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body; its beginning, and the `fault`, where it did not come whole or is over the limit."""

    content: bytes
    fault: str | None = None

    def whole(self) -> bytes:
        """The content; raise NotAnEvent when it did not come whole or is over the limit."""
        if self.fault is not None:
            raise NotAnEvent(self.fault)
        return self.content


async def read_body(
    receive: Receive, *, limit_bytes: int = BODY_LIMIT_BYTES, discarded_bytes: int = DISCARDED_BYTES
) -> Body:
    """What ASGI's `receive` brings; of what is over the limit `discarded_bytes` are taken, and forgotten."""
    chunks: list[bytes] = []
    size_bytes, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return Body(b"".join(chunks), "the body must come whole: the connection was closed")
        chunks.append(message.get("body", b""))
        size_bytes += len(chunks[-1])
        more = message.get("more_body", False)
        if size_bytes > limit_bytes:
            await _discard(receive, discarded_bytes if more else 0)
            return Body(b"".join(chunks)[:limit_bytes], f"the body must be at most {limit_bytes} bytes")
    return Body(b"".join(chunks))


async def _discard(receive: Receive, limit_bytes: int) -> None:
    """Take the rest and forget it: a client that is still sending when its connection is closed sees no answer."""
    while limit_bytes > 0:
        message = await receive()
        limit_bytes -= len(message.get("body", b""))
        if not message.get("more_body", False):
            return


async def send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """An answer that is here as a whole, by ASGI's `send`."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
