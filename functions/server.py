"""uvicorn, for one application of `events.asgi` in this one process.

Decided 2026-11-27: a request that has come as a whole is answered in one write, without ASGI's messages between; see
"What was tried" in tests/bench/README.md. uvicorn reads all requests, and deals with whatever is not as simple.
"""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import Server as UvicornServer

from events.asgi import BROKEN, Application, headers
from events.function import Answer

# At least a Service's timeoutSeconds: Kubernetes ends the wait itself (terminationGracePeriodSeconds).
STOP_TIMEOUT_S: Final = 600
# Longer than a dispatcher keeps an idle connection (90 s in Go's http.Transport), so that the client closes first.
KEEP_ALIVE_S: Final = 120


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    async def run_asgi(self, app: Any) -> None:
        """As uvicorn's, but in one go where all of the request is here, as it nearly always is."""
        if not self._is_whole(app):
            await super().run_asgi(app)
            return
        try:
            answer = await app.answer(self.scope, bytes(self.body))
            if self.flow.write_paused:
                await self.flow.drain()
            if not self.disconnected:
                self._write(answer)
        except BaseException as error:  # a bug of ours: uvicorn logs it, and answers 500
            await super().run_asgi(partial(_fail, error))

    def _is_whole(self, app: Application) -> bool:
        ready = not (self.more_body or self.disconnected or self.waiting_for_100_continue)
        return ready and len(self.body) <= app.limit_bytes and self.scope["method"] != "HEAD"

    def _write(self, answer: Answer) -> None:
        """All of it at once; where uvicorn looks at each header for what may not be in one, this looks at all."""
        names, values = zip(*self.default_headers, *headers(answer), strict=True)
        if HEADER_RE.search(b"".join(names)) or HEADER_VALUE_RE.search(b"".join(values)):
            raise RuntimeError("a header of an answer cannot hold that")
        lines = [name + b": " + value for name, value in zip(names, values, strict=True)]
        if not self.keep_alive:
            lines.append(b"connection: close")
        self.response_started = self.response_complete = True
        self.transport.write(b"".join((STATUS_LINE[answer.status], b"\r\n".join(lines), b"\r\n\r\n", answer.body)))
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class Protocol(HttpToolsProtocol):
    """One connection. A request that has begun is the application's to answer, however it goes on.

    uvicorn answers a broken body with 400, and the broker drops the event; to a client that has only closed its own
    side, it answers nothing.
    """

    def on_headers_complete(self) -> None:
        """As uvicorn's, without what is not asked of it here: WebSockets, a root path, a limit of requests."""
        version = self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        self.scope["path"] = unquote(url.path.decode("ascii"))
        self.scope["raw_path"] = url.path
        self.scope["query_string"] = url.query or b""
        before, self.cycle = self.cycle, self._cycle(keep_alive=version != "1.0" and self.parser.should_keep_alive())
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:  # its turn comes when those before it are answered
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _cycle(self, *, keep_alive: bool) -> Cycle:
        return Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )

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


class Server(UvicornServer):
    """Ends with SIGTERM, when the requests in flight have."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, which in the end dies of the signal: a stop that was asked for is no failure."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        yield


async def _fail(error: BaseException, *_asgi: object) -> None:
    raise error


def serve(application: Application, host: str, port: int) -> None:
    """Until SIGTERM, which lets the jobs in flight end."""
    config = Config(
        application,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    Server(config).run()
