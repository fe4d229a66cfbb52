"""What is read and written of AMQP in one go is what pika reads and writes."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame
from pika.spec import Basic, BasicProperties

from functions.wire import delivered, published

SHORT = st.text(max_size=60)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "content_type": SHORT,
        "headers": st.dictionaries(SHORT, st.text(max_size=300), max_size=12),
        "delivery_mode": st.sampled_from([1, 2]),
        "correlation_id": SHORT,
        "message_id": SHORT,
    },
)
BODIES = st.binary(max_size=300)
TAG = "ctag1.größe"
DELIVER = Basic.Deliver(TAG, 77, True, "b.default.errands", "")


def by_pika(method: Any, properties: BasicProperties, body: bytes, channel: int = 3) -> bytes:
    """All frames of a message."""
    start = frame.Method(channel, method).marshal() + frame.Header(channel, len(body), properties).marshal()
    return start + frame.Body(channel, body).marshal() if body else start


def delivery(properties: BasicProperties, body: bytes) -> bytes:
    return by_pika(DELIVER, properties, body)


@given(PROPERTIES, BODIES)
def test_a_delivery_is_read_as_it_was_written(properties: dict[str, Any], body: bytes) -> None:
    data = delivery(BasicProperties(**properties), body)

    message = delivered(data + b"what follows")

    assert message is not None
    assert (message.size_bytes, message.body, message.header.body_size) == (len(data), body, len(body))
    assert vars(message.header.properties) == vars(BasicProperties(**properties))
    method = message.method.method
    assert (message.method.channel_number, method.consumer_tag) == (3, TAG)
    assert (method.delivery_tag, method.redelivered) == (77, True)


def test_a_delivery_that_is_not_whole_is_left_to_pika_wherever_it_ends() -> None:
    data = delivery(BasicProperties(headers={"id": "j1"}, content_type="a/b"), b"{}")

    assert not any(delivered(data[:end]) for end in range(1, len(data)))


@pytest.mark.parametrize(
    "data",
    [
        delivery(BasicProperties(headers={"x-delivery-count": 3}), b"{}"),
        delivery(BasicProperties(headers={"x-death": [{"reason": "expired"}]}), b"{}"),
        delivery(BasicProperties(expiration="1000"), b"{}"),
        by_pika(Basic.Return(312, "NO_ROUTE", "e", ""), BasicProperties(), b"{}"),
        frame.Method(3, Basic.Ack(7, True)).marshal(),
        frame.Heartbeat().marshal(),
    ],
)
def test_what_is_not_plain_is_left_to_pika(data: bytes) -> None:
    assert delivered(data) is None


def test_a_header_that_is_no_utf_8_is_left_to_pika_which_gives_it_as_bytes() -> None:
    data = delivery(BasicProperties(headers={"id": "zz"}), b"{}").replace(b"zz", b"\xff\xfe")

    assert delivered(data) is None


def test_a_frame_of_another_channel_within_a_message_is_left_to_pika() -> None:
    data, of_another = (by_pika(DELIVER, BasicProperties(), b"{}", channel) for channel in (3, 4))
    method_bytes = struct.unpack_from(">I", data, 3)[0] + 8

    assert delivered(data[:method_bytes] + of_another[method_bytes:-10] + data[-10:]) is None
    assert delivered(data[:-10] + of_another[-10:]) is None


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_frame_without_its_end_is_left_to_pika_which_ends_the_connection(which: int) -> None:
    data = bytearray(delivery(BasicProperties(message_id="m"), b"{}"))
    ends = [at for at, byte in enumerate(data) if byte == 0xCE]
    data[ends[which]] = 0

    assert delivered(bytes(data)) is None


@given(SHORT, SHORT, PROPERTIES, BODIES)
def test_a_published_message_is_written_as_by_pika(
    exchange: str, key: str, properties: dict[str, Any], body: bytes
) -> None:
    method = Basic.Publish(0, exchange, key, True)

    written = published(3, method, BasicProperties(**properties), body)

    assert written == by_pika(method, BasicProperties(**properties), body)


def test_a_published_header_that_is_no_text_is_written_as_by_pika() -> None:
    properties = BasicProperties(headers={"x-errands-attempt": 2, "many": 2**40, "flag": True})
    method = Basic.Publish(0, "e", "", True)

    assert published(3, method, properties, b"{}") == by_pika(method, properties, b"{}")


@pytest.mark.parametrize(
    "properties",
    [BasicProperties(expiration="1000"), BasicProperties(message_id="m" * 256), BasicProperties(app_id="a")],
)
def test_other_properties_and_texts_that_are_too_long_are_pikas_to_write(properties: BasicProperties) -> None:
    assert published(3, Basic.Publish(0, "e", "", True), properties, b"{}") is None
