"""A real HTTP server in the place of a chat's webhook."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer


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

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class' name
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    hook.url = f"http://127.0.0.1:{server.server_port}/T000/a-secret"
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
