"""What is measured of Errands alone: how soon a function answers, and whether a long backlog drains as a short one.

starts    each function's process to its first answer, beside a bare server of the standard library's
backlog   100,000 events on the embedded broker: the rate of the first and the last 10,000, and memory
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Final

from events.http import STRUCTURED
from tests.bench import backlog
from tests.bench.peers.measuring import Amounts, Figures
from tests.bench.peers.systems.base import end
from tests.conformance.functions_up import Functions
from tests.support.local_runner import ROOT, Up, service, trigger, write_manifests
from tests.support.ports import free_port

BARE: Final = """
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server
def application(environ, start_response):
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"ok"]
make_server("127.0.0.1", int(sys.argv[1]), application, handler_class=WSGIRequestHandler).serve_forever()
"""
HEALTH: Final = b"GET /healthz HTTP/1.0\r\n\r\n"
FUNCTIONS: Final = ("ics", "image", "notifier")
EVENTS: Final = 100_000
WINDOW: Final = 10_000
STARTS: Final = 3
POLL_S: Final = 0.001


def starts(amounts: Amounts) -> Figures:
    """The best of a few of each: what else the machine does only adds to a start."""
    prepare()
    with tempfile.TemporaryDirectory(prefix="errands-bench-") as kept:
        ways: dict[str, Callable[[], float]] = {"start_wsgiref_s": start_bare}
        ways |= {f"start_{name}_s": partial(start, Path(kept), name, HEALTH) for name in FUNCTIONS}
        ways["start_report_s"] = lambda: start(Path(kept), "report", first_report())
        measured: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(STARTS):
            for name, way in ways.items():
                measured[name].append(way())
    return {name: min(each) for name, each in measured.items()}


def prepare() -> None:
    """What the build of an image does once, as functions/Dockerfile has it."""
    allowed = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    templates = "from functions.report.builtin import compile_all; compile_all()"
    for arguments in (["-m", "compileall", "-q", "events", "functions", "knative"], ["-c", templates]):
        subprocess.run([sys.executable, *arguments], cwd=ROOT, env=allowed, check=True)


def start_bare() -> float:
    """wsgiref's server."""
    port = free_port()
    started_s = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port)], stderr=subprocess.DEVNULL)
    try:
        return answered_s(port, HEALTH) - started_s
    finally:
        end([process])


def start(folder: Path, name: str, request: bytes) -> float:
    """A function as `errands up` and a container start it."""
    functions = Functions(ROOT / "knative" / "base", folder, ingress_url="http://127.0.0.1:1/", settings={})
    port = int(functions.url(name).split(":")[2].strip("/"))
    started_s = time.monotonic()
    functions.start(name)
    try:
        return answered_s(port, request) - started_s
    finally:
        functions.end()


def answered_s(port: int, request: bytes) -> float:
    """When the first answer came, asked again and again while nobody listens."""
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.sendall(request)
            response = connection.recv(4096)
            if response.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                return time.monotonic()
            raise RuntimeError(f"200 was expected, got {response[:200]!r}")
        time.sleep(POLL_S)
    raise TimeoutError("no answer within 60 s")


def first_report() -> bytes:
    """A job of its own each time, so that no ledger answers."""
    event = json.loads((ROOT / "events/samples/dev.errands.report.requested.v1.json").read_text())
    body = json.dumps(event | {"id": str(time.monotonic_ns())}).encode()
    head = f"POST / HTTP/1.1\r\nhost: report\r\ncontent-type: {STRUCTURED}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def long_backlog(amounts: Amounts) -> Figures:
    """Filled through the broker itself, drained to a function that answers at once."""
    count = max(3 * WINDOW, round(EVENTS * amounts.share))
    with tempfile.TemporaryDirectory(prefix="errands-bench-") as kept:
        folder = Path(kept)
        published_per_s = asyncio.run(backlog.fill(folder / "data" / "journal.db", count))
        manifests = write_manifests(folder / "manifests", [service(), trigger(parallelism=16)])
        with Up(folder, manifests) as runner:
            at_rest_bytes = runner.rss_bytes()
            samples, highest_bytes = backlog.drain(runner, count)
    return {
        "backlog_events": float(count),
        "backlog_published_per_s": published_per_s,
        "backlog_first_per_s": backlog.rate(samples, WINDOW // 10, WINDOW + WINDOW // 10),
        "backlog_last_per_s": backlog.rate(samples, count - WINDOW, count),
        "backlog_at_rest_rss_mb": at_rest_bytes / 1e6,
        "backlog_highest_rss_mb": highest_bytes / 1e6,
    }


OWN_PARTS: Final[Mapping[str, Callable[[Amounts], Figures]]] = {"starts": starts, "backlog": long_backlog}
