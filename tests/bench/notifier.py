"""How many signed callbacks the notifier makes a second from one process on one core, and what one hanging endpoint of
200 costs the others.

python -m tests.bench.notifier [ROUNDS]

The notifier has one core, the broker and the receivers played here another. Three notifiers run in turn, a slice of
time each, so that other work on the machine meets them alike; a round ends before the hanging endpoint's first timeout,
so that it holds as much as it ever can. Processor time a callback is the figure that travels.
"""

import asyncio
import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from events.http import STRUCTURED, binary, read
from tests.support.local_runner import ROOT
from tests.support.ports import free_port

ROUNDS = 5
SLICES, SLICE_S, REST_S = 8, 0.5, 0.07  # of three notifiers: 13.7 s, less than the 15 s of a timeout
DELIVERIES = 100  # at a time: the manifest's containerConcurrency
ENDPOINTS = 200
SAMPLE = ROOT / "events/samples/dev.errands.image.completed.v1.json"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CORES = os.sched_getaffinity(0)
NOTIFIER_CORE = {min(CORES)}
OUR_CORE = CORES - NOTIFIER_CORE or CORES
WAYS = {
    "one endpoint": {"endpoints": 1, "hanging": 0},
    f"{ENDPOINTS} endpoints": {"endpoints": ENDPOINTS, "hanging": 0},
    f"{ENDPOINTS} endpoints, one hangs": {"endpoints": ENDPOINTS, "hanging": 1},
}
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver(asyncio.Protocol):
    """An endpoint: says 204 to each request, or never anything."""

    def __init__(self, bench: "Bench", *, hangs: bool) -> None:
        self.bench, self.hangs, self.received = bench, hangs, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's derive from nothing

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if self.hangs or not separator or len(body) < length_of(head):
            return
        assert b"webhook-signature: v1," in head.lower()
        self.received = b""
        self.bench.callbacks += 1
        self.transport.write(OK)


class Deliverer(asyncio.Protocol):
    """A connection of the broker: while the slice is on, the next event as soon as the last one is answered."""

    def __init__(self, bench: "Bench") -> None:
        self.bench, self.received, self.idle = bench, b"", True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if separator and len(body) >= length_of(head):
            self.received, self.idle = b"", True
            self.go_on()

    def go_on(self) -> None:
        if self.bench.on and self.idle:
            self.idle = False
            self.transport.write(self.bench.next_request())


@dataclass
class Bench:
    """One notifier with its endpoints and the broker's connections, and what they have done."""

    worker_pid: int
    ports: list[int] = field(default_factory=list)
    called: list[int] = field(default_factory=list)  # of the ports; those that hang only once a round has begun
    deliverers: list[Deliverer] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    on: bool = False
    callbacks: int = 0
    measured_callbacks: int = 0
    measured_cpu_s: float = 0.0
    measured_s: float = 0.0

    @classmethod
    async def open(cls, port: int, worker_pid: int, *, endpoints: int, hanging: int) -> "Bench":
        loop, bench = asyncio.get_running_loop(), cls(worker_pid)
        for number in range(endpoints):
            server = await loop.create_server(partial(Receiver, bench, hangs=number < hanging), "127.0.0.1", 0)
            bench.ports.append(server.sockets[0].getsockname()[1])
        bench.called = bench.ports[hanging:]
        for _ in range(DELIVERIES):
            _, deliverer = await loop.create_connection(partial(Deliverer, bench), "127.0.0.1", port)
            bench.deliverers.append(deliverer)
        return bench

    async def run(self, seconds: float) -> None:
        """Deliver for a while, and let what is in flight come to its end."""
        self.on = True
        for each in self.deliverers:
            each.go_on()
        await asyncio.sleep(seconds)
        self.on = False
        await asyncio.sleep(REST_S)

    async def measure(self, seconds: float) -> None:
        callbacks, cpu_s = self.callbacks, cpu_s_of(self.worker_pid)
        await self.run(seconds)
        self.measured_s += seconds
        self.measured_callbacks += self.callbacks - callbacks
        self.measured_cpu_s += cpu_s_of(self.worker_pid) - cpu_s

    @property
    def per_s(self) -> float:
        return self.measured_callbacks / self.measured_s

    @property
    def cpu_us(self) -> float:
        return 1e6 * self.measured_cpu_s / self.measured_callbacks

    def next_request(self) -> bytes:
        number = next(self.numbers)
        return request(f"event-{number}", self.called[number % len(self.called)])


def length_of(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0] or 0)


def request(id_: str, port: int) -> bytes:
    headers, body = TEMPLATE
    changed = {**headers, "ce-id": id_, "ce-callbackurl": f"http://127.0.0.1:{port}/callbacks"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in changed.items())
    return f"POST / HTTP/1.1\r\nhost: notifier\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


TEMPLATE = binary(read({"content-type": STRUCTURED}, SAMPLE.read_bytes()))


async def measure() -> list[Bench]:
    """One round of all ways against fresh notifiers, whose circuits know nothing."""
    with ExitStack() as stack:
        benches = [await Bench.open(*stack.enter_context(notifying()), **way) for way in WAYS.values()]
        for bench in benches:
            await bench.run(SLICE_S)  # connections open, code warm
            bench.called = bench.ports
        for _ in range(SLICES):
            for bench in benches:
                await bench.measure(SLICE_S)
        for deliverer in (each for bench in benches for each in bench.deliverers):
            deliverer.transport.abort()
        return benches


@contextmanager
def notifying() -> Iterator[tuple[int, int]]:
    """A notifier with one core to itself; its port, and the id of the process that does the work."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "FUNCTION_SOURCE": "functions/notifier/main.py",
            "FUNCTION_TARGET": "handle",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "STORE_URL": Path(folder).as_uri(),
            "CALLBACK_SECRETS": SECRET,
            "ALLOWED_ORIGINS": "http://127.0.0.1:*",
            "ALLOWED_NETWORKS": "127.0.0.0/8",
        }
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "functions.runtime.serve"], cwd=ROOT, env=os.environ | settings, stderr=log
            )
            os.sched_setaffinity(process.pid, NOTIFIER_CORE)
            try:
                wait_for_port(port)
                yield port, process.pid
            finally:
                process.terminate()
                process.wait(60)


def wait_for_port(port: int) -> None:
    for _ in range(200):
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise SystemExit("the notifier does not open its port")


def cpu_s_of(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9  # the main thread's, in ns: proc(5)


def main() -> None:
    """Medians of the rounds."""
    os.sched_setaffinity(0, OUR_CORE)
    rounds = [uvloop.run(measure()) for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)]
    for name, found in zip(WAYS, zip(*rounds, strict=True), strict=True):
        per_s, cpu_us = (
            statistics.median(each.per_s for each in found),
            statistics.median(each.cpu_us for each in found),
        )
        print(
            f"{name:<29}{per_s:6.0f} callbacks/s; {cpu_us:.0f} us of processor time each, {1e6 / cpu_us:.0f}/s a core"
        )
    kept = statistics.median(hanging.per_s / healthy.per_s for _, healthy, hanging in rounds)
    print(f"the hanging endpoint costs {1 - kept:.1%} of the throughput (less than 5 % is asked)")


if __name__ == "__main__":
    main()
