"""Function processes: started by the first event, more under load, stopped when idle, as Knative Serving does.

A pool stands for one Service. `lease` gives a process with room for one more event (containerConcurrency), starting
one where all are busy, off the fork server where there is one; at max-scale it waits. A process that ends by itself
or does not start is reported with its last lines of output, and the next start waits for a backoff; one
that does not answer its probe any more is ended.
"""

import asyncio
import logging
import signal
import socket
import time
from collections import deque
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

from knative.local.process.fork_server import ForkServer
from knative.local.process.launch import (
    LAST_OUTPUT_S,
    Launcher,
    Process,
    Report,
    StartFailed,
    ending,
    finish,
    signal_group,
)
from knative.local.process.liveness import until_hung
from knative.manifests.manifests import Service

__all__ = ["Pool", "PoolStopping", "Process", "Report", "StartFailed"]

log = logging.getLogger("errands.processes")

STOP_POLL_S: Final = 0.01
STOP_GRACE_S: Final = 10.0  # beyond a Service's own timeout, before SIGKILL
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_LAST_S: Final = 30.0


class PoolStopping(Exception):
    """No process is given any more; the event stays with the broker until the next start."""


class Lease:
    """A process while it works on one event."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def __aenter__(self) -> Process:
        self._process = self._pool.free() or await self._pool.wait()
        return self._process

    async def __aexit__(self, *_error: object) -> None:
        self._pool.give_back(self._process)


class Pool:
    """The processes of one Service; `max_scale` may be lower here than on a cluster with more processors."""

    def __init__(
        self,
        service: Service,
        *,
        environment: Mapping[str, str],
        root: Path,
        max_scale: int,
        report: Report,
        fork_server: ForkServer | None = None,
        listening: socket.socket | None = None,
    ) -> None:
        self.service = service
        self.max_scale = max_scale
        self._report = report
        self._launcher = Launcher(
            service, environment=environment, root=root, report=report, fork_server=fork_server, listening=listening
        )
        self._processes: list[Process] = []
        self._waiting: deque[asyncio.Future[Process]] = deque()
        self._starting = 0
        self._failures = 0
        self._not_before_s = 0.0
        self._closed = False
        self._starts: set[asyncio.Task[None]] = set()
        self._stops: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Processes that run or start."""
        return len(self._processes) + self._starting

    @property
    def starting(self) -> int:
        """Processes that start."""
        return self._starting

    @property
    def capacity(self) -> int:
        """Events that it can work on at once."""
        return self.max_scale * self.service.concurrency

    def lease(self) -> "Lease":
        """A process for one event; raise StartFailed when none comes up, PoolStopping when none is to be had."""
        return Lease(self)

    def keep_minimum(self) -> None:
        """Start what min-scale asks for."""
        for _ in range(self.service.min_scale - self.count):
            self._start()

    def reload(self) -> None:
        """Replace every process by one of the present source, each when its events are done."""
        for process in list(self._processes):
            self._retire(process)
        self._not_before_s = 0.0
        self.keep_minimum()
        self._start_if_wanted()

    def scale(self, target: int) -> None:
        """At most `target` processes from now on; the surplus ends when its events are done."""
        self.max_scale = target
        for process in sorted(self._processes, key=lambda each: each.busy)[: max(0, self.count - target)]:
            self._retire(process)
        for _ in self._waiting:
            self._start_if_wanted()

    @property
    def busy(self) -> int:
        """Events that are worked on."""
        return sum(process.busy for process in self._processes)

    def stop_leasing(self) -> None:
        """Give no more processes; those who wait for one are told so."""
        self._closed = True
        self._fail_waiting(PoolStopping())

    async def close(self) -> None:
        """Stop every process with SIGTERM, which finishes the events in flight, and wait for their end."""
        self.stop_leasing()
        for task in self._starts:
            task.cancel()
        await asyncio.gather(*self._starts, return_exceptions=True)
        ends = [self._stop(each) for each in self._processes]
        await asyncio.gather(*ends, *self._stops, return_exceptions=True)

    def free(self) -> Process | None:
        """The fullest process that has room, so that the others can fall idle."""
        fullest, concurrency = None, self.service.concurrency
        for each in self._processes:
            if each.ready and each.busy < concurrency and (fullest is None or each.busy > fullest.busy):
                fullest = each
        if fullest is not None:
            self._take(fullest)
        return fullest

    def _take(self, process: Process) -> None:
        process.busy += 1
        if process.idle_timer:
            process.idle_timer.cancel()
            process.idle_timer = None

    async def wait(self) -> Process:
        if self._closed:
            raise PoolStopping
        future: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._start_if_wanted()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self.give_back(future.result())
            raise

    def give_back(self, process: Process) -> None:
        process.busy -= 1
        self._hand_out()
        if process.busy == 0 and process in self._processes:
            loop = asyncio.get_running_loop()
            process.idle_timer = loop.call_later(self.service.idle_s, self._retire_idle, process)

    def _hand_out(self) -> None:
        """Give free places to those who wait, in their order."""
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            process = self.free()
            if process is None:
                return
            self._waiting.popleft().set_result(process)

    def _retire_idle(self, process: Process) -> None:
        process.idle_timer = None
        if len(self._processes) > self.service.min_scale and process.busy == 0:
            self._retire(process)

    def _retire(self, process: Process) -> None:
        self._processes.remove(process)
        process.retiring = True
        self._spawn(self._stop(process), self._stops)

    def _start_if_wanted(self) -> None:
        """One more process, when more events wait than those that start will take."""
        if self._starting * self.service.concurrency < len(self._waiting) and self.count < self.max_scale:
            self._start()

    def _start(self) -> None:
        if not self._closed:
            self._starting += 1
            self._spawn(self._bring_up(), self._starts)

    async def _bring_up(self) -> None:
        await_s = max(0.0, self._not_before_s - time.monotonic())
        try:
            try:
                await asyncio.sleep(await_s)
                started_s = time.monotonic()
                process = await self._launcher.launch()
            finally:
                self._starting -= 1  # whatever came of it: one that is counted for ever keeps others from starting
        except Exception as error:  # told to those who wait; the next start is made
            self._start_failed(error)
        else:
            self._report("info", self.service.name, f"started in {(time.monotonic() - started_s) * 1000:.0f} ms")
            self._take_up(process)

    def _start_failed(self, error: Exception) -> None:
        if self._closed:
            return
        if not isinstance(error, StartFailed | OSError):
            log.error("a start of %s failed by a bug", self.service.name, exc_info=error)
        self._count_failure()
        self._report("error", self.service.name, f"does not start: {error}")
        if not self.count:
            failure = StartFailed(str(error))
            failure.__cause__ = error
            self._fail_waiting(failure)

    def _take_up(self, process: Process) -> None:
        self._failures = 0
        self._processes.append(process)
        process.tasks.append(asyncio.create_task(self._watch(process)))
        process.ready = True
        self._take(process)  # and back at once: hands out its places and starts its idle time
        self.give_back(process)

    async def _watch(self, process: Process) -> None:
        """Notice an end that nobody asked for, and make one of a process that hangs."""
        asking = asyncio.create_task(self._end_hung(process))
        try:
            code = await process.child.wait()
        finally:
            asking.cancel()
        if process.retiring or self._closed:
            return
        self._processes.remove(process)
        if process.idle_timer:
            process.idle_timer.cancel()
        self._count_failure()
        await asyncio.wait(process.tasks[:1], timeout=LAST_OUTPUT_S)  # its last words may still be on their way
        shown = "\n".join(process.tail)
        self._report("error", self.service.name, f"ended with {ending(code)}; its last lines:\n{shown}")
        self.keep_minimum()
        self._start_if_wanted()

    async def _end_hung(self, process: Process) -> None:
        """Kill what does not answer any more: what it holds is delivered again, to the one that takes its place.

        One that is told to end takes no connection, and has a time limit of its own.
        """
        if self.service.probe is None:
            return
        why = await until_hung(process.port, self.service.probe)
        if process.retiring:
            return
        self._report("error", self.service.name, f"hangs and is killed: {why}")
        signal_group(process, signal.SIGKILL)

    def _count_failure(self) -> None:
        backoff_s = min(BACKOFF_FIRST_S * 2**self._failures, BACKOFF_LAST_S)
        self._failures += 1
        self._not_before_s = time.monotonic() + backoff_s
        asyncio.get_running_loop().call_later(backoff_s, self.keep_minimum)

    def _fail_waiting(self, error: Exception) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)

    async def _stop(self, process: Process) -> None:
        process.retiring = True
        if process.idle_timer:
            process.idle_timer.cancel()
        while process.busy:  # finishes what it has before it is told to stop
            await asyncio.sleep(STOP_POLL_S)
        signal_group(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.child.wait(), self.service.timeout_s + STOP_GRACE_S)
        except TimeoutError:
            signal_group(process, signal.SIGKILL)
            await process.child.wait()
        await finish(process)

    @staticmethod
    def _spawn(work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)
