"""The AMQP leaf on a real RabbitMQ server: events as messages, confirms, and a connection that comes back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection

from events.http import Event
from events.problem import NotAnEvent
from functions.amqp.channel import Channel
from functions.amqp.connection import AmqpConnection, connect, stay_connected
from functions.amqp.errors import ServerRefused, ServerUnavailable, Unroutable
from functions.amqp.message import Message, to_event, to_message
from functions.amqp.server import AmqpServer
from tests.support.ports import free_port
from tests.support.rabbitmq_server import RabbitServer

ATTRIBUTES = {
    "specversion": "1.0",
    "id": "größe-1",
    "source": "/tests",
    "type": "dev.errands.echo.requested.v1",
    "time": "2026-12-01T14:00:00Z",
    "datacontenttype": "application/json",
    "tenant": "50% off",
}
EVENT = Event(MappingProxyType(ATTRIBUTES), b'{"n": 1}')


def test_an_event_becomes_a_persistent_message_of_eventing_rabbitmqs_form() -> None:
    properties, body = to_message(EVENT, x_errands_attempt=2)

    assert body == b'{"n": 1}'
    assert properties.headers == {
        **{name: value for name, value in ATTRIBUTES.items() if name != "datacontenttype"},
        "content-type": "application/json",
        "x-errands-attempt": 2,
    }
    assert (properties.content_type, properties.message_id) == ("application/json", "größe-1")
    assert properties.delivery_mode == 2


def test_a_message_becomes_the_event_that_it_was() -> None:
    assert to_event(*to_message(EVENT, x_errands_attempt=2)) == EVENT


def test_a_message_of_a_go_dispatcher_is_read_with_its_integers_and_without_its_empty_headers() -> None:
    properties, body = to_message(EVENT)
    properties.headers |= {"knativeerrorcode": 500, "tracestate": "", "flag": True}  # type: ignore[operator]

    assert to_event(properties, body) == EVENT.with_attributes(knativeerrorcode="500", flag="true")


def test_a_message_in_structured_mode_is_read() -> None:
    properties = pika.BasicProperties(content_type="application/cloudevents+json; charset=utf-8")

    event = to_event(properties, b'{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"n": 1}}')

    assert (event.id, event.data) == ("1", b'{"n": 1}')


def test_a_message_that_is_no_event_names_the_rule_that_it_breaks() -> None:
    with pytest.raises(NotAnEvent, match="attribute specversion is required"):
        to_event(pika.BasicProperties(), b"hello")


def test_a_published_message_is_consumed_and_gone_when_acknowledged(rabbit: RabbitServer) -> None:
    async def scenario(connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await channel.call("queue_declare", queue="once", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.publish(*to_message(EVENT), routing_key="once")
        message = await first(connection, "once")
        assert message.event() == EVENT

        left = await channel.call("queue_declare", queue="once", passive=True)
        assert left.message_count == 0

    run(rabbit, scenario)


def test_an_id_and_a_media_type_that_are_too_long_for_properties_arrive_in_the_headers(rabbit: RabbitServer) -> None:
    long = EVENT.with_attributes(id="ö" * 600, datacontenttype="text/plain; a=" + "b" * 300)

    async def scenario(connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await channel.call("queue_declare", queue="long", durable=True)
        for each in (long, EVENT):
            await channel.publish(*to_message(each), routing_key="long")
            assert (await first(connection, "long")).event() == each

    run(rabbit, scenario)


def test_what_is_not_acknowledged_is_delivered_again_on_another_channel(rabbit: RabbitServer) -> None:
    async def scenario(connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await channel.call("queue_declare", queue="again", durable=True)
        await channel.publish(*to_message(EVENT), routing_key="again")
        message = await first(connection, "again", acknowledge=False)
        again = await first(connection, "again")

        assert (message.redelivered, again.redelivered) == (False, True)

    run(rabbit, scenario)


def test_a_message_that_no_queue_takes_is_told_to_its_publisher_alone(rabbit: RabbitServer) -> None:
    async def scenario(connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await channel.call("queue_declare", queue="known", exclusive=True)
        results = await asyncio.gather(
            *(channel.publish(*to_message(EVENT), routing_key=key) for key in ("known", "nobody's", "known")),
            return_exceptions=True,
        )

        assert results[0] is results[2] is None
        assert isinstance(results[1], Unroutable)
        assert 'routing key "nobody\'s"' in str(results[1])

    run(rabbit, scenario)


def test_a_declaration_that_contradicts_the_server_is_refused_with_its_words(rabbit: RabbitServer) -> None:
    async def scenario(connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await channel.call("queue_declare", queue="as it is", exclusive=True)
        with pytest.raises(ServerRefused, match="inequivalent arg 'x-max-length'"):
            await channel.call("queue_declare", queue="as it is", exclusive=True, arguments={"x-max-length": 1})
        with pytest.raises(ServerUnavailable):
            await channel.publish(*to_message(EVENT), routing_key="as it is")

    run(rabbit, scenario)


def test_during_a_memory_alarm_publishing_fails_and_afterwards_it_goes_on(
    rabbit: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.amqp.channel.CONFIRM_TIMEOUT_S", 120.0)  # rabbitmqctl alone may take more than ours

    async def scenario(connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await channel.call("queue_declare", queue="alarmed", exclusive=True)
        await asyncio.to_thread(rabbit.alarm, on=True)
        try:
            sent = asyncio.create_task(channel.publish(*to_message(EVENT), routing_key="alarmed"))
            await eventually(lambda: connection.blocked)  # the server says so to who publishes
            with pytest.raises(ServerUnavailable, match="takes no messages now: low on memory"):
                await channel.publish(*to_message(EVENT), routing_key="alarmed")
        finally:
            await asyncio.to_thread(rabbit.alarm, on=False)
        await sent
        await eventually(lambda: not connection.blocked)
        await channel.publish(*to_message(EVENT), routing_key="alarmed")

    run(rabbit, scenario)


def test_a_lost_connection_fails_what_waits_and_comes_back(rabbit: RabbitServer) -> None:
    connections: list[AmqpConnection] = []

    async def serve(connection: AmqpConnection) -> None:
        connections.append(connection)

    async def scenario() -> None:
        keeping = asyncio.create_task(stay_connected(AmqpServer(url=rabbit.url), serve))
        await eventually(lambda: connections)
        channel = await connections[0].channel()
        await asyncio.to_thread(rabbit.control, "close_all_connections", "as tested")
        assert "as tested" in await connections[0].closed
        with pytest.raises(ServerUnavailable):
            await channel.publish(*to_message(EVENT), routing_key="x")
        await eventually(lambda: len(connections) == 2)
        await connections[1].channel()
        keeping.cancel()

    asyncio.run(scenario())


def test_no_server_and_no_admittance_are_told_apart_and_never_show_the_password(rabbit: RabbitServer) -> None:
    port = free_port()
    with pytest.raises(ServerUnavailable, match=f"no RabbitMQ answers at amqp://127.0.0.1:{port}/") as nobody:
        asyncio.run(connect(AmqpServer(url=f"amqp://me:hunter2@127.0.0.1:{port}")))
    with pytest.raises(ServerRefused, match="does not let this user in") as refused:
        asyncio.run(connect(AmqpServer(url=f"amqp://me:hunter2@127.0.0.1:{rabbit.port}")))
    with pytest.raises(ServerRefused, match="vhost nowhere not found"):
        asyncio.run(connect(AmqpServer(url=rabbit.url + "nowhere")))
    assert "hunter2" not in f"{nobody.value}{refused.value}{AmqpServer(url='amqp://me:hunter2@h')!r}"


def test_a_virtual_host_and_credentials_from_a_file_or_a_mounted_secret_are_used(
    rabbit: RabbitServer, tmp_path: Path
) -> None:
    rabbit.control("add_vhost", "a/b")
    rabbit.control("add_user", "worker", "p:ss wörd")
    rabbit.control("set_permissions", "-p", "a/b", "worker", ".*", ".*", ".*")
    (tmp_path / "one").write_text("worker:p:ss wörd\n")
    (tmp_path / "username").write_text("worker")
    (tmp_path / "password").write_text("p:ss wörd\n")

    async def let_in(credentials: Path) -> None:
        server = AmqpServer(url=f"amqp://127.0.0.1:{rabbit.port}/a%2Fb", credentials=credentials)
        connection = await connect(server, name="of the test")
        names = await asyncio.to_thread(rabbit.control, "list_connections", "user", "vhost", "client_properties")
        assert "worker\ta/b\t" in names
        assert "of the test" in names
        await connection.close()

    for credentials in (tmp_path / "one", tmp_path):
        asyncio.run(let_in(credentials))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://h", "amqp or amqps"),
        ("amqp://", "a host"),
        ("amqp://h/a/b", "%2F"),
        ("amqp://h/?heartbeat=1", "ends with its virtual host"),
        ("amqp://h:x/", "Port"),
    ],
)
def test_a_url_that_cannot_be_used_names_what_is_wrong(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        AmqpServer(url=url)


async def consuming(connection: AmqpConnection, queue: str, *, count: int) -> Channel:
    """A channel on which so many messages of a new queue, with the tags from 1 on, have come and wait."""
    channel = await connection.channel()
    await channel.call("queue_declare", queue=queue, durable=True)
    for _ in range(count):
        await channel.publish(*to_message(EVENT), routing_key=queue)
    tags: list[int] = []
    await channel.consume(queue, lambda message: tags.append(message.tag), prefetch=count)
    await eventually(lambda: len(tags) == count)
    return channel


async def left_in(connection: AmqpConnection, queue: str) -> int:
    """How many messages are ready."""
    declared = await (await connection.channel()).call("queue_declare", queue=queue, passive=True)
    return int(declared.message_count)


def test_what_is_acknowledged_in_one_turn_is_told_as_one_up_to_the_first_that_is_not_done(
    rabbit: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, bool]] = []

    async def scenario(connection: AmqpConnection) -> None:
        channel = await consuming(connection, "joined", count=5)
        tell = channel._channel.basic_ack

        def failure_listener(tag: int = 0, multiple: bool = False) -> None:
            told.append((tag, multiple))
            tell(tag, multiple)

        monkeypatch.setattr(channel._channel, "basic_ack", failure_listener)
        for tag in (4, 2, 1, 2):
            channel.acknowledge(tag)
        await eventually(lambda: told)
        channel.acknowledge(3)
        channel.acknowledge(5)
        await channel.close()

        assert await left_in(connection, "joined") == 0

    run(rabbit, scenario)

    assert told == [(2, True), (4, False), (5, True)]


def test_what_is_held_is_not_acknowledged_with_what_came_after_it(rabbit: RabbitServer) -> None:
    async def scenario(connection: AmqpConnection) -> None:
        channel = await consuming(connection, "held", count=3)
        channel.acknowledge(3)
        channel.acknowledge(2)
        await channel.close()

        assert await left_in(connection, "held") == 1

    run(rabbit, scenario)


def test_acknowledgements_go_out_before_a_connection_that_is_closed_at_once(rabbit: RabbitServer) -> None:
    async def closing(connection: AmqpConnection) -> None:
        (await consuming(connection, "closing", count=1)).acknowledge(1)

    async def looking(connection: AmqpConnection) -> None:
        assert await left_in(connection, "closing") == 0

    run(rabbit, closing)
    run(rabbit, looking)


def test_a_publish_without_a_confirm_in_time_is_unavailable_and_the_next_is_not(
    rabbit: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await channel.call("queue_declare", queue="late", durable=True)
        monkeypatch.setattr("functions.amqp.channel.CONFIRM_TIMEOUT_S", 0.0)
        with pytest.raises(ServerUnavailable, match="no confirm came"):
            await channel.publish(*to_message(EVENT), routing_key="late")
        monkeypatch.undo()

        await channel.publish(*to_message(EVENT), routing_key="late")

    run(rabbit, scenario)


def test_a_new_pika_that_does_not_send_by_its_adapter_sends_each_frame_by_itself(
    rabbit: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    send = AsyncioConnection._adapter_emit_data  # type: ignore[attr-defined]  # the stubs do not have it

    def note(self: AsyncioConnection, data: bytes) -> None:
        sent.append(data)
        send(self, data)

    async def scenario(connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await channel.call("queue_declare", queue="gathered", exclusive=True)
        monkeypatch.setattr(AsyncioConnection, "_adapter_emit_data", note)
        await asyncio.gather(*(channel.publish(*to_message(EVENT), routing_key="gathered") for _ in range(5)))
        monkeypatch.undo()

    run(rabbit, scenario)

    assert [each.count(EVENT.data) for each in sent] == [5]


@pytest.mark.parametrize("size_bytes", [0, 5_000, 100_000, 300_000])
def test_a_body_of_any_size_comes_as_it_was(rabbit: RabbitServer, size_bytes: int) -> None:
    body = bytes(range(256)) * (size_bytes // 256)

    async def scenario(connection: AmqpConnection) -> None:
        channel = await connection.channel()
        await channel.call("queue_declare", queue="sizes", durable=True)
        for _ in range(20):
            await channel.publish(*to_message(Event(EVENT.attributes, body)), routing_key="sizes")
        came: list[Message] = []
        await channel.consume("sizes", came.append, prefetch=20)
        await eventually(lambda: len(came) == 20)
        for message in came:
            channel.acknowledge(message.tag)

        assert all(message.event() == Event(EVENT.attributes, body) for message in came)

    run(rabbit, scenario)


async def first(connection: AmqpConnection, queue: str, *, acknowledge: bool = True) -> Message:
    """The next message of a queue, on a channel of its own that is closed afterwards."""
    channel = await connection.channel()
    arrived: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    await channel.consume(queue, arrived.set_result, prefetch=1)
    message = await asyncio.wait_for(arrived, 10)
    if acknowledge:
        channel.acknowledge(message.tag)
    await channel.close()
    return message


async def eventually(condition: Callable[[], Any]) -> None:
    """Return when the condition holds; fail after 20 s."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def run(rabbit: RabbitServer, scenario: Callable[[AmqpConnection], Awaitable[None]]) -> None:
    """The scenario on a connection."""

    async def whole() -> None:
        connection = await connect(AmqpServer(url=rabbit.url))
        try:
            await scenario(connection)
        finally:
            await connection.close()

    asyncio.run(whole())
