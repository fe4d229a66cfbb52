"""Hands a request of a port on to another server of this machine, and its answer back, as they are."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from functions.runtime.asgi import INVOKER_HEADER, Receive, Send, read_body, send_whole
from functions.runtime.port import IngressRequest

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 120.0
BODY_LIMIT_BYTES: Final = 32 * 1024 * 1024
# of one connection, and not of the request or the answer (RFC 9110 section 7.6.1)
HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"content-length", b"expect"}
) | {INVOKER_HEADER.encode()}


class NoAnswer(Exception):
    """The server cannot be reached, or does not answer."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The server's answer, as it is."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def __call__(self, _scope: dict[str, Any], _receive: Receive, send: Send) -> None:
        """Send it (ASGI 3.0)."""
        await send_whole(send, self.status, self.headers, self.body)


class Proxy:
    """One client for the process' life, made when it is first needed: httpx is a large import."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def forward(self, request: IngressRequest, url: str, own: Mapping[str, str] = MappingProxyType({})) -> Passed:
        """The answer of the server at `url`, to the request with our `own` headers; raise NotAnEvent for a body that is
        too long or did not come whole, NoAnswer.
        """
        import httpx

        body = (await read_body(request.receive, limit_bytes=BODY_LIMIT_BYTES)).whole()
        sent = [(name.encode(), value.encode()) for name, value in own.items()]
        kept = [(name, value) for name, value in _end_to_end(request.raw_headers) if name.decode("latin-1") not in own]
        client = self._client = self._client or _new_client()
        place = f"{url.rstrip('/')}{request.target}"
        try:
            async with client.stream(request.method, place, headers=[*kept, *sent], content=body) as response:
                content = b"".join([chunk async for chunk in response.aiter_raw()])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error
        length = (b"content-length", b"%d" % len(content))
        return Passed(response.status_code, [*_end_to_end(response.headers.raw), length], content)


def _new_client() -> "httpx.AsyncClient":
    """It speaks to a process of this machine, so it reads no certificates, and it keeps no connection open: one that a
    process which is being replaced closes would fail the next request.
    """
    import httpx

    limits = httpx.Limits(max_keepalive_connections=0)
    without_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, limits=limits, verify=without_certificates)


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers if name.lower() not in HOP_BY_HOP]
