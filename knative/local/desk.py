"""`/dead` on the runner's own port: the operators' Service, as a cluster's ingress gateway would reach it."""

import logging
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp import web

from knative.local.processes import Pool, PoolStopping, StartFailed

log = logging.getLogger("errands.desk")

SERVICE: Final = "deadletters-desk"
TIMEOUT_S: Final = 120.0
BODY_LIMIT_BYTES: Final = 32 * 1024 * 1024
# of one connection, and not of the request or the answer (RFC 9110 section 7.6.1)
HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"}
)


class Desk:
    """Hands requests on to the Service, which decides itself who may ask."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        try:
            async with self._pools[SERVICE].lease() as process:
                return await _forward(request, process.url.rstrip("/"))
        except (StartFailed, PoolStopping, aiohttp.ClientError, TimeoutError) as error:
            log.error("the desk of dead letters does not answer: %s", error or type(error).__name__)
            return web.Response(status=503, text="the desk of dead letters does not answer\n")


async def _forward(request: web.Request, url: str) -> web.StreamResponse:
    body = await request.clone(client_max_size=BODY_LIMIT_BYTES).read()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
        session.request(
            request.method,
            f"{url}{request.path_qs}",
            data=body,
            headers=_end_to_end(request.headers),
            allow_redirects=False,
        ) as answer,
    ):
        return web.Response(status=answer.status, body=await answer.read(), headers=_end_to_end(answer.headers))


def _end_to_end(headers: Mapping[str, str]) -> "aiohttp.typedefs.LooseHeaders":
    return [(name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP]
