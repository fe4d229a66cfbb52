"""Messages as events: nothing that a broker can hold is more than an event or a dead letter of its own."""

import asyncio
import base64
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.spec import BasicProperties

from events.http import Event, check
from events.problem import NotAnEvent
from functions.amqp.adapter import KeptProperties, Undecoded
from functions.amqp.connection import connected
from functions.amqp.message import UNREADABLE, Message, to_event
from functions.amqp.server import AmqpServer
from tests.support.amqp_messages import EVENT, HOSTILE, NAN, NOT_UTF8, Field, RawProperties, encoded, table, text
from tests.support.rabbitmq_server import RabbitServer


def _long(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _fields(found: list[tuple[bytes, tuple[bytes, bytes]]]) -> list[Field]:
    return [Field(name, kind, value) for name, (kind, value) in found]


SIZES_BYTES = {b"t": 1, b"b": 1, b"B": 1, b"s": 2, b"U": 2, b"u": 2, b"I": 4, b"i": 4, b"f": 4}
SIZES_BYTES |= {b"L": 8, b"l": 8, b"d": 8, b"T": 8, b"D": 5, b"V": 0}

names = st.sampled_from([b"id", b"specversion", b"x-errands-attempt", b"x-delivery-count", b"cloudEvents:id"])
names |= st.binary(max_size=20)
scalars = st.sampled_from(sorted(SIZES_BYTES)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.binary(min_size=SIZES_BYTES[kind], max_size=SIZES_BYTES[kind]))
)
prefixed = st.tuples(st.sampled_from([b"S", b"x"]), st.binary(max_size=40).map(_long))
values = st.recursive(
    scalars | prefixed,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: (b"A", _long(b"".join(kind + value for kind, value in each))))
        | st.lists(st.tuples(names, inner), max_size=3).map(lambda each: (b"F", table(_fields(each))))
    ),
    max_leaves=8,
)
tables = st.lists(st.tuples(names, values), max_size=6).map(_fields)
shorts = st.none() | st.binary(max_size=40) | st.just(b"application/cloudevents+json")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary() | st.text() | st.datetimes() | st.decimals() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.binary(), inner, max_size=3),
    max_leaves=6,
)


def message(raw: bytes, body: bytes = b"") -> Message:
    """A message as it is read off the wire."""
    return Message(1, False, KeptProperties().decode(raw), body)


@pytest.mark.slow
@given(fields=st.none() | tables, content_type=shorts, message_id=shorts, body=st.binary(max_size=200))
def test_whatever_a_broker_holds_is_an_event_or_one_that_holds_the_message(
    fields: list[Field] | None, content_type: bytes | None, message_id: bytes | None, body: bytes
) -> None:
    raw = encoded(fields, content_type=content_type, message_id=message_id)

    event, problem = message(raw, body).read("work.queue")

    assert check(event) == event
    assert (problem is None) == (event.type != UNREADABLE)
    assert message(raw, body).read("work.queue") == (event, problem)
    assert 1 <= message(raw).attempt < 1_000_000


@given(raw=st.binary(max_size=300))
def test_properties_whose_lengths_do_not_fit_are_no_event_either(raw: bytes) -> None:
    event, _ = message(raw).read("work.queue")

    assert check(event) == event


@pytest.mark.slow
@given(headers=st.dictionaries(st.text() | st.binary(), anything, max_size=5), body=st.binary(max_size=50))
def test_whatever_a_client_library_makes_of_a_header_is_read_or_refused(
    headers: dict[str, object], body: bytes
) -> None:
    held = Message(1, False, BasicProperties(headers=headers), body)  # type: ignore[arg-type]  # as it must not be

    event, _ = held.read("work.queue")

    assert check(event) == event


@pytest.mark.parametrize("reason", HOSTILE)
def test_a_message_that_is_no_event_says_why_and_keeps_its_headers(reason: str) -> None:
    event, problem = message(HOSTILE[reason], b"the body").read("work.queue")

    kept = json.loads(event.get("amqpproperties") or "{}") or json.loads(event.data)["properties"]
    assert reason.encode() in (problem or b"")
    assert b"the body" in event.data or base64.b64encode(b"the body") in event.data
    assert set(kept["headers"]) >= {"source", "type"} or "specversion is required" in reason


