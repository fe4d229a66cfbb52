"""A visit to the console: a word of the HTTP API, or the page; both are written on the requests and responses of Flask.

The console loads this at the first visit, which takes 0.15 s longer for it: Flask, Werkzeug, Jinja and the page are
11 MB that a console without visitors does not need, and most of what was its start.
"""

import io
from dataclasses import dataclass
from typing import Any, Final

import flask
from werkzeug.exceptions import HTTPException

from functions.console.api import Access, respond, response
from functions.console.page import Page
from functions.console.request_context import PREFIX
from functions.console.sessions import Sessions
from functions.deadletters.service.operations import Console
from functions.runtime.adapter import Response
from functions.runtime.request import Request

API: Final = f"{PREFIX}api/"
OF_THE_BODY: Final = ("content-type", "content-length", "transfer-encoding")  # which is here by now


@dataclass(frozen=True, kw_only=True)
class Visitors:
    """Those who come to the console, known by `access`."""

    console: Console
    access: Access
    sessions: Sessions

    def receive(self, request: Request) -> Response:
        """One visit."""
        visit = flask.Request(environ(request))
        try:
            if request.path.startswith(API):
                return response(respond(self.console, self.access, request.path.removeprefix(API), visit))
            return _of_response(Page(console=self.console, access=self.access, sessions=self.sessions).respond(visit))
        except HTTPException as error:  # a body that is too long, for one
            return _of_response(error.get_response(visit.environ))


def environ(request: Request) -> dict[str, Any]:
    """The request as WSGI has it (PEP 3333). A body that is not whole has a length that says so, and is refused.

    A header's name with an underscore is left out, as gunicorn and nginx do: `x_user` would pass for the `X-User` of
    an authenticating proxy.
    """
    headers = {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in request.headers.items()
        if "_" not in name and name not in OF_THE_BODY
    }
    length_bytes = len(request.body) + (not request.whole)
    return {
        **headers,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(length_bytes),
        "SERVER_NAME": "console",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _of_response(response: Any) -> Response:
    cookies = tuple(response.headers.getlist("set-cookie"))
    response.headers.remove("set-cookie")
    response.headers.remove("content-length")
    return Response(response.status_code, dict(response.headers), response.get_data(), cookies)
