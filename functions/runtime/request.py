"""A request as it came, for a function that is more than a job: it takes what is no event, or shows pages.

handle = request_function(respond, body_limit_bytes=...)
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from functions.runtime.adapter import Function, Response, Target, refusal, side_route, target
from functions.runtime.asgi import Body, Scope
from functions.runtime.threads import in_thread

STRANGER_BYTES: Final = 16_384

log = logging.getLogger("errands.function")


@dataclass(frozen=True, slots=True)
class Request:
    """What came over HTTP. `headers` has names in lower case, and joins by a comma what came more than once.

    Where it is not `whole`, `body` is its beginning: it was broken off, or is over the limit.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    whole: bool


def request_function(
    respond: Callable[[Request], Response],
    *,
    body_limit_bytes: int,
    knows: Callable[[Mapping[str, str], str], bool] = lambda headers, path: True,
    side_route: Callable[[str, str], Response | None] = side_route,
) -> Target:
    """The target for a function that takes requests, in one of the threads (threads.py).

    `side_route` answers in the loop, from the method and the path, what is no request for the function. Of who is not
    one that it `knows`, by headers and path, no more than STRANGER_BYTES are kept: such a body is not whole.
    """

    def respond_always(request: Request) -> Response:
        try:
            return respond(request)
        except Exception as error:  # as in functions.runtime.adapter: where a bug becomes an answer
            log.exception("the function has a bug")
            return refusal(error)

    async def answer(scope: Scope, body: Body) -> Response:
        return await in_thread(respond_always, _request(scope, body))

    def limit_bytes(scope: Scope) -> int:
        return body_limit_bytes if knows(_headers(scope), scope["path"]) else STRANGER_BYTES

    return target(Function(answer, side_route=side_route, body_limit_bytes=limit_bytes))


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]):
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _request(scope: Scope, body: Body) -> Request:
    query = scope["query_string"].decode("latin-1")
    return Request(scope["method"], scope["path"], query, _headers(scope), body.content, whole=body.fault is None)
