"""The subscriber of every Trigger: an HTTP server in the test's process that answers as the test has written down.

The Go dispatchers post to it straight. The runner starts functions by itself, so its function is `relay.py`, which
passes the request on and gives the answer back as it is.
"""

import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.local_runner import until


@dataclass(frozen=True)
class Response:
    """What is answered to one attempt; `hang_up` closes the connection instead; `until`, `after_s` wait before."""

    status: int = 202
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang_up: bool = False
    until: threading.Event | None = None
    after_s: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """One request that came; `at_s` is monotonic, `service` the function that it was for."""

    service: str
    at_s: float
    headers: Mapping[str, str]
    body: bytes

    def attribute(self, name: str) -> str | None:
        """An attribute of the event, as its header says."""
        return self.headers.get("ce-" + name)


class Subscriber(ThreadingHTTPServer):
    """Scripts and attempts by event id; the last answer of a script is given again and again."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._lock = threading.Lock()
        self._scripts: dict[tuple[str, str], list[Response]] = {}
        self._attempts: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
        self.sequence: list[tuple[str, str]] = []  # (service, id), in the order of arrival
        self.patience_s = 0.0  # how long it waits at least, whatever a test asks for

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def response(self, id_: str, *responses: Response, service: str = "worker") -> None:
        """Write down what this event's attempts are answered."""
        self._scripts[service, id_] = list(responses)

    def attempts(self, id_: str, *, service: str = "worker") -> list[Attempt]:
        """The attempts so far."""
        with self._lock:
            return list(self._attempts[service, id_])

    def wait(self, id_: str, count: int = 1, *, service: str = "worker", timeout_s: float = 8) -> list[Attempt]:
        """Wait for so many attempts."""
        until(
            lambda: len(self.attempts(id_, service=service)) >= count,
            timeout_s=max(timeout_s, self.patience_s),
            what=f"attempt {count} of {id_} at {service}, which has {len(self.attempts(id_, service=service))},",
        )
        return self.attempts(id_, service=service)

    def dead_letter(self, id_: str, *, timeout_s: float = 5) -> Attempt:
        """The dead letter of an event, as the sink got it."""
        return self.wait(id_, service="sink", timeout_s=timeout_s)[0]

    def dead_letters(self, ids: Sequence[str], *, timeout_s: float = 5) -> list[Attempt]:
        """The dead letters of several events."""
        until(
            lambda: all(self.attempts(each, service="sink") for each in ids),
            timeout_s=max(timeout_s, self.patience_s),
            what=f"the dead letters of {', '.join(ids)}",
        )
        return [self.attempts(each, service="sink")[0] for each in ids]

    def take(self, attempt: Attempt) -> Response:
        """Note an attempt; returns its answer."""
        key = (attempt.service, attempt.attribute("id") or "")
        with self._lock:
            self._attempts[key].append(attempt)
            self.sequence.append(key)
            script = self._scripts.get(key) or [Response()]
            return script[min(len(self._attempts[key]), len(script)) - 1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A peer was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Subscriber

    def do_POST(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = self.server.take(Attempt(self.path.strip("/"), time.monotonic(), headers, body))
        if response.until:
            response.until.wait(60)
        time.sleep(response.after_s)
        if response.hang_up:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    def _body(self) -> bytes:
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        chunks = []
        while size_bytes := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size_bytes))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class' name
        return


@contextmanager
def subscriber() -> Iterator[Subscriber]:
    """A running one."""
    server = Subscriber()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
