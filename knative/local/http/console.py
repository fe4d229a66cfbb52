"""`/dead` and `/console` on the runner's own port: the operators' Service, as a cluster's gateway would reach it."""

import logging
from collections.abc import Mapping
from typing import Final

from events.problem import NotAnEvent
from functions.runtime.asgi import INVOKER_HEADER
from functions.runtime.port import Application, IngressRequest, IngressResponse
from functions.runtime.proxy import NoAnswer, Proxy
from knative.local.process.processes import Pool, PoolStopping, StartFailed

log = logging.getLogger("errands.console")

SERVICE: Final = "console"


class ConsoleProxy:
    """Hands requests on to the Service, which decides itself who may ask."""

    def __init__(self, pools: Mapping[str, Pool], secret: str = "") -> None:
        self._pools = pools
        self._own = {INVOKER_HEADER: secret}
        self._proxy = Proxy()

    async def handle(self, request: IngressRequest) -> Application:
        """One request."""
        try:
            async with self._pools[SERVICE].lease() as process:
                return await self._proxy.forward(request, process.url, self._own)
        except NotAnEvent as error:  # a body that is too long, or did not come whole
            return IngressResponse(413, f"{error}\n".encode())
        except (StartFailed, PoolStopping, NoAnswer) as error:
            log.error("the console does not answer: %s", error or type(error).__name__)
            return IngressResponse(503, b"the console does not answer\n")
