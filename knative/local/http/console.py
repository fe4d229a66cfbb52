"""`/dead` on the runner's own port: the operators' Service, as a cluster's ingress gateway would reach it."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from events.problem import NotAnEvent
from functions.net.client import Connections
from functions.net.exchange import Bounds, Broken, Late, NotConnected, ServerResponse, TooLong
from functions.net.url import parsed
from functions.runtime.asgi import INVOKER_HEADER, read_body
from functions.runtime.request import STRANGER_BYTES
from knative.local.http.gate import ConsoleGate
from knative.local.http.guesses import Guesses, unauthorized
from knative.local.http.proxies import TrustedProxies
from knative.local.http.server import Application, IngressRequest, IngressResponse
from knative.local.process.processes import Pool, PoolStopping, StartFailed

log = logging.getLogger("errands.console")

SERVICE: Final = "console"
TIMEOUT_S: Final = 120.0
BODY_LIMIT_BYTES: Final = 32 * 1024 * 1024
RESPONSE_LIMIT_BYTES: Final = 1024 * 1024 * 1024  # an export
STRANGERS: Final = 4  # who are on their way to sign in, at a time
# of one connection, and not of the request or the answer (RFC 9110 section 7.6.1)
HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "expect", "host"}
) | {INVOKER_HEADER}
OPEN: Final = ConsoleGate(dict)


class ConsoleProxy:
    """Hands requests on to the Service, once `gate` knows who asks.

    It keeps no connection open: one that a process which is being replaced closes would fail the next request.
    """

    def __init__(
        self,
        pools: Mapping[str, Pool],
        secret: str = "",
        *,
        gate: ConsoleGate = OPEN,
        proxies: TrustedProxies | None = None,
        guesses: Guesses | None = None,
    ) -> None:
        self._pools = pools
        self._own = {INVOKER_HEADER: secret}
        self._gate = gate
        self._proxies = proxies or TrustedProxies()
        self._guesses = guesses or Guesses()
        self._connections = Connections(bounds=Bounds(body_bytes=RESPONSE_LIMIT_BYTES, idle_s=0.0))
        self._strangers = 0

    async def handle(self, request: IngressRequest) -> Application:
        """One request."""
        headers = _end_to_end(self._proxies.told(request, self._gate.operator_header))
        if self._gate.knows(headers):
            return await self._handed_on(request, headers, BODY_LIMIT_BYTES)
        if not self._gate.is_for_anybody(request):
            return await self._turned_away(request)
        if self._strangers >= STRANGERS:
            return IngressResponse(503, b"many are about to sign in: try again\n", {"retry-after": "5"})
        self._strangers += 1
        try:
            return await self._handed_on(request, headers, STRANGER_BYTES)
        finally:
            self._strangers -= 1

    async def _turned_away(self, request: IngressRequest) -> IngressResponse:
        sign_in = self._gate.sign_in_url(request)
        if sign_in is not None:
            return IngressResponse(303, b"", {"location": sign_in, "cache-control": "no-store"})
        if "authorization" in request.headers:
            return await self._guesses.refuse(self._proxies.client(request))
        return unauthorized()

    async def _handed_on(self, request: IngressRequest, headers: Mapping[str, str], limit_bytes: int) -> Application:
        try:  # whole, before a process is kept for it
            body = (await read_body(request.receive, limit_bytes=limit_bytes, discarded_bytes=0)).whole()
        except NotAnEvent as error:
            return IngressResponse(413, f"{error}\n".encode())
        try:
            async with self._pools[SERVICE].lease() as process:
                return _passed(await self._asked(request, headers, body, process.url))
        except ValueError as error:  # what no request of ours may hold
            return IngressResponse(400, f"{error}\n".encode())
        except (StartFailed, PoolStopping, Broken, NotConnected, Late, TooLong) as error:
            log.error("the console of dead letters does not answer: %s", error or type(error).__name__)
            return IngressResponse(503, b"the console of dead letters does not answer\n")

    async def _asked(
        self, request: IngressRequest, headers: Mapping[str, str], body: bytes, url: str
    ) -> ServerResponse:
        method = "GET" if request.method == "HEAD" else request.method  # the server leaves the body out
        host = request.headers.get("host", "")
        place = replace(parsed(url), target=request.target)
        place = replace(place, authority=host) if host else place  # a name that is not this machine's is refused there
        return await self._connections.request(method, place, {**headers, **self._own}, body, timeout_s=TIMEOUT_S)


def _passed(response: ServerResponse) -> IngressResponse:
    """The Service's answer, as it is."""
    kept = {name: value for name, value in response.headers.items() if name not in HOP_BY_HOP}
    return IngressResponse(response.status, response.body, kept)


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By their names; what came more than once as one (RFC 9110 section 5.3, of cookies RFC 6265 section 5.4)."""
    kept: dict[str, str] = {}
    for name, value in ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers):
        if name not in HOP_BY_HOP:
            between = "; " if name == "cookie" else ", "
            kept[name] = f"{kept[name]}{between}{value}" if name in kept else value
    return kept
