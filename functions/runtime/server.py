"""uvicorn, for one application of functions-framework in this one process."""

import asyncio
import contextlib
import hmac
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server as UvicornServer

from functions.runtime.adapter import TAKEN, Function, Response
from functions.runtime.asgi import BROKEN, INVOKER_HEADER, Receive, Scope, Send, send_whole
from functions.runtime.places import Places

Application = Callable[[Scope, Receive, Send], Awaitable[None]]  # ASGI 3.0

# At least a Service's timeoutSeconds: Kubernetes ends the wait itself (terminationGracePeriodSeconds).
STOP_TIMEOUT_S: Final = 600
# Longer than a dispatcher keeps an idle connection (90 s in Go's http.Transport), so that the client closes first.
KEEP_ALIVE_S: Final = 120


class Protocol(HttpToolsProtocol):
    """One connection. A request that has begun is the application's to answer, however it goes on.

    uvicorn answers a broken body with 400, and the broker drops the event; to a client that has only closed its own
    side, it answers nothing.
    """

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's, for what was no request from its first line on."""
        if not self._break_off():
            super().send_400_response(msg)

    def eof_received(self) -> bool:  # type: ignore[override]  # True is asyncio's word for a side that stays open
        """Nothing more comes; the answer may still be waited for."""
        return self._break_off()

    def _break_off(self) -> bool:
        """Have the request in flight be the last; False where there is none."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        cycle.keep_alive = False
        if cycle.more_body:
            cycle.scope[BROKEN] = True  # type: ignore[typeddict-unknown-key]  # our own
            cycle.more_body = False
            cycle.message_event.set()
        return True


class ReservedProtocol(Protocol):
    """One connection to a function that is for its runner: until it has brought the secret, it gives way to others.

    Anybody on the machine can connect to a loopback port, and as often as descriptors last.
    """

    def __init__(self, *, places: Places, secret: bytes, **given: Any) -> None:
        super().__init__(**given)
        self._places = places
        self._secret = secret

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take it; where there is no place, none that lets others wait has it."""
        super().connection_made(transport)
        if not self._places.enter(self, ""):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Its place is free."""
        self._places.leave(self)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """A request of the runner's makes it the runner's connection."""
        if has_secret(self.headers, self._secret):
            self._places.work(self)
        super().on_headers_complete()

    def give_way(self) -> None:
        """Somebody else needs the place."""
        self.transport.abort()


class Undiverted:
    """functions-framework's application, with all that it would answer by itself brought to the function as well.

    It knows seven methods, two paths that are nobody's, and no path with a line break; to a broker its 404 or 405 would
    mean that the event is done with.
    """

    def __init__(self, application: Application, function: Function) -> None:
        self._application = application
        self._function = function

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI 3.0, HTTP)."""

        async def send_of_function(message: MutableMapping[str, Any]) -> None:
            if TAKEN in scope:
                await send(message)

        await self._application(scope, receive, send_of_function)
        if TAKEN not in scope:
            await _send(await self._function.take(scope, receive), send)


async def _send(response: Response, send: Send) -> None:
    headers = [*response.headers.items(), ("content-length", str(len(response.body)))]
    headers += [("set-cookie", cookie) for cookie in response.cookies]
    encoded = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers]
    await send_whole(send, response.status, encoded, response.body)


class Reserved:
    """An application for whoever has the secret that its runner gave both; anybody may ask whether it is well.

    A loopback port is every user's of the machine, and that of a web page by a name that leads there.
    """

    def __init__(self, application: Application, secret: str) -> None:
        self._application = application
        self._secret = secret.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI 3.0, HTTP)."""
        if scope["path"] == "/healthz" or has_secret(scope["headers"], self._secret):
            await self._application(scope, receive, send)
        else:
            await send_whole(send, 403, [(b"content-length", b"0")], b"")


def has_secret(headers: Iterable[tuple[bytes, bytes]], secret: bytes) -> bool:
    """Whether the headers bring the secret."""
    given = next((value for name, value in headers if name == INVOKER_HEADER.encode()), b"")
    return hmac.compare_digest(given, secret)


class Server(UvicornServer):
    """Ends with SIGTERM, when the requests in flight have; what is `beside` it begins before it, and ends after it."""

    def __init__(self, config: Config, beside: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        super().__init__(config)
        self._beside = beside

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        async with self._beside():
            await super().serve(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, which in the end dies of the signal: a stop that was asked for is no failure."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


def serve(application: Application, function: Function, host: str, port: int, *, secret: str = "") -> None:
    """Serve the function by its application until SIGTERM, which lets the jobs in flight end.

    With a `secret`, for whoever sends it along in INVOKER_HEADER.
    """
    served: Application = Undiverted(application, function)
    protocol: Callable[..., HttpToolsProtocol] = Protocol
    if secret:
        served = Reserved(served, secret)
        places = Places(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2, is_of_many=lambda address: True)
        protocol = partial(ReservedProtocol, places=places, secret=secret.encode())
    place: dict[str, Any] = {"host": host, "port": port, "timeout_graceful_shutdown": STOP_TIMEOUT_S}
    Server(configured(served, protocol, **place), function.beside).run()


def configured(application: Any, protocol: Callable[..., HttpToolsProtocol], **more: Any) -> Config:
    """uvicorn's settings, here and in the runner: HTTP alone, and nothing logged but what goes wrong."""
    return Config(
        application,
        http=protocol,  # type: ignore[arg-type]  # what makes one does as well
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        **more,
    )
