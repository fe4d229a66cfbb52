"""What the tests of the work queue need: a real worker, places that take its events, and a wire that can be cut."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

from events.http import Event, read
from functions.amqp.connection import connected
from functions.amqp.message import to_message
from functions.amqp.server import AmqpServer
from tests.support.local_runner import COMPLETED, ECHO, REQUESTED, ROOT, until
from tests.support.rabbitmq_server import RabbitServer

QUORUM = {"x-queue-type": "quorum"}


class Inbox:
    """An HTTP server that takes events, as the broker's ingress and as the sink; `hook` may refuse or do worse."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []
        self.hook: Callable[[str, Event, bool], int | None] = lambda _place, _event, _taken: None
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                event, place = read(dict(self.headers), body), self.path.strip("/")
                status = inbox.hook(place, event, False) or 202
                if status == 202:
                    inbox.events.append((place, event))
                    inbox.hook(place, event, True)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def replies(self) -> list[Event]:
        """What the broker has taken."""
        return [event for place, event in self.events if place == "broker"]

    def dead_letters(self) -> list[Event]:
        """What the sink has taken."""
        return [event for place, event in self.events if place == "sink"]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def inbox() -> Iterator[Inbox]:
    """An Inbox for a test."""
    server = Inbox()
    try:
        yield server
    finally:
        server.close()


class WorkQueue:
    """One queue of its own on the server, and the workers of it."""

    def __init__(self, rabbit: RabbitServer, places: Inbox, folder: Path, queue: str, **variables: object) -> None:
        self.rabbit, self.places, self.queue = rabbit, places, queue
        self._log = folder / "worker.log"
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "AMQP_URL": rabbit.url,
            "K_SINK": f"{places.url}/broker",
            "FUNCTION_SOURCE": str(ECHO),
            "FUNCTION_TARGET": "handle",
            "WORK_QUEUE": queue,
            "WORK_DEAD_LETTER_SINK": f"{places.url}/sink",
            "WORK_RETRY": "2",
            "WORK_BACKOFF_POLICY": "linear",
            "WORK_BACKOFF_DELAY_S": "0.1",
            "WORK_TIMEOUT_S": "20",
            "WORK_STOP_S": "20",
            **{name.upper(): str(value) for name, value in variables.items()},
        }
        self.workers: list[subprocess.Popen[bytes]] = []
        self.workers_wait = True  # whether there can be waits to ask for, which takes rabbitmqctl 0.5 s
        asyncio.run(self._declare())

    @property
    def log(self) -> str:
        """What the workers wrote."""
        return self._log.read_text() if self._log.exists() else ""

    def start(self, **variables: object) -> "subprocess.Popen[bytes]":
        """One more worker."""
        return self.start_command([sys.executable, "-m", "keda.worker.worker"], **variables)

    def start_command(self, command: list[str], **variables: object) -> "subprocess.Popen[bytes]":
        """Another consumer of the queue."""
        environment = self._environment | {name.upper(): str(value) for name, value in variables.items()}
        with self._log.open("a") as log:
            worker = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)
        return worker

    def send(self, *events: Event, **headers: int | str) -> None:
        """Publish to the queue, confirmed."""
        asyncio.run(self.send_async(*events, **headers))

    def ready(self) -> int:
        """How many messages wait in the queue and in its waits; those that workers hold are not among them."""
        return asyncio.run(self.ready_async())

    def stop(self) -> None:
        """SIGTERM to every worker, and wait."""
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.wait(120)

    def close(self) -> None:
        """Kill what is left, and say what it wrote, which pytest shows when the test has failed."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        print(self.log[-6000:])

    async def _declare(self) -> None:
        async with connected(AmqpServer(url=self.rabbit.url)) as connection:
            channel = await connection.channel()
            await channel.call("queue_declare", queue=self.queue, durable=True, arguments=QUORUM)

    async def ready_async(self) -> int:
        """Asked of the queues themselves: `rabbitmqctl` tells figures of up to 5 s ago."""
        if not self.workers_wait:
            names = [self.queue]
        else:
            names = [n for n in self.rabbit.queues() if n == self.queue or n.startswith(f"{self.queue}.wait.")]
        async with connected(AmqpServer(url=self.rabbit.url)) as connection:
            channel = await connection.channel()
            found = [await channel.call("queue_declare", queue=name, passive=True) for name in names]
        return sum(int(each.message_count) for each in found)

    async def send_async(self, *events: Event, **headers: int | str) -> None:
        """Publish to the queue, confirmed."""
        async with connected(AmqpServer(url=self.rabbit.url)) as connection:
            channel = await connection.channel()
            for start in range(0, len(events), 500):
                some = events[start : start + 500]
                await asyncio.gather(
                    *(channel.publish(*to_message(each, **headers), routing_key=self.queue) for each in some)
                )


@contextmanager
def work_queue(rabbit: RabbitServer, places: Inbox, folder: Path, **variables: object) -> Iterator[WorkQueue]:
    """A Work queue for a test, named by the test's folder."""
    made = WorkQueue(rabbit, places, folder, f"work_queue.{folder.name}", **variables)
    try:
        yield made
    finally:
        made.close()


def job(id_: str, data: dict[str, Any] | None = None, **attributes: str) -> Event:
    """A job of the echo function."""
    base = {"specversion": "1.0", "id": id_, "source": "/tests", "type": REQUESTED}
    fields = MappingProxyType({**base, "datacontenttype": "application/json", **attributes})
    return Event(fields, json.dumps(data or {}).encode())


def done(places: Inbox, id_: str) -> bool:
    """Whether the broker has the job's completed event."""
    return any(each.get("jobid") == id_ and each.type == COMPLETED for each in places.replies())


def wait_empty(made: WorkQueue, *, timeout_s: float = 120) -> None:
    """Stop the workers once nothing waits; fails when one of them held something that came back."""
    until(lambda: made.ready() == 0, timeout_s=timeout_s, poll_s=0.1, what=f"{made.queue} to be empty")
    made.stop()
    assert made.ready() == 0


class Wire:
    """A TCP connection between a worker and RabbitMQ that a test looks into; what `cut` is true of is not passed on."""

    def __init__(self, port: int, cut: Callable[[bool, bytes], bool]) -> None:
        self._port = port
        self._cut = cut
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for pair, to_server in (((near, far), True), ((far, near), False)):
                    threading.Thread(target=self._pass, args=(*pair, to_server), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, to_server: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._cut(to_server, data):
                    break
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def method(class_id: int, method_id: int) -> bytes:
    """How a method frame of AMQP begins after its channel and size; searched for in what goes over the wire."""
    return class_id.to_bytes(2, "big") + method_id.to_bytes(2, "big")


PUBLISH = method(60, 40)
ACKNOWLEDGE = method(60, 80)
