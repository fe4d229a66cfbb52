"""`/dead` on the runner's own port: the operators' Service, as a cluster's ingress gateway would reach it."""

import logging
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from events.problem import NotAnEvent
from functions.runtime.asgi import INVOKER_HEADER, Receive, Send, read_body, send_whole
from functions.runtime.port import Application, IngressRequest, IngressResponse
from knative.local.process.processes import Pool, PoolStopping, StartFailed

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("errands.console")

SERVICE: Final = "console"
TIMEOUT_S: Final = 120.0
BODY_LIMIT_BYTES: Final = 32 * 1024 * 1024
# of one connection, and not of the request or the answer (RFC 9110 section 7.6.1)
HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"content-length", b"expect"}
) | {INVOKER_HEADER.encode()}


@dataclass(frozen=True, slots=True)
class Passed:
    """The Service's answer, as it is."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def __call__(self, _scope: dict[str, Any], _receive: Receive, send: Send) -> None:
        """Send it (ASGI 3.0)."""
        await send_whole(send, self.status, self.headers, self.body)


class ConsoleProxy:
    """Hands requests on to the Service, which decides itself who may ask."""

    def __init__(self, pools: Mapping[str, Pool], secret: str = "") -> None:
        self._pools = pools
        self._own = [(INVOKER_HEADER.encode(), secret.encode())]
        self._client: httpx.AsyncClient | None = None

    async def handle(self, request: IngressRequest) -> Application:
        """One request."""
        import httpx  # a large import, which only a request for the console need wait for

        try:
            async with self._pools[SERVICE].lease() as process:
                return await self._forward(request, process.url.rstrip("/"))
        except NotAnEvent as error:  # a body that is too long, or did not come whole
            return IngressResponse(413, f"{error}\n".encode())
        except (StartFailed, PoolStopping, httpx.HTTPError, httpx.InvalidURL) as error:
            log.error("the console of dead letters does not answer: %s", error or type(error).__name__)
            return IngressResponse(503, b"the console of dead letters does not answer\n")

    async def _forward(self, request: IngressRequest, url: str) -> Passed:
        body = (await read_body(request.receive, limit_bytes=BODY_LIMIT_BYTES)).whole()
        headers = [*_end_to_end(request.raw_headers), *self._own]
        client = self._client = self._client or _new_client()
        async with client.stream(request.method, f"{url}{request.target}", headers=headers, content=body) as response:
            content = b"".join([chunk async for chunk in response.aiter_raw()])
            length = (b"content-length", b"%d" % len(content))
            return Passed(response.status_code, [*_end_to_end(response.headers.raw), length], content)


def _new_client() -> "httpx.AsyncClient":
    """One for the runner's life, since anybody may ask, and before the Service knows who.

    It speaks to a process of this machine, so it reads no certificates, and it keeps no connection open: one that a
    process which is being replaced closes would fail the next request.
    """
    import httpx

    limits = httpx.Limits(max_keepalive_connections=0)
    without_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, limits=limits, verify=without_certificates)


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers if name.lower() not in HOP_BY_HOP]
