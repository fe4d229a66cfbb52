"""A receiver of traces (OTLP/HTTP), which reads them with the classes that its specification publishes."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.absent import absent
from tests.support.http_server import http_server
from tests.support.local_runner import until
from tests.support.ports import free_port

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "errands"


class Receiver:
    """What it was sent; it answers `status`."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.asked = 0
        self.headers: dict[str, str] = {}
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def spans(self) -> list[Span]:
        """In the order in which they came."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def of(self, trace: str) -> dict[str, list[Span]]:
        """The spans of one trace by their names."""
        found: dict[str, list[Span]] = {}
        for each in self.spans:
            if each.trace_id.hex() == trace:
                found.setdefault(each.name, []).append(each)
        return found

    def handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.asked += 1
                receiver.headers = {name.lower(): value for name, value in self.headers.items()}
                if receiver.status == 200 and self.path == "/v1/traces":
                    receiver.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

        return Handler


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """One on a free port."""
    receiver = Receiver()
    with http_server(receiver.handler()) as url:
        receiver.url = url
        yield receiver


@contextmanager
def otel_collector(folder: Path) -> Iterator[tuple[str, Path]]:
    """OpenTelemetry's own collector (.ci/otelcol): where it takes traces, and the file that says what it has read."""
    built = sorted(CACHE.glob("otelcol-*/otelcol"))
    if not built:
        absent("OpenTelemetry's collector is not built (.ci/otelcol)")
    url, told = f"http://127.0.0.1:{free_port()}", folder / "collector.log"
    configuration = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": url.removeprefix("http://")}}}},
        "exporters": {"debug": {"verbosity": "detailed"}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}},
        },
    }
    (folder / "collector.yaml").write_text(json.dumps(configuration))
    with told.open("w") as log:
        command = [str(built[-1]), f"--config={folder}/collector.yaml"]
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                until(lambda: _answers(url), what="the collector")
                yield url, told
            finally:
                process.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/traces").status_code == 405
    except httpx.TransportError:
        return False
