"""AMQP messages as no client library writes them: properties and headers byte by byte."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pika.spec import BasicProperties

from functions.amqp.connection import connected
from functions.amqp.server import AmqpServer

NOT_UTF8 = b"\xff\xfe"


@dataclass(frozen=True)
class Field:
    """A field of a table: its name, its type, and its value as it goes over the wire."""

    name: bytes
    kind: bytes
    value: bytes


def text(name: str, value: str) -> Field:
    """A header that is a text."""
    return Field(name.encode(), b"S", struct.pack(">I", len(value.encode())) + value.encode())


def table(fields: Sequence[Field]) -> bytes:
    """A table with its length."""
    content = b"".join(bytes([len(each.name)]) + each.name + each.kind + each.value for each in fields)
    return struct.pack(">I", len(content)) + content


def nested(depth: int) -> Field:
    """A table within a table, and so on."""
    content = table([])
    for _ in range(depth):
        content = table([Field(b"t", b"F", content)])
    return Field(b"deep", b"F", content)


def encoded(
    fields: Sequence[Field] | None, *, content_type: bytes | None = None, message_id: bytes | None = None
) -> bytes:
    """The properties of a message as they go over the wire."""
    flags = sum(
        flag
        for flag, given in (
            (BasicProperties.FLAG_CONTENT_TYPE, content_type),
            (BasicProperties.FLAG_HEADERS, fields),
            (BasicProperties.FLAG_MESSAGE_ID, message_id),
        )
        if given is not None
    )
    short = [bytes([len(each)]) + each if each is not None else b"" for each in (content_type, message_id)]
    return struct.pack(">H", flags) + short[0] + (table(fields) if fields is not None else b"") + short[1]


class RawProperties(BasicProperties):
    """Properties that are sent as they are given."""

    def __init__(self, raw: bytes, **properties: Any) -> None:
        super().__init__(**properties)
        self._raw = raw

    def encode(self) -> list[bytes]:
        """What pika puts into the message's header frame."""
        return [self._raw]


EVENT = [text("specversion", "1.0"), text("source", "/tests"), text("type", "dev.errands.echo.requested.v1")]
NAN, INFINITE = struct.pack(">d", float("nan")), struct.pack(">d", float("inf"))

# What RabbitMQ keeps, and pika or the reader of events cannot make anything of; by the reason that a person is told.
HOSTILE: dict[str, bytes] = {
    "content type must be UTF-8": encoded([*EVENT, text("id", "h1")], content_type=b"text/" + NOT_UTF8),
    "a header's name must be UTF-8": encoded([*EVENT, text("id", "h2"), Field(NOT_UTF8, b"t", b"\x01")]),
    "tenant must be UTF-8": encoded([*EVENT, text("id", "h3"), Field(b"tenant", b"S", b"\x00\x00\x00\x02" + NOT_UTF8)]),
    "score holds a value that cannot be read": encoded([*EVENT, text("id", "h4"), Field(b"score", b"d", NAN)]),
    "far holds a value that cannot be read": encoded([*EVENT, text("id", "h5"), Field(b"far", b"d", INFINITE)]),
    "when holds a value that cannot be read": encoded([*EVENT, text("id", "h6"), Field(b"when", b"T", b"\x7f" * 8)]),
    "deep holds a value that cannot be read": encoded([*EVENT, text("id", "h7"), nested(2_000)]),
    "an attribute name must be of a-z": encoded([*EVENT, text("id", "h8"), text("no name", "x")]),
    "specversion is required": encoded(None),
    "must not hold control characters": encoded([*EVENT, text("id", "h\x009")], message_id=NOT_UTF8),
}
# RabbitMQ itself refuses a double that is no number.
HELD = {reason: raw for reason, raw in HOSTILE.items() if NAN not in raw and INFINITE not in raw}


async def publish_hostile(url: str, queue: str) -> None:
    """Publish each message that RabbitMQ keeps to a queue, all with the same body."""
    async with connected(AmqpServer(url=url)) as connection:
        channel = await connection.channel()
        for raw in HELD.values():
            await channel.publish(RawProperties(raw, delivery_mode=2), b"the same", routing_key=queue)
