"""An HTTP/1.1 client: connections are kept open for the next request to the same origin (functions/net/exchange.py)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from functions.net.exchange import Bounds, Broken, ClientConnection, NotConnected, ServerResponse, Stale, head
from functions.net.url import Url

SWEEPS: Final = 4  # in the time that a connection may be idle, which it then exceeds by a quarter at most

Dial = Callable[[Url, Callable[[], ClientConnection]], Awaitable[ClientConnection]]


async def dial(url: Url, connection: Callable[[], ClientConnection]) -> ClientConnection:
    """A connection to wherever the URL leads, without TLS: for URLs of our own making (functions/net/dial.py has the
    others').
    """
    if url.scheme != "http":
        raise ValueError(f"url must be of http, got {url.scheme}")
    _, made = await asyncio.get_running_loop().create_connection(connection, host=url.host, port=url.port)
    return made


class Connections:
    """Connections by origin; as many as there are requests at once."""

    def __init__(self, dial: Dial = dial, bounds: Bounds | None = None) -> None:
        self._dial = dial
        self._bounds = bounds or Bounds()
        self._idle: dict[str, list[ClientConnection]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

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
    ) -> ServerResponse:
        """The request's response; raise Broken or TooLong. When it is cancelled the connection goes with it.

        `timeout_s` covers all of it, `connect_timeout_s` the name, the connection and TLS.

        `again` sends it once more, over a new connection, where a kept one ends before any byte of the response: mostly
        the server has closed it as idle while the request was on its way. It may also have taken the request, so this
        is for requests of which it takes a second one as the same (RFC 9110 9.2.2).
        """
        end_s = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        start = head(method, url, headers, body)
        kept = self._kept(url.origin)
        if kept is not None:
            try:
                return await self._exchange(kept, start, body, end_s)
            except Stale:
                if not again:
                    raise
        return await self._exchange(await self._connected(url, connect_timeout_s, end_s), start, body, end_s)

    def close(self) -> None:
        """Close the connections that are idle."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in [each for kept in self._idle.values() for each in kept]:
            connection.close()

    def forget(self, connection: ClientConnection) -> None:
        """Keep a connection that was closed no longer."""
        kept = self._idle.get(connection.origin, [])
        if connection in kept:
            kept.remove(connection)
        if not kept:
            self._idle.pop(connection.origin, None)

    async def _exchange(
        self, connection: ClientConnection, start: bytes, body: bytes, end_s: float | None
    ) -> ServerResponse:
        try:
            response = await connection.exchange(start, body, end_s)
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            connection.idle_since_s = asyncio.get_running_loop().time()
            self._idle.setdefault(connection.origin, []).append(connection)
            if self._sweeping is None:
                self._sweep_later()
        return response

    def _kept(self, origin: str) -> ClientConnection | None:
        """The connection used last, so that the others grow old."""
        kept = self._idle.get(origin)
        if not kept:
            return None
        connection = kept.pop()
        if connection.idle_since_s >= asyncio.get_running_loop().time() - self._bounds.idle_s and connection.is_open:
            return connection
        connection.close()  # so are those that were used before it, which the next sweep closes
        return None

    def _sweep_later(self) -> None:
        delay_s = max(self._bounds.idle_s / SWEEPS, 0.1)
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

    async def _connected(self, url: Url, connect_timeout_s: float | None, end_s: float | None) -> ClientConnection:
        until_s = None if connect_timeout_s is None else asyncio.get_running_loop().time() + connect_timeout_s
        try:
            async with asyncio.timeout_at(min((each for each in (until_s, end_s) if each), default=None)) as limit:
                return await self._dial(url, lambda: ClientConnection(url.origin, self.forget, self._bounds))
        except OSError as error:  # TimeoutError is one, which the system may say too
            if limit.expired():
                raise NotConnected("no connection in time") from error
            raise Broken(f"{type(error).__name__}: {error}") from error
