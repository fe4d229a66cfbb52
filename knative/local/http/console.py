"""`/dead` and `/console` on the runner's own port: the operators' Service, as a cluster's gateway would reach it."""

import logging
from collections.abc import Mapping
from typing import Final

from events.problem import NotAnEvent
from functions.runtime.asgi import INVOKER_HEADER, read_body
from functions.runtime.guesses import Guesses, unauthorized
from functions.runtime.port import Application, IngressRequest, IngressResponse
from functions.runtime.proxies import TrustedProxies
from functions.runtime.proxy import ASKING, BODY_LIMIT_BYTES, NoAnswer, Proxy, end_to_end
from functions.runtime.request import STRANGER_BYTES
from knative.local.http.gate import ConsoleGate
from knative.local.process.processes import Pool, PoolStopping, StartFailed

log = logging.getLogger("errands.console")

SERVICE: Final = "console"
STRANGERS: Final = 4  # who are on their way to sign in, at a time
OPEN: Final = ConsoleGate(dict)


class ConsoleProxy:
    """Hands requests on to the Service, once `gate` knows who asks."""

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
        self._proxy = Proxy()
        self._strangers = 0

    async def handle(self, request: IngressRequest) -> Application:
        """One request."""
        headers = end_to_end(self._proxies.told(request, self._gate.operator_header))
        is_known = self._gate.knows(headers)
        if is_known and ASKING in request.headers:
            return IngressResponse(204)
        if is_known:
            return await self._handed_on(request, headers, BODY_LIMIT_BYTES)
        if not self._gate.is_for_anybody(request):
            return await self._turned_away(request)
        if ASKING in request.headers:
            return IngressResponse(413, b"a form of a few fields is expected\n")
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
                return await self._proxy.forward(request, {**headers, **self._own}, body, process.url)
        except ValueError as error:  # what no request of ours may hold
            return IngressResponse(400, f"{error}\n".encode())
        except (StartFailed, PoolStopping, NoAnswer) as error:
            log.error("the console does not answer: %s", error or type(error).__name__)
            return IngressResponse(503, b"the console does not answer\n")
