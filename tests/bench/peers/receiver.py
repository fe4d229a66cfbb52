"""The API's side of a callback: takes POSTs as fast as they come, and notes when each job's arrived."""

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, cast

import uvloop
from standardwebhooks import Webhook

RESPONSE: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
JOB: Final = re.compile(rb'"jobid": ?"([^"]+)"')
UNDONE: Final = re.compile(rb'"outcome": ?"(failed|deadlettered)"')
KEPT_EVERY: Final = 50  # each signature would take the processor time of what is measured


class Receiver:
    """What came: the moment of each job's first callback, by the job's id; `repeated` counts further ones."""

    def __init__(self) -> None:
        self.url = ""
        self.seen_s: dict[str, float] = {}
        self.repeated = 0
        self.undone: list[str] = []
        self._kept: list[bytes] = []
        self._taken = 0

    def take(self, head: bytes, body: bytes) -> None:
        """One callback, whole."""
        now_s = time.monotonic()
        job = JOB.search(body)
        if job is None:
            raise ValueError(f"a callback must name its job, got {body[:200]!r}")
        id_ = job[1].decode()
        if id_ in self.seen_s:
            self.repeated += 1
        self.seen_s.setdefault(id_, now_s)
        if UNDONE.search(body):
            self.undone.append(id_)
        if self._taken % KEPT_EVERY == 0:
            self._kept.append(head + b"\r\n\r\n" + body)
        self._taken += 1

    def wait(self, prefix: str, count: int, *, timeout_s: float) -> None:
        """Until so many jobs whose ids begin with `prefix` have been heard of."""
        end_s = time.monotonic() + timeout_s
        while (heard := self.count(prefix)) < count:
            if time.monotonic() > end_s:
                raise TimeoutError(f"{count} callbacks were expected within {timeout_s:g} s, {heard} came")
            time.sleep(0.002 if count < 100 else 0.01)

    def count(self, prefix: str) -> int:
        """Jobs heard of; ids of one part of a measurement begin alike, and others are forgotten before it."""
        return sum(each.startswith(prefix) for each in tuple(self.seen_s)) if prefix else len(self.seen_s)

    def forget(self) -> None:
        """Begin anew."""
        self.seen_s, self.repeated, self.undone = {}, 0, []
        self._kept, self._taken = [], 0

    def verify(self, secret: str) -> int:
        """Check the signatures of the kept callbacks, one in 50, and let go of them; how many it were.

        Raises ValueError where a job was not done: it would be counted as one that was.
        """
        if self.undone:
            raise ValueError(f"every job must be completed, {len(self.undone)} were not: {self.undone[:3]}")
        kept, self._kept = self._kept, []
        for each in kept:
            head, _, body = each.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")[1:]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            Webhook(secret).verify(body.decode(), headers)
        return len(kept)


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as far as callbacks need it."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of its subclasses

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = LENGTH.search(head)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < total:
                return
            body, self._buffer = self._buffer[end + 4 : total], self._buffer[total:]
            self._transport.write(RESPONSE)
            self._receiver.take(head, body)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port, in a thread of its own."""
    receiver, started = Receiver(), threading.Event()
    loop = uvloop.new_event_loop()

    async def listen() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(receiver), "127.0.0.1", 0, backlog=1024
        )
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callbacks"
        started.set()

    def run() -> None:
        loop.run_until_complete(listen())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    try:
        yield receiver
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
