"""A request as it came, for a function that is more than a job: it takes what is no event, or shows pages.

    handle = request_function(respond, body_limit_bytes=...)

The target is served as those of `functions.runtime.adapter` are: without a web framework, or by Flask.
"""

import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from functions.runtime.adapter import SIDE_ROUTE, Body, Response, refusal, side_route

if TYPE_CHECKING:
    import flask

log = logging.getLogger("errands.function")

RESPOND: Final = "respond"  # what such a target has beside itself: the way without a web framework
BODY_LIMIT: Final = "body_limit_bytes"
CHUNK_BYTES: Final = 1 << 20


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
    side_route: Callable[[str, str], Response | None] = side_route,
) -> Callable[["flask.Request"], "flask.Response"]:
    """The target for a function that takes requests; `aside` answers, from the method and the path, what is none."""

    def respond_always(request: Request) -> Response:
        try:
            return respond(request)
        except Exception as error:  # as in functions.runtime.adapter: where a bug becomes an answer
            log.exception("the function has a bug")
            return refusal(error)

    def handle(request: "flask.Request") -> "flask.Response":
        import flask

        response = side_route(request.method, request.path) or respond_always(_of_flask(request, body_limit_bytes))
        made = flask.Response(response.body, response.status, dict(response.headers))
        for cookie in response.cookies:
            made.headers.add("set-cookie", cookie)
        return made

    setattr(handle, RESPOND, respond_always)
    setattr(handle, SIDE_ROUTE, side_route)
    setattr(handle, BODY_LIMIT, body_limit_bytes)
    return handle


def _of_flask(request: "flask.Request", limit_bytes: int) -> Request:
    body = _flask_body(request, limit_bytes)
    return Request(
        method=request.method,
        path=request.path,
        query=request.query_string.decode("latin-1"),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body.content,
        whole=body.fault is None,
    )


def _flask_body(request: "flask.Request", limit_bytes: int) -> Body:
    """As much of the body as is taken; it never fails."""
    request.max_content_length = None  # werkzeug would raise
    chunks, size_bytes, fault = [], 0, None
    try:
        while size_bytes <= limit_bytes and (chunk := request.stream.read(CHUNK_BYTES)):
            chunks.append(chunk)
            size_bytes += len(chunk)
    except Exception:  # the server's own for a broken connection, werkzeug's for one that ended too soon
        request.stream = io.BytesIO()  # functions-framework reads again after the answer, which would fail again
        fault = "the connection broke"
    if size_bytes > limit_bytes:
        fault = f"the body must be at most {limit_bytes} bytes"
    elif request.content_length not in (None, size_bytes):
        fault = f"the body must come whole: {request.content_length} bytes, got {size_bytes}"
    return Body(b"".join(chunks)[:limit_bytes], fault)