def test_a_header_that_is_not_read_ends_no_event_when_it_is_none_of_the_events() -> None:
    raw = encoded([*EVENT, text("id", "1"), Field(b"x-score", b"d", NAN)], content_type=b"text/plain")

    event, problem = message(raw).read("work.queue")

    assert problem is None
    assert (event.id, event.get("datacontenttype")) == ("1", "text/plain")


def test_two_messages_with_one_body_and_other_headers_are_two_and_one_delivered_again_is_one() -> None:
    first = encoded([text("id", "1")], message_id=NOT_UTF8)
    again = encoded([text("id", "1"), Field(b"x-delivery-count", b"l", struct.pack(">q", 3))], message_id=NOT_UTF8)
    second = encoded([text("id", "2")], message_id=NOT_UTF8)

    one, same, other = (message(each, b"x").unreadable("work.queue") for each in (first, again, second))

    assert one == same
    assert one.id != other.id
    assert json.loads(other.attributes["amqpproperties"]) == {"headers": {"id": "2"}, "message_id": "\\xff\\xfe"}


def test_headers_that_are_too_long_for_an_attribute_are_kept_with_the_body_in_the_data() -> None:
    event = message(encoded([text("long", "v" * 9_000)]), b"\xff").unreadable("work.queue")

    kept = json.loads(event.data)
    assert check(event).get("datacontenttype") == "application/json"
    assert kept == {"properties": {"headers": {"long": "v" * 9_000}}, "body_base64": "/w=="}


@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_", "CloudEvents:", "ce-", ""])
def test_each_prefix_of_an_attribute_is_read(prefix: str) -> None:
    attributes = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "t", "tenant": "a"}
    headers = {prefix + name: value for name, value in attributes.items()}

    event = to_event(BasicProperties(headers=headers, content_type="text/plain"), b"x")

    assert event == Event({**attributes, "datacontenttype": "text/plain"}, b"x")


def test_beside_a_prefixed_header_one_without_is_the_applications_own() -> None:
    fields = [text(f"cloudEvents:{each.name.decode()}", each.value[4:].decode()) for each in EVENT]
    own = [text("retry count", "1"), Field(NOT_UTF8, b"t", b"\x01"), text("id", "another")]

    event = message(encoded([*fields, text("cloudEvents:id", "1"), *own])).event()

    assert event.attributes.keys() == {"specversion", "source", "type", "id"}
    assert event.id == "1"


def test_a_timestamp_is_a_time_as_the_binding_has_it() -> None:
    fields = [*EVENT, text("id", "1"), Field(b"time", b"T", struct.pack(">Q", 1_796_137_200))]

    assert message(encoded(fields)).event().get("time") == "2026-12-01T15:00:00Z"


def test_an_attempt_that_somebody_made_up_is_the_first() -> None:
    for kind, value in ((b"l", struct.pack(">q", -5)), (b"l", struct.pack(">q", 1 << 60)), (b"V", b"")):
        assert message(encoded([Field(b"x-errands-attempt", kind, value)])).attempt == 1


def test_a_new_pika_that_does_not_read_by_its_table_of_properties_loses_the_connection_to_a_time_that_is_none(
    rabbit: RabbitServer,
) -> None:
    far = encoded([Field(b"n", b"T", b"\x7f" * 8)])

    async def scenario() -> Message:
        async with connected(AmqpServer(url=rabbit.url)) as connection:
            channel = await connection.channel()
            await channel.call("queue_declare", queue="kept", exclusive=True)
            await channel.publish(RawProperties(far), b"x", routing_key="kept")
            came: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            await channel.consume("kept", came.set_result, prefetch=1)
            await asyncio.wait((came, connection.closed), timeout=10, return_when=asyncio.FIRST_COMPLETED)
            return came.result()

    held = asyncio.run(scenario())

    assert isinstance(held.headers["n"], Undecoded)
    with pytest.raises(NotAnEvent):
        held.event()
