"""A target of `events.function` or `events.batch` as an ASGI application, without a web framework around it.

Decided 2026-11-27: a target stays an ordinary one of functions-framework, which loads it and can serve it by Flask or
Starlette; `functions.serve` takes this way. Of what a no-op job cost a function, some 550 us of processor time,
gunicorn's threads and Flask took two thirds; this way it costs 130 to 250 us, and is answered in half the time.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from events.function import ASIDE, ATTEMPT_HEADER, DELIVER, Answer, Receive, read_body
from events.http import Event, read

Send = Callable[[dict[str, Any]], Awaitable[None]]


def is_target(function: object) -> bool:
    """Whether it can be served so: a target of another making is functions-framework's own matter."""
    return hasattr(function, DELIVER) and hasattr(function, ASIDE)


class Application:
    """Answers deliveries by a target: one that waits on I/O in the loop, any other in one of `threads` threads."""

    def __init__(self, target: object, *, threads: int) -> None:
        self._aside: Callable[[str, str], Answer | None] = getattr(target, ASIDE)
        self._deliver: Callable[[Callable[[], Event], str | None], Any] = getattr(target, DELIVER)
        self._waits_on_io = inspect.iscoroutinefunction(self._deliver)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="job")

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request (ASGI 3.0, HTTP)."""
        answer = self._aside(scope["method"], scope["path"]) or await self._answer(scope, receive)
        headers = {**answer.headers, "content-length": str(len(answer.body))}
        encoded = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: dict[str, Any], receive: Receive) -> Answer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body, attempt = await read_body(receive), headers.get(ATTEMPT_HEADER)

        def read_event() -> Event:
            return read(headers, body.whole())

        answer: Answer
        if self._waits_on_io:
            answer = await self._deliver(read_event, attempt)
        else:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._threads, self._deliver, read_event, attempt)
        return answer
