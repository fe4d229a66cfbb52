"""A function in this process, as `functions.runtime.serve` loads and serves it, with or without a socket."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from functions.runtime import loader
from functions.runtime.server import Protocol, Undiverted, configured
from tests.support.local_runner import until


class FunctionClient:
    """Asks the target `handle` of a file, and gives its answers as they are."""

    def __init__(self, source: Path | str) -> None:
        self.application = Undiverted(*loader.load(str(source), "handle"))

    def get(self, path: str, **given: Any) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, given))

    def post(self, path: str, **given: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, given))

    async def _ask(self, method: str, path: str, given: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **given)


@contextmanager
def serving(source: Path | str, port: int) -> Iterator[str]:
    """The function in a thread of its own, behind a real port; its URL."""
    from uvicorn.server import Server

    application = FunctionClient(source).application
    server = Server(configured(application, Protocol, host="127.0.0.1", port=port))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started, what="the function's port")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
