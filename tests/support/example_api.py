"""The two example APIs that the demonstration can use: the PHP one, and one in Python for a machine without PHP."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

import httpx
import msgspec
from standardwebhooks import Webhook, WebhookVerificationError

from events.http import Event
from functions.runtime.adapter import system_clock
from knative.cli import client
from tests.support.http_server import http_server
from tests.support.local_runner import ROOT

EXAMPLE: Final = ROOT / "events" / "php" / "example" / "public"


class PhpApi:
    """The example of events/php on PHP's own server: it emits by its client and verifies by its own code."""

    name = "PHP"

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.callback_url = f"{self.url}/callbacks"

    @staticmethod
    def possible() -> bool:
        """Whether there is a PHP with curl."""
        php = shutil.which("php")
        if php is None:
            return False
        return "curl" in subprocess.run([php, "-m"], capture_output=True, text=True, check=False).stdout.split()

    def command(self) -> list[str]:
        """How it is started."""
        address = self.url.removeprefix("http://")
        limits = ["-d", "upload_max_filesize=32M", "-d", "post_max_size=33M"]
        return ["php", *limits, "-S", address, "-t", str(EXAMPLE), str(EXAMPLE / "index.php")]

    def environment(self, sink: str, secret: Path, data: Path) -> dict[str, str]:
        """Its settings."""
        return {
            "K_SINK": sink,
            "ERRANDS_WEBHOOK_SECRET_FILE": str(secret),
            "ERRANDS_CALLBACK_URL": self.callback_url,
            "ERRANDS_EXAMPLE_DATA": str(data),
        }

    def order(self, job: str, data: dict[str, Any]) -> str:
        """POST /jobs, as its own page does."""
        response = httpx.post(f"{self.url}/jobs", json={"job": job, "data": data}, timeout=120)
        response.raise_for_status()
        return str(response.json()["id"])

    def state(self, id_: str) -> dict[str, Any]:
        """GET /jobs/ID."""
        return cast(dict[str, Any], httpx.get(f"{self.url}/jobs/{id_}").raise_for_status().json())


class PythonApi:
    """The same in Python: posts events, takes callbacks, believes only those whose signature is right."""

    name = "Python"
    SOURCE: Final = "https://shop.example/orders"

    def __init__(self, sink: str, secret: str) -> None:
        self._sink = sink
        self._webhook = Webhook(secret)
        self._states: dict[str, dict[str, Any]] = {}
        self.callback_url = ""

    def order(self, job: str, data: dict[str, Any]) -> str:
        """Build the event and post it."""
        id_ = str(uuid.uuid4())
        self.expect(id_)
        attributes = {
            "specversion": "1.0",
            "id": id_,
            "source": self.SOURCE,
            "type": f"dev.errands.{job}.requested.v1",
            "time": system_clock().isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "callbackurl": self.callback_url,
        }
        client.post(Event(MappingProxyType(attributes), msgspec.json.encode(data)), self._sink, token=None)
        return id_

    def expect(self, id_: str) -> None:
        """A job was handed over."""
        self._states[id_] = {"state": "accepted", "reason": None, "artifacts": []}

    def state(self, id_: str) -> dict[str, Any]:
        """What the callbacks said."""
        return self._states[id_]

    def receive(self, body: bytes, headers: dict[str, str]) -> int:
        """One callback; the status that answers it."""
        try:
            self._webhook.verify(body, headers)
        except WebhookVerificationError:
            return 401
        told = json.loads(body)
        data = told["data"]
        reason = data.get("detail") or data.get("error")
        ended = {"state": told["outcome"], "reason": reason, "artifacts": data.get("artifacts", [])}
        self._states[told["jobid"]] = ended
        return 204

    @contextmanager
    def serving(self) -> Iterator["PythonApi"]:
        """Take callbacks in a thread."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(api.receive(body, {name.lower(): value for name, value in self.headers.items()}))
                self.end_headers()

        with http_server(Handler) as url:
            self.callback_url = f"{url}/callbacks"
            yield self
