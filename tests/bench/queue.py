"""The work queue beside a bare pika consumer, and the telemetry example: `python -m tests.bench.queue`.

A worker of a function that does nothing, and a bare pika consumer that acknowledges each message and does nothing,
empty the same queue in turn, each a process of its own; the middle of ROUNDS ratios is told. Then a flood of readings
is stored in SQLite, one commit a list. RabbitMQ runs on the same processors, and takes most of them.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import MappingProxyType
from typing import Final

from events.http import Event
from tests.support.local_runner import ROOT, children, until
from tests.support.queue_worker import Inbox, WorkQueue, inbox
from tests.support.rabbitmq_server import RabbitServer, rabbit_server

COUNT: Final = 8_000
ROUNDS: Final = 3
PREFETCH: Final = 1_000
NOTHING: Final = """
from msgspec import Struct
from events.{module} import {name}

class BenchRequested(Struct):
    n: int

@{name}(BenchRequested)
def handle({arguments}):
    {body}
"""
BARE: Final = """
import os, sys, pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.basic_qos(prefetch_count=int(os.environ["WORK_PREFETCH"]))
def on_message(channel, method, properties, body):
    channel.basic_ack(method.delivery_tag)
channel.basic_consume(os.environ["WORK_QUEUE"], on_message)
channel.start_consuming()
"""
BARE_ASYNCIO: Final = """
import asyncio, os, pika
from pika.adapters.asyncio_connection import AsyncioConnection
def on_open(connection):
    connection.channel(on_open_callback=on_channel)
def on_channel(channel):
    channel.basic_qos(prefetch_count=int(os.environ["WORK_PREFETCH"]), callback=lambda _: channel.basic_consume(
        os.environ["WORK_QUEUE"], lambda channel, method, properties, body: channel.basic_ack(method.delivery_tag)))
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
AsyncioConnection(pika.URLParameters(os.environ["AMQP_URL"]), on_open_callback=on_open, custom_ioloop=loop)
loop.run_forever()
"""


def main() -> None:
    """Run all and print the ratios."""
    with tempfile.TemporaryDirectory(prefix="errands-bench-") as folder, rabbit_server(Path(folder) / "mq") as rabbit:
        (Path(folder) / "one.py").write_text(
            NOTHING.format(module="function", name="function", arguments="job, event", body="return None")
        )
        (Path(folder) / "many.py").write_text(
            NOTHING.format(module="batch", name="batch", arguments="jobs", body="return [None] * len(jobs)")
        )
        with inbox() as places:
            _compare(rabbit, places, Path(folder))
            _flood(rabbit, places, Path(folder))


def _compare(rabbit: RabbitServer, places: Inbox, folder: Path) -> None:
    commands: dict[str, tuple[list[str] | None, dict[str, object]]] = {
        "bare pika, blocking": ([sys.executable, "-c", BARE], {}),
        "bare pika, asyncio": ([sys.executable, "-c", BARE_ASYNCIO], {}),
        "worker, one at a time": (None, {"function_source": folder / "one.py"}),
        "worker, lists of 100": (None, {"function_source": folder / "many.py", "work_batch_limit": 100}),
    }
    work_queue = WorkQueue(rabbit, places, folder, "work_queue.bench", work_prefetch=PREFETCH, log_level="WARNING")
    work_queue.workers_wait = False
    rates: dict[str, list[float]] = {name: [] for name in commands}
    cpus: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, (command, variables) in commands.items():
            rate, cpu_us = asyncio.run(_measure(work_queue, command, variables))
            rates[name].append(rate)
            cpus[name].append(cpu_us)
    print(f"{COUNT} events that nothing is done with, prefetch {PREFETCH}, median of {ROUNDS}:")
    for name in commands:
        ratios = [rate / bare for rate, bare in zip(rates[name], rates["bare pika, asyncio"], strict=True)]
        blocking = [rate / bare for rate, bare in zip(rates[name], rates["bare pika, blocking"], strict=True)]
        print(
            f"  {name:<22} {statistics.median(rates[name]):>7.0f}/s {statistics.median(cpus[name]):>4.0f} us CPU "
            f" {statistics.median(ratios):.2f} of bare asyncio, {statistics.median(blocking):.2f} of bare blocking"
        )


async def _measure(
    work_queue: WorkQueue, command: list[str] | None, variables: dict[str, object]
) -> tuple[float, float]:
    """Events a second and the consumer's processor time an event, from its start-up's end to the queue's end."""
    await work_queue.send_async(*(_event(number) for number in range(COUNT)))
    process = work_queue.start(**variables) if command is None else work_queue.start_command(command)
    await _until_ready(work_queue, COUNT - 1)
    started_s, cpu_s, left = time.monotonic(), _cpu_s(process.pid), await work_queue.ready_async()
    await _until_ready(work_queue, 0)
    elapsed_s, used_s = time.monotonic() - started_s, _cpu_s(process.pid) - cpu_s
    process.terminate()
    process.wait(30)
    return left / elapsed_s, used_s / left * 1e6


async def _until_ready(work_queue: WorkQueue, count: int) -> None:
    while await work_queue.ready_async() > count:
        await asyncio.sleep(0.01)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _event(number: int) -> Event:
    attributes = {"specversion": "1.0", "source": "/bench", "type": "dev.errands.bench.requested.v1"}
    times = {"time": "2026-12-01T14:00:00Z", "datacontenttype": "application/json", "id": f"b{number:06}"}
    return Event(MappingProxyType({**attributes, **times}), b'{"n": 1}')


def _flood(rabbit: RabbitServer, places: Inbox, folder: Path) -> None:
    variables = {
        "function_source": ROOT / "functions" / "telemetry" / "main.py",
        "readings_url": f"sqlite:///{folder / 'readings.db'}",
        "work_batch_limit": 500,
        "work_prefetch": 1_000,
        "log_level": "WARNING",
    }
    work_queue = WorkQueue(rabbit, places, folder, "work_queue.flood", **variables)
    work_queue.workers_wait = False
    asyncio.run(work_queue.send_async(*(_reading(number) for number in range(3 * COUNT))))
    worker = work_queue.start()
    until(lambda: work_queue.ready() < 3 * COUNT, poll_s=0.01)
    servers = children(rabbit.pid)
    started_s, left = time.monotonic(), work_queue.ready()
    worker_s, server_s = _cpu_s(worker.pid), sum(map(_cpu_s, servers))
    until(lambda: work_queue.ready() == 0, timeout_s=120, poll_s=0.05)
    rate = left / (time.monotonic() - started_s)
    worker_us = (_cpu_s(worker.pid) - worker_s) / left * 1e6
    server_us = (sum(map(_cpu_s, servers)) - server_s) / left * 1e6
    worker.terminate()
    worker.wait(30)
    print(
        f"telemetry: one worker stored {rate:.0f} readings a second, "
        f"with {worker_us:.0f} us of processor time a reading, and {server_us:.0f} us of RabbitMQ"
    )


def _reading(number: int) -> Event:
    attributes = {**_event(number).attributes, "type": "dev.errands.telemetry.requested.v1"}
    body = b'{"sensor": "s%d", "metric": "temperature", "value": 21.5, "unit": "C"}' % (number % 100)
    return Event(MappingProxyType(attributes), body)


if __name__ == "__main__":
    main()
