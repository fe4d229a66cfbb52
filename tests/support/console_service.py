"""The operators' Service in this process, as a WSGI application: from a request to its `respond` and back."""

import importlib.util
from collections.abc import Iterable
from typing import Any

from werkzeug.wrappers import Request as HttpRequest
from werkzeug.wrappers import Response as HttpResponse

from functions.runtime.request import Request
from tests.support.local_runner import ROOT

SOURCE = ROOT / "functions/console/main.py"


class ConsoleService:
    """A console with the environment of now; `module` is its main.py, executed anew."""

    def __init__(self) -> None:
        spec = importlib.util.spec_from_file_location("console_main", SOURCE)
        assert spec
        assert spec.loader
        self.module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        response = self.module.respond(_read(HttpRequest(environ)))
        made = HttpResponse(response.body, response.status, dict(response.headers))
        for cookie in response.cookies:
            made.headers.add("set-cookie", cookie)
        return made(environ, start_response)


def _read(request: HttpRequest) -> Request:
    return Request(
        method=request.method,
        path=request.path,
        query=request.query_string.decode("latin-1"),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.get_data(),
        whole=True,
    )
