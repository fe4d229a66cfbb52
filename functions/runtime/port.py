"""A port that people and APIs reach: uvicorn, as for the functions, on a socket that is bound already, with limits.

The gateway's, and the runner's own.
"""

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec
from uvicorn.server import ServerState

from events.http import BODY_LIMIT_BYTES, Event, timestamp
from events.problem import FieldError, JobFailed, NotAnEvent
from functions.runtime.asgi import Receive, Send, read_body, send_whole
from functions.runtime.connection import Connection
from functions.runtime.places import Places
from functions.runtime.server import configured

STOP_S: Final = 30.0  # for the requests in flight
DESCRIPTORS: Final = 65_536
BACKLOG: Final = 1024  # connections that wait to be accepted: asyncio listens again, with 100 unless it is told


Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]  # ASGI 3.0


class IngressRequest:
    """What is asked; the headers' names are in lower case."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]  # decoded
        self.query: str = scope["query_string"].decode("latin-1")
        self.raw_headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.raw_headers}
        self.receive = receive
        self.client: str = (scope.get("client") or ("unknown",))[0]  # the address
        self._raw_path: bytes = scope["raw_path"]

    @property
    def target(self) -> str:
        """Path and query as they were sent."""
        path = self._raw_path.decode("latin-1")
        return f"{path}?{self.query}" if self.query else path


@dataclass(frozen=True, slots=True)
class IngressResponse:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    async def __call__(self, _scope: dict[str, Any], _receive: Receive, send: Send) -> None:
        """Send it (ASGI 3.0)."""
        sent = [(name.encode("ascii"), value.encode("latin-1")) for name, value in self.headers.items()]
        sent.append((b"content-length", b"%d" % len(self.body)))
        await send_whole(send, self.status, sent, self.body)


def problem(
    status: int,
    kind: str,
    detail: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    errors: tuple[FieldError, ...] = (),
) -> IngressResponse:
    """Problem details (RFC 9457)."""
    body = msgspec.json.encode(JobFailed(kind, detail, errors).problem)
    return IngressResponse(status, body, {"content-type": "application/problem+json", **headers})


class TooLarge(NotAnEvent):
    """The body is over the limit."""


async def event_body(request: IngressRequest) -> bytes:
    """The whole body of a request that brings events; raise NotAnEvent."""
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise NotAnEvent(f"content-encoding {coding[:20]!r} is not taken: send the event as it is")
    body = await read_body(request.receive)
    if body.fault and len(body.content) >= BODY_LIMIT_BYTES:
        raise TooLarge(body.fault)
    return body.whole()


def timed(event: Event) -> Event:
    """With a time: the broker gives one that differs from delivery to delivery to an event without."""
    if event.get("time"):
        return event
    return event.with_attributes(time=timestamp(datetime.now(UTC)))


def media_type(request: IngressRequest) -> str:
    """The request's, without parameters."""
    return str(request.headers.get("content-type", "")).split(";")[0].strip().lower()


def is_loopback(address: str) -> bool:
    """Whether it is this machine's: its API's, its functions' and its people's."""
    return address == "::1" or address.startswith("127.")


def descriptors() -> int:
    """How many this process may have open: as many as its user may, where a soft limit of 1,024 is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


class HttpServer:
    """Serves an application on a socket, in the running loop."""

    def __init__(
        self, application: Application, listening: socket.socket, is_of_many: Callable[[str], bool] = is_loopback
    ) -> None:
        """`is_of_many` says of which addresses there may be as many connections as there are places."""
        self._listening = listening
        self._state = ServerState()
        self._config = configured(application, Connection)
        # half of all descriptors: the rest are for functions and the event log
        self.places = Places(descriptors() // 2, is_of_many=is_of_many)

    async def start(self) -> None:
        """Answer from now on."""
        self._config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, sock=self._listening, backlog=BACKLOG)

    def stop(self) -> None:
        """Take no new request, on the connections that are open neither."""
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()

    async def close(self) -> None:
        """Let the requests in flight end, for a while."""
        tasks = set(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                task.cancel()

    def _connection(self) -> Connection:
        return Connection(places=self.places, config=self._config, server_state=self._state, app_state={})
