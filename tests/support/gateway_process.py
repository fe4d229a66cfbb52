"""A gateway in a process of its own, as a container has it, and a broker's ingress that keeps what it is given."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx

from events.http import STRUCTURED, Event, read
from tests.support.http_server import http_server
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port

FOREIGN = "shop.picture.requested.v1"
ROUTES = {
    "routes": [
        *(
            {"name": job, "filter": {"type": f"dev.errands.{job}.requested.v1"}, "deadline_s": 60.0}
            for job in ("ics", "image", "message", "report")
        ),
        {"name": "picture", "filter": {"type": FOREIGN}, "deadline_s": 60.0},
        {"name": "notifier-completed", "filter": {"outcome": "completed"}, "deadline_s": 60.0},
    ],
    "schemas": {FOREIGN: {"type": "object", "properties": {"width_px": {"type": "integer"}}}},
}
TOKENS = """
# an API that may do everything, one that sends pictures alone, one that reads all
shop all shop-token-shop-token
pictures send:image,read:own,cancel:own pictures-token-pictures
reader read reader-token-reader-token
"""


class Broker:
    """What came to the ingress, which answers `status`."""

    def __init__(self) -> None:
        self.status = 202
        self.events: list[Event] = []

    def handler(self) -> type[BaseHTTPRequestHandler]:
        broker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = broker.status
                if status == 202:
                    broker.events.append(read(dict(self.headers.items()), body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

        return Handler

    @property
    def lost(self) -> list[Event]:
        """The dead letters, where the gateway's sink is here as well."""
        return [each for each in self.events if each.get("knativeerrorcode")]

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.events]


class GatewayProcess:
    """Its two ports, and how it is asked."""

    def __init__(self, folder: Path, database_url: str, broker_url: str, **environment: str) -> None:
        self.log = folder / "gateway.log"
        self.port, self._function_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.function_url = f"http://127.0.0.1:{self._function_port}"
        self._environment = {
            **os.environ,
            "FUNCTION_SOURCE": "functions/gateway/main.py",
            "FUNCTION_TARGET": "handle",
            "LEDGER_URL": database_url,
            "K_SINK": broker_url,
            "GATEWAY_ROUTES": json.dumps(ROUTES),
            "GATEWAY_TICKET_SECRET": "ticket-secret-of-the-tests",
            "GATEWAY_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "HOST": "127.0.0.1",
            "PORT": str(self._function_port),
            **environment,
        }
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def start(self) -> "GatewayProcess":
        """Start it, and wait until it answers."""
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "functions.runtime.serve"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        until(self._is_up, timeout_s=60, what="the gateway's ports")
        return self

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL, which it cannot prepare for."""
        self.process.kill()
        self.process.wait(60)

    def post(self, event: Mapping[str, Any], *, token: str | None = None) -> httpx.Response:
        """Hand over a structured event."""
        headers = {"content-type": STRUCTURED, **authorization(token)}
        return self.client.post("/", content=json.dumps(event), headers=headers)

    def tell(self, event: Mapping[str, Any]) -> httpx.Response:
        """Deliver an event as the broker does."""
        return httpx.post(self.function_url, content=json.dumps(event), headers={"content-type": STRUCTURED})

    def get(self, path: str, *, token: str | None = None, **query: str) -> httpx.Response:
        """Ask for something."""
        return self.client.get(path, params=query, headers=authorization(token))

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return httpx.get(f"{self.function_url}/healthz").is_success
        except httpx.TransportError:
            return False


def authorization(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


@contextmanager
def gateway_process(folder: Path, database_url: str, **environment: str) -> Iterator[tuple[GatewayProcess, Broker]]:
    """A gateway that runs, and the broker that it sends to."""
    broker = Broker()
    with http_server(broker.handler()) as broker_url:
        gateway = GatewayProcess(folder, database_url, f"{broker_url}/", **environment).start()
        try:
            yield gateway, broker
        finally:
            if gateway.process.poll() is None:
                gateway.stop()
            gateway.client.close()
