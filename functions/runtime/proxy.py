"""Hands a request of a port on to another server of this machine, and its answer back, as they are.

The other server may be a port of ours that asks who sends it. It is told, and believes it with the secret of both.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from functions.net.client import Connections
from functions.net.exchange import Bounds, Broken, Late, NotConnected, TooLong
from functions.net.url import parsed
from functions.runtime.asgi import INVOKER_HEADER
from functions.runtime.port import IngressRequest, IngressResponse

TIMEOUT_S: Final = 120.0
BODY_LIMIT_BYTES: Final = 32 * 1024 * 1024
RESPONSE_LIMIT_BYTES: Final = 1024 * 1024 * 1024  # an export
SECRET: Final = "errands-port-secret"  # noqa: S105  # the header's name
CLIENT: Final = "errands-port-client"  # the address of who sent it to the first port
ASKING: Final = "errands-port-asking"  # whether a body that is long would be read at all: it is not sent along
# of one connection, and not of the request or the answer (RFC 9110 section 7.6.1)
HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "expect", "host"}
) | {INVOKER_HEADER, SECRET, CLIENT, ASKING}


class NoAnswer(Exception):
    """The server cannot be reached, or does not answer."""


class Proxy:
    """It keeps no connection open: one that a process which is being replaced closes would fail the next request."""

    def __init__(self) -> None:
        self._connections = Connections(bounds=Bounds(body_bytes=RESPONSE_LIMIT_BYTES, idle_s=0.0))

    async def forward(
        self, request: IngressRequest, headers: Mapping[str, str], body: bytes, url: str
    ) -> IngressResponse:
        """The answer of the server at `url`; raise NoAnswer, and ValueError for what no request of ours may hold."""
        method = "GET" if request.method == "HEAD" else request.method  # the server leaves the body out
        host = request.headers.get("host", "")
        place = replace(parsed(url), target=request.target)
        place = replace(place, authority=host) if host else place  # a name that is not this machine's is refused there
        try:
            answer = await self._connections.request(method, place, headers, body, timeout_s=TIMEOUT_S)
        except (Broken, NotConnected, Late, TooLong) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error
        kept = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
        return IngressResponse(answer.status, answer.body, kept)


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By their names; what came more than once as one (RFC 9110 section 5.3, of cookies RFC 6265 section 5.4)."""
    kept: dict[str, str] = {}
    for name, value in ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers):
        if name not in HOP_BY_HOP:
            between = "; " if name == "cookie" else ", "
            kept[name] = f"{kept[name]}{between}{value}" if name in kept else value
    return kept


def sent_by(request: IngressRequest, secret: str) -> IngressRequest:
    """The request with the client that the first port tells, where one of ours has handed it on."""
    given = request.headers.get(SECRET, "")
    if given and hmac.compare_digest(given.encode(), secret.encode()):
        request.client = request.headers.get(CLIENT, request.client)
    return request
