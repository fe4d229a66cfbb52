"""Accepted events a second (64 connections, each answer is a confirm) and drained events a second to a no-op function.

The embedded broker, the runner on RabbitMQ and the Go programs of Knative, in turns in one run, all three in front of
the same function; medians. The sender and the function share the two cores with what is measured, the same for all.

python -m tests.bench.broker [EVENTS [ROUNDS]]
"""

import asyncio
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conformance.systems import KnativeDataPlane, Runner, System
from tests.support.local_runner import ROOT, until
from tests.support.ports import free_port
from tests.support.rabbitmq_server import RabbitServer, rabbit_server

EVENTS = 20_000
ROUNDS = 3
CONNECTIONS = 64
FUNCTION = Path(__file__).parent / "noop_function.py"

MANIFESTS = """
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {{name: bench}}
spec: {{}}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: noop}}
spec:
  template:
    metadata:
      annotations: {{autoscaling.knative.dev/min-scale: "1", autoscaling.knative.dev/max-scale: "1"}}
    spec:
      containerConcurrency: 100
      timeoutSeconds: 600
      containers:
        - image: test
          env:
            - {{name: FUNCTION_SOURCE, value: {function}}}
            - {{name: FUNCTION_TARGET, value: handle}}
            - {{name: BENCH_FOLDER, value: {folder}}}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata:
  name: noop
  annotations: {{rabbitmq.eventing.knative.dev/parallelism: "32"}}
spec:
  broker: bench
  filter: {{attributes: {{type: dev.errands.bench.v1}}}}
  subscriber: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: noop}}}}
  delivery:
    retry: 5
    backoffPolicy: linear
    backoffDelay: PT1S
    timeout: PT600S
    deadLetterSink: {{ref: {{apiVersion: serving.knative.dev/v1, kind: Service, name: noop}}}}
"""


class Sender(asyncio.Protocol):
    """One connection that sends the same request again as soon as it is answered 202."""

    def __init__(self, request: bytes, left: list[int], done: asyncio.Event) -> None:
        self._request = request
        self._left = left
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 202"), data
        self._left[1] -= 1
        if self._left[1] == 0:
            self._done.set()
        self._next()

    def _next(self) -> None:
        if self._left[0]:
            self._left[0] -= 1
            self._transport.write(self._request)


async def send(port: int, count: int) -> float:
    """Events accepted a second."""
    body = json.dumps({"n": 1}).encode()
    head = [
        "POST / HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "ce-specversion: 1.0",
        "ce-id: 7f3c9a52",
        "ce-source: /bench",
        "ce-type: dev.errands.bench.v1",
        "ce-time: 2026-12-01T14:00:00Z",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    request = "\r\n".join([*head, "", ""]).encode() + body
    left, done, loop = [count, count], asyncio.Event(), asyncio.get_running_loop()
    started_s = time.perf_counter()
    connections = [
        await loop.create_connection(lambda: Sender(request, left, done), "127.0.0.1", port) for _ in range(CONNECTIONS)
    ]
    await done.wait()
    elapsed_s = time.perf_counter() - started_s
    for transport, _ in connections:
        transport.close()
    return count / elapsed_s


def measure(system: System, folder: Path, count: int) -> tuple[float, float]:
    """Accept with the function held, then let go and drain; events a second of both."""
    port = int(system.url.split(":")[2].strip("/"))
    accepted = asyncio.run(send(port, count))
    (folder / "hold").unlink()
    until(lambda: counted(folder) > count * 0.1, what="the first tenth")  # past the start
    first, started_s = counted(folder), time.perf_counter()
    until(lambda: counted(folder) >= count, timeout_s=120, poll_s=0.01, what="the drain")
    return accepted, (count - first) / (time.perf_counter() - started_s)


def counted(folder: Path) -> int:
    """What the function has taken."""
    content = (folder / "count").read_bytes()
    return int(struct.unpack("q", content)[0]) if content else 0


@contextmanager
def prepared(name: str, rabbit: RabbitServer, programs: Path) -> Iterator[tuple[System, Path]]:
    """A system that is up, with its function held."""
    with tempfile.TemporaryDirectory() as kept, ExitStack() as stack:
        folder, port = Path(kept), free_port()
        (folder / "hold").touch()
        manifests = folder / "manifests"
        manifests.mkdir()
        (manifests / "kustomization.yaml").write_text("resources: [all.yaml]\n")
        (manifests / "all.yaml").write_text(MANIFESTS.format(function=FUNCTION, folder=folder))
        rabbit.control("add_vhost", folder.name)
        rabbit.control("set_permissions", "-p", folder.name, "guest", ".*", ".*", ".*")
        stack.callback(rabbit.control, "delete_vhost", folder.name)
        if name == "knative":
            stack.enter_context(function(folder, port))
            system: System = KnativeDataPlane(
                folder,
                manifests,
                programs=programs,
                rabbit=rabbit,
                vhost=folder.name,
                subscriber=lambda _service: f"http://127.0.0.1:{port}",
            )
        else:
            arguments = ["--broker", rabbit.url + folder.name] if name == "rabbitmq" else []
            system = Runner(folder, manifests, *arguments)
        system.start()
        stack.callback(system.kill)
        until((folder / "count").exists, what="the function")
        yield system, folder


@contextmanager
def function(folder: Path, port: int) -> Iterator[None]:
    """The function by itself, for the Go dispatcher, served as the runner serves it."""
    environment = {"FUNCTION_SOURCE": str(FUNCTION), "FUNCTION_TARGET": "handle", "BENCH_FOLDER": str(folder)}
    environment |= {"PORT": str(port), "HOST": "127.0.0.1", "PATH": os.environ["PATH"]}
    process = subprocess.Popen(
        [sys.executable, "-m", "functions.runtime.serve"], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def main() -> None:
    """Measure in turns and print the medians and their ratios to the Go programs."""
    count, rounds = (int(each) for each in (*sys.argv[1:], *(str(EVENTS), str(ROUNDS))[len(sys.argv) - 1 :]))
    programs = Path(subprocess.check_output([ROOT / ".ci/knative"], text=True).strip())
    results: dict[str, list[tuple[float, float]]] = {"embedded": [], "rabbitmq": [], "knative": []}
    with tempfile.TemporaryDirectory() as folder, rabbit_server(Path(folder) / "rabbitmq") as rabbit:
        for _ in range(rounds):
            for name, measured in results.items():
                with prepared(name, rabbit, programs) as (system, where):
                    measured.append(measure(system, where, count))
    medians = {name: [statistics.median(each) for each in zip(*found, strict=True)] for name, found in results.items()}
    print(f"{count:,} events, {rounds} rounds       accepted/s  of Knative   drained/s  of Knative")
    for name, (accepted, drained) in medians.items():
        ratios = accepted / medians["knative"][0], drained / medians["knative"][1]
        print(f"{name:<28} {accepted:>12,.0f} {ratios[0]:>11.2f} {drained:>11,.0f} {ratios[1]:>11.2f}")


if __name__ == "__main__":
    main()
