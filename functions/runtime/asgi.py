"""A target of `functions.runtime.adapter`, `functions.runtime.batch` or `functions.runtime.request` as an ASGI
application, without a web framework.

Decided 2026-11-27: a target stays an ordinary one of functions-framework, which can load it and serve it by Flask or
Starlette; `functions.runtime.serve` takes this way. Of what a no-op job cost a function, some 550 us of processor time,
gunicorn's threads and Flask took two thirds; this way it costs 130 to 250 us, and is answered in half the time.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from events.http import BODY_LIMIT_BYTES, Event, read
from functions.runtime.adapter import ATTEMPT_HEADER, DELIVER, SIDE_ROUTE, Body, Receive, Response, read_body
from functions.runtime.request import BODY_LIMIT, RESPOND, Request

Send = Callable[[dict[str, Any]], Awaitable[None]]

BROKEN: Final = "errands.broken"  # a server says so in the scope of a request whose body ends before its end


def is_target(function: object) -> bool:
    """Whether it can be served so: a target of another making is functions-framework's own matter."""
    return hasattr(function, SIDE_ROUTE) and (hasattr(function, DELIVER) or hasattr(function, RESPOND))


async def send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """An answer that is here as a whole, by ASGI's `send`."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Application:
    """Answers requests by a target: one that waits on I/O in the loop, any other in one of `threads` threads."""

    def __init__(self, target: object, *, threads: int) -> None:
        self._side_route: Callable[[str, str], Response | None] = getattr(target, SIDE_ROUTE)
        self._respond: Callable[[Request], Response] | None = getattr(target, RESPOND, None)
        self._deliver: Callable[[Callable[[], Event], str | None], Any] = getattr(target, DELIVER, None)  # type: ignore[assignment]  # where there is no `respond`
        self._limit_bytes = getattr(target, BODY_LIMIT, BODY_LIMIT_BYTES)
        self._waits_on_io = inspect.iscoroutinefunction(self._deliver)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="job")

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request (ASGI 3.0, HTTP)."""
        response = self._side_route(scope["method"], scope["path"]) or await self._response(scope, receive)
        headers = [*response.headers.items(), ("content-length", str(len(response.body)))]
        headers += [("set-cookie", cookie) for cookie in response.cookies]
        encoded = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers]
        await send_whole(send, response.status, encoded, response.body)

    async def _response(self, scope: dict[str, Any], receive: Receive) -> Response:
        body = await read_body(receive, limit_bytes=self._limit_bytes)
        if BROKEN in scope:
            body = Body(body.content, body.fault or "the body must come whole: the connection was closed, or broke")
        if self._respond is not None:
            return await self._in_thread(self._respond, _request(scope, body))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        attempt = headers.get(ATTEMPT_HEADER)

        def read_event() -> Event:
            return read(headers, body.whole())

        if self._waits_on_io:
            response: Response = await self._deliver(read_event, attempt)
            return response
        return await self._in_thread(self._deliver, read_event, attempt)

    async def _in_thread(self, work: Callable[..., Response], *arguments: object) -> Response:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _request(scope: dict[str, Any], body: Body) -> Request:
    headers: dict[str, str] = {}
    for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]):
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    query = scope["query_string"].decode("latin-1")
    return Request(scope["method"], scope["path"], query, headers, body.content, whole=body.fault is None)
