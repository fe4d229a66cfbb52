"""What else people find at the gateway's address on one machine: the console, and what the runner says of itself.

On a cluster an HTTPRoute leads to the console, and monitors ask each part by itself.
"""

import logging
from typing import Final

from events.problem import NotAnEvent
from functions.runtime.port import Application, IngressRequest, problem
from functions.runtime.proxy import NoAnswer, Proxy

log = logging.getLogger("errands.gateway")

CONSOLE: Final = "/console/"
CONSOLES: Final = ("dead", "console")  # each has its own way to know its operators


class Behind:
    """The runner's own address, and the secret by which it knows the gateway."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._own = {"authorization": f"Bearer {token}"}
        self._proxy = Proxy()

    async def console(self, request: IngressRequest) -> Application:
        """The console's answer, which knows itself who may ask."""
        return await self._forwarded(request, {})

    async def runner(self, request: IngressRequest) -> Application:
        """The runner's answer, to one whom the gateway knows."""
        return await self._forwarded(request, self._own)

    async def _forwarded(self, request: IngressRequest, own: dict[str, str]) -> Application:
        try:
            return await self._proxy.forward(request, self._url, own)
        except NotAnEvent as error:  # a body that is too long, or did not come whole
            return problem(413, "too-large", str(error))
        except NoAnswer as error:
            log.error("what is behind the gateway does not answer: %s", error)
            return problem(503, "unavailable", "the runner does not answer", {"retry-after": "5"})


def is_of_a_console(path: str) -> bool:
    """Whether a path is one of the operators'."""
    return path.partition("/")[2].partition("/")[0] in CONSOLES
