"""What else people find at the gateway's address on one machine: the console, and what the runner says of itself.

On a cluster an HTTPRoute leads to the console, and monitors ask each part by itself.
"""

import logging
from collections.abc import Mapping
from typing import Final

from events.problem import NotAnEvent
from functions.runtime.asgi import read_body
from functions.runtime.port import Application, IngressRequest, IngressResponse, problem
from functions.runtime.proxy import ASKING, BODY_LIMIT_BYTES, CLIENT, SECRET, NoAnswer, Proxy, end_to_end
from functions.runtime.request import STRANGER_BYTES

log = logging.getLogger("errands.gateway")

CONSOLE: Final = "/console/"
CONSOLES: Final = ("dead", "console", "mail")  # each has its own way to know its operators


class Behind:
    """The runner's own address, and the secret by which it knows the gateway."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._proxy = Proxy()

    async def console(self, request: IngressRequest) -> Application:
        """The console's answer, which knows itself who may ask; no more than a form is read of who may not."""
        told = {**end_to_end(request.raw_headers), SECRET: self._token, CLIENT: request.client}
        if _may_be_long(request):
            answer = await self._forwarded(request, {**told, ASKING: "yes"}, b"")
            if answer.status != 204:
                return answer
        return await self._handed_on(request, told)

    async def runner(self, request: IngressRequest) -> IngressResponse:
        """The runner's answer, to one whom the gateway knows."""
        own = {"authorization": f"Bearer {self._token}"}
        return await self._forwarded(request, {**end_to_end(request.raw_headers), **own}, b"")

    async def _handed_on(self, request: IngressRequest, headers: Mapping[str, str]) -> Application:
        try:
            limit_bytes = BODY_LIMIT_BYTES if _may_be_long(request) else STRANGER_BYTES
            body = (await read_body(request.receive, limit_bytes=limit_bytes, discarded_bytes=0)).whole()
        except NotAnEvent as error:  # it is too long, or did not come whole
            return problem(413, "too-large", str(error))
        return await self._forwarded(request, headers, body)

    async def _forwarded(self, request: IngressRequest, headers: Mapping[str, str], body: bytes) -> IngressResponse:
        try:
            return await self._proxy.forward(request, headers, body, self._url)
        except ValueError as error:  # what no request of ours may hold
            return problem(400, "bad-request", str(error))
        except NoAnswer as error:
            log.error("what is behind the gateway does not answer: %s", error)
            return problem(503, "unavailable", "the runner does not answer", {"retry-after": "5"})


def _may_be_long(request: IngressRequest) -> bool:
    """Whether its body is longer than a form, or of no length that was told."""
    length = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or not length.isdigit() or int(length) > STRANGER_BYTES


def is_of_a_console(path: str) -> bool:
    """Whether a path is one of the operators'."""
    return path.partition("/")[2].partition("/")[0] in CONSOLES
