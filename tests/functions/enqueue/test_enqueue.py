"""The function that hands events over to the work queue: answered only once a queue of a real RabbitMQ server has
them.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from events.http import Event, binary
from functions.amqp.connection import connected
from functions.amqp.message import Message
from functions.amqp.server import AmqpServer
from tests.support.callback_peers import sample
from tests.support.local_runner import REQUESTED, ROOT, until
from tests.support.ports import free_port
from tests.support.queue_worker import QUORUM, job
from tests.support.rabbitmq_server import RabbitServer


@contextmanager
def enqueue(url: str, exchange: str) -> Iterator[httpx.Client]:
    """The function, served as on a cluster."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FUNCTION_SOURCE": str(ROOT / "functions" / "enqueue" / "main.py"),
        "FUNCTION_TARGET": "handle",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "AMQP_URL": url,
        "WORK_EXCHANGE": exchange,
    }
    process = subprocess.Popen([sys.executable, "-m", "functions.runtime.serve"], cwd=ROOT, env=environment)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/", timeout=120) as client:
        try:
            until(lambda: healthy(client), what="the function")
            yield client
        finally:
            process.terminate()
            process.wait(60)


def healthy(client: httpx.Client) -> bool:
    try:
        return client.get("healthz").status_code == 200
    except httpx.TransportError:
        return False


def post(client: httpx.Client, event: Event) -> httpx.Response:
    headers, body = binary(event)
    return client.post("/", headers=headers, content=body)


async def declare(url: str, name: str, *, bound: bool = True, key: str = REQUESTED) -> None:
    """An exchange, and a queue for the type of the tests."""
    async with connected(AmqpServer(url=url)) as connection:
        channel = await connection.channel()
        await channel.call("exchange_declare", exchange=name, exchange_type="direct", durable=True)
        await channel.call("queue_declare", queue=name, durable=True, arguments=QUORUM)
        if bound:
            await channel.call("queue_bind", queue=name, exchange=name, routing_key=key)


async def next_event(url: str, queue: str) -> Event:
    """What a worker would get."""
    async with connected(AmqpServer(url=url)) as connection:
        channel = await connection.channel()
        arrived: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        await channel.consume(queue, arrived.set_result, prefetch=1)
        message = await asyncio.wait_for(arrived, 10)
        channel.acknowledge(message.tag)
        return message.event()


def test_an_event_is_in_the_queue_of_its_type_when_it_is_answered(rabbit: RabbitServer, tmp_path: Path) -> None:
    asyncio.run(declare(rabbit.url, tmp_path.name))
    sent = job("größe-1", {"n": 1}, subject="order 1", time="2026-12-01T14:00:00Z")

    with enqueue(rabbit.url, tmp_path.name) as client:
        assert post(client, sent).status_code == 202

    assert asyncio.run(next_event(rabbit.url, tmp_path.name)) == sent


def test_an_event_that_ends_a_job_is_in_the_queue_of_its_outcome(rabbit: RabbitServer, tmp_path: Path) -> None:
    asyncio.run(declare(rabbit.url, tmp_path.name, key="failed"))
    sent = sample("dev.errands.image.failed.v1")

    with enqueue(rabbit.url, tmp_path.name) as client:
        assert post(client, sent).status_code == 202

    assert asyncio.run(next_event(rabbit.url, tmp_path.name)).id == sent.id


def test_a_work_queue_that_nobody_declared_is_tried_again_and_named(rabbit: RabbitServer, tmp_path: Path) -> None:
    with enqueue(rabbit.url, tmp_path.name) as client:
        missing = post(client, job("1"))
        asyncio.run(declare(rabbit.url, tmp_path.name, bound=False))
        unbound = post(client, job("1"))
        asyncio.run(declare(rabbit.url, tmp_path.name))

        assert post(client, job("1")).status_code == 202
    assert (missing.status_code, unbound.status_code) == (503, 503)
    assert "no exchange" in missing.text
    assert f"no queue takes what is published to exchange '{tmp_path.name}'" in unbound.text


def test_a_server_that_comes_back_is_found_again(rabbit: RabbitServer, tmp_path: Path) -> None:
    asyncio.run(declare(rabbit.url, tmp_path.name))
    with enqueue(rabbit.url, tmp_path.name) as client:
        assert post(client, job("1")).status_code == 202

        rabbit.stop()
        try:
            assert post(client, job("2")).status_code == 503
        finally:
            rabbit.start()

        assert post(client, job("3")).status_code == 202


def test_under_an_alarm_the_broker_is_told_to_try_again(rabbit: RabbitServer, tmp_path: Path) -> None:
    asyncio.run(declare(rabbit.url, tmp_path.name))
    with enqueue(rabbit.url, tmp_path.name) as client:
        assert post(client, job("1")).status_code == 202
        rabbit.alarm(on=True)
        try:
            assert post(client, job("2")).status_code == 503
        finally:
            rabbit.alarm(on=False)

        until(lambda: post(client, job("3")).status_code == 202)


def test_a_start_without_what_it_needs_names_it(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FUNCTION_TARGET": "handle", "AMQP_URL": "http://nowhere"}
    environment["FUNCTION_SOURCE"] = str(ROOT / "functions" / "enqueue" / "main.py")

    done = subprocess.run(
        [sys.executable, "-m", "functions.runtime.serve"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "this function cannot start: WORK_EXCHANGE is required" in done.stderr
