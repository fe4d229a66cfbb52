"""The work queues on a RabbitMQ server: their topology, as the operator makes it, and `keda/worker/worker.py` in
processes. One that does not answer its probe any more is ended, as a function's is.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from functions.amqp.channel import Channel
from functions.amqp.connection import AmqpConnection, connected
from functions.amqp.errors import ServerRefused, ServerUnavailable
from functions.amqp.server import AmqpServer
from functions.amqp.waits import QUORUM
from knative.local.broker.broker import BrokerUnusable
from knative.local.process.launch import free_port
from knative.local.process.liveness import until_hung
from knative.local.process.output import relay
from knative.local.process.processes import Report
from knative.local.process.temporary import own_temporary
from knative.manifests.queues import WorkQueue

log = logging.getLogger("errands.work_queue")

START_S: Final = 2.0  # until a worker is taken to be at work
FAILED_AGAIN_S: Final = 5.0  # until another is started after one that failed: Kubernetes waits longer and longer


async def declare(server: AmqpServer, work_queues: Iterable[WorkQueue]) -> None:
    """The exchanges, queues and bindings of the work queues; raises BrokerUnusable."""
    try:
        async with connected(server, name="errands up, work queues") as connection:
            channel = await connection.channel()
            for work_queue in work_queues:
                await channel.call(
                    "exchange_declare", exchange=work_queue.exchange, exchange_type="direct", durable=True
                )
                channel = await _declare_queue(connection, channel, work_queue)
                for key in work_queue.keys:
                    await channel.call(
                        "queue_bind", queue=work_queue.queue, exchange=work_queue.exchange, routing_key=key
                    )
    except (ServerUnavailable, ServerRefused) as error:
        raise BrokerUnusable(f"the work queues cannot be set up: {error}") from error


async def _declare_queue(connection: AmqpConnection, channel: Channel, work_queue: WorkQueue) -> Channel:
    """Declare the queue, its limits as arguments: a Policy is for RabbitMQ's management, which need not be there.

    One that is there with others is taken as it is, and said: what is in it must not stop the start. Returned is the
    channel, or the one after it, since a refusal closes a channel.
    """
    name, limits = work_queue.queue, {f"x-{each}": value for each, value in work_queue.limits.items()}
    try:
        await channel.call("queue_declare", queue=name, durable=True, arguments={**QUORUM, **limits})
    except ServerRefused as error:
        channel = await connection.channel()
        await channel.call("queue_declare", queue=name, passive=True)
        log.warning("%s has other limits than its manifests; delete it when it is empty to have them: %s", name, error)
    return channel


async def ready(server: AmqpServer, work_queue: WorkQueue) -> int:
    """How many messages of the work queue no worker has; 0 while nobody can tell."""
    try:
        async with connected(server, name="errands up, scaler") as connection:
            channel = await connection.channel()
            response = await channel.call("queue_declare", queue=work_queue.queue, passive=True)
            return int(response.message_count)
    except (ServerUnavailable, ServerRefused) as error:
        log.warning("the length of %s is not to be had: %s", work_queue.queue, error)
        return 0


class WorkerProcesses:
    """The worker processes of one work queue."""

    def __init__(self, work_queue: WorkQueue, *, environment: Mapping[str, str], root: Path, report: Report) -> None:
        self._work_queue = work_queue
        self._environment = environment
        self._root = root
        self._report = report
        self._children: dict[asyncio.subprocess.Process, float] = {}  # and when each was started
        self._launching = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._not_before_s = 0.0
        self._closed = False

    @property
    def count(self) -> int:
        """Workers that run or start."""
        return len(self._children) + self._launching

    @property
    def starting(self) -> int:
        """Workers that have most likely taken nothing yet."""
        after_s = time.monotonic() - START_S
        return self._launching + sum(started_s > after_s for started_s in self._children.values())

    def scale(self, target: int) -> None:
        """Start what is missing; a Deployment's surplus is stopped, the youngest first."""
        if self._work_queue.scaling.kind == "deployment":
            for child in list(self._children)[target:]:
                del self._children[child]
                _signal(child, signal.SIGTERM)
        if not self._closed and time.monotonic() >= self._not_before_s:
            for _ in range(target - self.count):
                self._launching += 1
                task = asyncio.get_running_loop().create_task(self._work())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """SIGTERM to all, which finish what they work on or give it back."""
        self._closed = True
        for child in self._children:
            _signal(child, signal.SIGTERM)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        """Run one worker process, from its start to its end."""
        async with contextlib.AsyncExitStack() as stack:
            await self._run(stack)

    async def _run(self, stack: contextlib.AsyncExitStack) -> None:
        try:
            port = free_port() if self._work_queue.probe else 0
            environment = await stack.enter_async_context(own_temporary(self._environment))
            child, read_fd = await self._start({**environment, "WORK_HEALTH_PORT": str(port)})
        except Exception as error:  # told; the next look at the queue starts another
            self._not_before_s = time.monotonic() + FAILED_AGAIN_S
            self._report("error", self._work_queue.name, f"a worker does not start: {error}")
            return
        finally:
            self._launching -= 1  # whatever came of it: one that is counted for ever keeps others from starting
        self._children[child] = time.monotonic()
        self._report("info", self._work_queue.name, f"worker {child.pid} started")
        if self._closed:
            _signal(child, signal.SIGTERM)
        asking = asyncio.create_task(self._end_hung(child, port))
        try:
            await relay(read_fd, show=lambda text: self._report("output", self._work_queue.name, text))
        finally:
            code = await child.wait()
            asking.cancel()
            self._ended(child, code)

    async def _end_hung(self, child: asyncio.subprocess.Process, port: int) -> None:
        """Kill what does not answer any more: RabbitMQ delivers again what it holds."""
        if self._work_queue.probe is None:
            return
        why = await until_hung(port, self._work_queue.probe)
        self._report("error", self._work_queue.name, f"worker {child.pid} hangs and is killed: {why}")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    async def _start(self, environment: Mapping[str, str]) -> tuple[asyncio.subprocess.Process, int]:
        """A worker process, and the descriptor that its output is read from; raises OSError."""
        read_fd, write_fd = os.pipe()
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "keda.worker.worker",
                cwd=self._root,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_fd,
                stderr=write_fd,
                start_new_session=True,  # Ctrl-C is for the runner, which lets it finish
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        return child, read_fd

    def _ended(self, child: asyncio.subprocess.Process, code: int) -> None:
        if self._children.pop(child, None) is not None and code and not self._closed:
            self._not_before_s = time.monotonic() + FAILED_AGAIN_S
            self._report(
                "error", self._work_queue.name, f"worker {child.pid} ended with {code}; its job is in the queue"
            )


def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(number)
