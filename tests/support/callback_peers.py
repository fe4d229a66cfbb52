"""What the notifier's tests run: notifiers as real processes (`python -m functions.runtime.serve`), and APIs that
they call.
"""

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from events.http import STRUCTURED, Event, binary, read
from tests.support.http_server import http_server
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + base64.b64encode(b"the first secret of the tests").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret that was used before").decode()
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Call:
    """One request that a receiver got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int


@dataclass
class Receiver:
    """An API that is called back; `answer` decides what it says."""

    url: str
    calls: list[Call] = field(default_factory=list)
    response: Callable[[BaseHTTPRequestHandler], None] = lambda handler: say(handler, 204)


def say(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **more: str) -> None:
    handler.send_response(status)
    for name, value in more.items():
        handler.send_header(name.replace("_", "-"), value)
    if status != 204:
        handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def receiving(address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            lowered = {name.lower(): value for name, value in self.headers.items()}
            running.calls.append(Call(self.command, self.path, lowered, body, self.client_address[1]))
            with suppress(ConnectionError):
                running.response(self)

        do_OPTIONS = do_POST  # noqa: N815  # the name that http.server calls

    with http_server(Handler, address, tls=tls) as url:
        running = Receiver(url)
        yield running


@dataclass(frozen=True)
class Notifier:
    """A running notifier; with `callback`, where the events that name no callbackurl ask to be told."""

    url: str
    log: Path
    callback: str | None = None

    def post(self, event: Event) -> httpx.Response:
        if self.callback and "callbackurl" not in event.attributes:
            event = event.with_attributes(callbackurl=self.callback)
        sent, body = binary(event)
        return httpx.post(self.url, headers=sent, content=body, timeout=120)


def start(folder: Path, port: int, settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "FUNCTION_SOURCE": "functions/notifier/main.py",
        "FUNCTION_TARGET": "handle",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        **settings,
    }
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "functions.runtime.serve"], cwd=ROOT, env=environment, stderr=log
        )


@contextmanager
def notifying(**settings: str) -> Iterator[Notifier]:
    """Start a notifier; it may call this machine and knows one secret unless `settings` say otherwise."""
    given = {"CALLBACK_SECRETS": SECRET, "ALLOWED_NETWORKS": "127.0.0.0/8", "STORE_URL": "memory:///", **settings}
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = start(Path(folder), port, given)
        try:
            wait_for_port(process, port, Path(folder) / "log")
            yield Notifier(f"http://127.0.0.1:{port}", Path(folder) / "log")
        finally:
            process.terminate()
            process.wait(60)


def wait_for_port(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    for _ in range(2_400):
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"the notifier ended with {process.wait(0.05)}: {log.read_text()}")
    pytest.fail(f"the notifier does not open its port: {log.read_text()}")


def sample(type_: str = "dev.errands.image.completed.v1", **attributes: str) -> Event:
    text = (ROOT / "events/samples" / f"{type_}.json").read_bytes()
    return read({"content-type": STRUCTURED}, text).with_attributes(**attributes)


def lines(notifier: Notifier) -> list[str]:
    return [json.dumps(json.loads(line)) for line in notifier.log.read_text().splitlines() if line.startswith("{")]
