"""From the runtime's request to the console's Flask application and back."""

import io
from contextlib import closing
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from werkzeug.test import EnvironBuilder, run_wsgi_app

from functions.runtime.adapter import Response
from functions.runtime.request import Request

if TYPE_CHECKING:
    import flask

OF_THE_BODY: Final = ("content-type", "content-length", "transfer-encoding")  # which is here by now
NAMELESS: Final = "http://console/"  # of a request without a Host: no name of the loopback


def answer(app: "flask.Flask", request: Request) -> Response:
    """The application's response to a request."""
    with closing(_environment(request)) as environment:
        chunks, status, headers = run_wsgi_app(app.wsgi_app, environment.get_environ(), buffered=True)
        body = b"".join(chunks)
    cookies = tuple(headers.getlist("set-cookie"))
    for name in ("set-cookie", "content-length"):
        headers.remove(name)
    return Response(int(status.split()[0]), {name.lower(): value for name, value in headers}, body, cookies)


def _environment(request: Request) -> EnvironBuilder:
    """The request as WSGI has it (PEP 3333). A body that is not whole has a length that says so, and is refused.

    A header's name with an underscore is left out, as gunicorn and nginx do: `x_user` would pass for the `X-User` of
    an authenticating proxy.
    """
    return EnvironBuilder(
        method=request.method,
        base_url=NAMELESS,
        path=quote(request.path, errors="replace"),
        query_string=request.query.encode("latin-1", errors="replace").decode(errors="replace"),
        headers=[
            (name, value) for name, value in request.headers.items() if "_" not in name and name not in OF_THE_BODY
        ],
        content_type=request.headers.get("content-type"),
        input_stream=io.BytesIO(request.body),
        environ_overrides={"CONTENT_LENGTH": str(len(request.body) + (not request.whole))},
        multithread=True,
    )
