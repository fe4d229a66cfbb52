"""A real HTTP server in the place of a chat's webhook."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.support.http_server import http_server


@dataclass
class Webhook:
    """What was posted, and what is answered."""

    url: str = ""
    status: int = 200
    posted: list[bytes] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Webhook]:
    """On a free port of this machine."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.posted.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(hook.status)
            self.end_headers()

    with http_server(Handler) as url:
        hook.url = f"{url}/T000/a-secret"
        yield hook
