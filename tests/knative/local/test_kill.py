"""The promise: no accepted job is lost, whatever is killed, and each has exactly one outcome."""

import json
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.support.local_runner import ROOT, Up, children, event, service, trigger, until, write_manifests

pytestmark = pytest.mark.slow

JOBS = 2_000
KILLS = 25
PACE_S = 0.01  # so that there is work throughout the kills


class Callbacks:
    """An API that is called back: for each job the set of (webhook-id, outcome) that it was told."""

    def __init__(self) -> None:
        self.outcomes: dict[str, set[tuple[str, str]]] = defaultdict(set)
        self.count = 0
        self._lock = threading.Lock()

    def note(self, webhook_id: str, body: bytes) -> None:
        """One callback came."""
        told = json.loads(body)
        with self._lock:
            self.count += 1
            self.outcomes[told["jobid"]].add((webhook_id, told["outcome"]))


class Receiver(ThreadingHTTPServer):
    """A server that takes a broken connection for granted."""

    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """The peer was killed."""


def test_two_thousand_jobs_survive_kill_9_of_the_runner_and_of_its_functions(tmp_path: Path) -> None:
    """One job in twenty fails and one in twenty is never taken, so all three outcomes are counted."""
    chance = random.Random(20261122)  # noqa: S311  # repeatable, not secret
    with ExitStack() as stack:
        callbacks, url = stack.enter_context(receiving())
        manifests = write_manifests(tmp_path / "manifests", documents())
        runner = stack.enter_context(Up(tmp_path, manifests, "--set", f"notifier.CALLBACK_URL={url}"))
        sender = threading.Thread(target=send_all, args=(runner.url,))
        sender.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 1.0))  # the moments of the kills, which no condition could choose
            kill_something(runner, chance)
        sender.join()
        until(lambda: len(callbacks.outcomes) == JOBS, timeout_s=180, what="a callback for every job")
        until(lambda: settled(runner), timeout_s=60, what="an empty broker")
        runner.stop()

    outcomes = {id_: {outcome for _, outcome in told} for id_, told in callbacks.outcomes.items()}
    assert set(outcomes) == {str(number) for number in range(JOBS)}
    assert all(len(told) == 1 for told in callbacks.outcomes.values()), "a job with two outcomes"
    assert all(outcomes[str(number)] == {expected(number)} for number in range(JOBS))


def documents() -> list[str]:
    """The echo function, retried often enough to outlive the kills, and the real notifier and sink."""
    notifier = (
        service("notifier", source=ROOT / "functions/notifier/main.py", concurrency=100).rstrip()
        + """
            - name: CALLBACK_SECRETS
              valueFrom: {secretKeyRef: {name: callback, key: secrets}}
"""
    )
    heard = [
        trigger(f"notifier-{each}", subscriber="notifier", filter=f"{{outcome: {each}}}", parallelism=32, retry=100)
        for each in ("completed", "failed", "deadlettered")
    ]
    return [service(), trigger(retry=30, parallelism=16), notifier, *heard]


def expected(number: int) -> str:
    """The outcome that the job's order leads to."""
    return {0: "failed", 1: "deadlettered"}.get(number % 20, "completed")


def order(number: int) -> dict[str, object]:
    """What the echo function is told; 410 is dead-lettered at once, however often something is killed."""
    orders: dict[int, dict[str, object]] = {0: {"do": "fail"}, 1: {"do": "status", "status": 410}}
    return orders.get(number % 20, {"n": number})


def send_all(url: str) -> None:
    """An API that keeps to its part of the promise: it repeats what was not answered 202, with the same id."""
    with httpx.Client(base_url=url, headers={"content-type": "application/cloudevents+json"}, timeout=10) as client:
        for number in range(JOBS):
            content = json.dumps(event(str(number), order(number)))
            while not accepted(client, content):
                time.sleep(0.02)
            time.sleep(PACE_S)


def accepted(client: httpx.Client, content: str) -> bool:
    """Whether the event was answered 202."""
    with suppress(httpx.TransportError):
        return client.post("/", content=content).status_code == 202
    return False


def kill_something(runner: Up, chance: random.Random) -> None:
    """kill -9 of the runner, which is then started again, or of one of its functions' processes."""
    functions = children(runner.process.pid)
    if functions and chance.random() < 0.4:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(functions), signal.SIGKILL)
    else:
        runner.kill()
        runner.start()


def settled(runner: Up) -> bool:
    """Whether every queue is empty."""
    lines = runner.client.get("/metrics").text.splitlines()
    return all(line.endswith(" 0.0") for line in lines if line.startswith("errands_queue_depth{"))


@contextmanager
def receiving() -> Iterator[tuple[Callbacks, str]]:
    """A real HTTP server that takes callbacks."""
    callbacks = Callbacks()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size_bytes = int(self.headers["content-length"])
            body = self.rfile.read(size_bytes)
            if len(body) < size_bytes:  # the notifier was killed as it wrote
                return
            callbacks.note(self.headers["webhook-id"], body)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class' name
            return

    server = Receiver(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield callbacks, f"http://127.0.0.1:{server.server_port}/callbacks"
    finally:
        server.shutdown()
        server.server_close()
