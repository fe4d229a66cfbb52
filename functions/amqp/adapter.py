"""All that reaches into pika: frames sent together, and messages read whatever they hold.

pika's bound in pyproject.toml is for this file. What it overrides: the adapter's `_adapter_emit_data`, through which a
connection sends each of its frames, and `BasicProperties.decode`, by which a consumed message's properties are read
(taken from the table `pika.spec.props`).
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final, Self

from pika import spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.data import decode_short_string, decode_value
from pika.spec import BasicProperties

# How long a field's value is, by its type (RabbitMQ's rabbit_binary_parser); S, x, A and F say it themselves.
SIZES_BYTES: Final = dict.fromkeys(b"tbB", 1) | dict.fromkeys(b"sUu", 2) | dict.fromkeys(b"Iif", 4)
SIZES_BYTES.update(dict.fromkeys(b"LldT", 8) | {ord("D"): 5, ord("V"): 0})


class Undecoded(bytes):
    """A field's type and value as they came, where they make no value in Python."""


class KeptProperties(BasicProperties):
    """A message's properties, read to the end whatever they hold.

    pika reads no number that is none (NaN), no time after the year 9999 and no table nested a thousand deep: it loses
    the connection, and RabbitMQ delivers the message again, to lose the next. Here such a value is Undecoded.
    """

    def decode(self, encoded: bytes, offset: int = 0) -> Self:
        """Read the properties; called by pika for each message that it is sent."""
        try:
            return super().decode(encoded, offset)
        except Exception:  # of any type: it is what stands in the message, which must not end the connection
            headers = self._decode_parted(encoded, offset)
        self.headers = headers  # type: ignore[assignment]  # the stubs know no name that is bytes
        return self

    def _decode_parted(self, encoded: bytes, offset: int) -> dict[str | bytes, Any]:
        try:
            before, table, after = _parted(encoded, offset)
            super().decode(before + after)
            return _tolerant(table)
        except (struct.error, IndexError):  # lengths that do not fit: no server keeps such a message
            vars(self).update(vars(BasicProperties()))
            return {"": Undecoded(encoded)}


def read_all_messages() -> None:
    """Have pika read every message by KeptProperties; it has one table for all connections of a process."""
    spec.props[BasicProperties.INDEX] = KeptProperties


class GatheringConnection(AsyncioConnection):
    """Sends all that one turn of the loop has to say at once; pika alone sends each frame, and a message is three."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._gathered: list[bytes] = []
        self._before: list[Callable[[], None]] = []
        self._sending: asyncio.Handle | None = None
        super().__init__(*arguments, **options)

    def before_sending(self, say: Callable[[], None]) -> None:
        """Have `say` called at the end of this turn of the loop, before all is sent."""
        self._before.append(say)
        self._send_soon()

    def send_gathered(self) -> None:
        """Send at once what has been gathered."""
        before, self._before = self._before, []
        for say in before:
            say()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        data = b"".join(self._gathered)
        self._gathered.clear()
        if data and not self.is_closed:  # it may have been lost meanwhile
            super()._adapter_emit_data(data)  # type: ignore[misc]  # where pika has an adapter send; its stubs have not

    def _adapter_emit_data(self, data: bytes) -> None:
        self._gathered.append(data)
        self._send_soon()

    def _send_soon(self) -> None:
        if self._sending is None:
            self._sending = asyncio.get_running_loop().call_soon(self.send_gathered)


def _parted(encoded: bytes, offset: int) -> tuple[bytes, bytes, bytes]:
    """The properties before the table of headers, marked as having none; the table's fields; the properties after."""
    flags, start = struct.unpack_from(">H", encoded, offset)[0], offset + 2
    for flag in (BasicProperties.FLAG_CONTENT_TYPE, BasicProperties.FLAG_CONTENT_ENCODING):
        start += 1 + encoded[start] if flags & flag else 0
    end = start + 4 + struct.unpack_from(">I", encoded, start)[0]
    marked = struct.pack(">H", flags & ~BasicProperties.FLAG_HEADERS)
    return marked + encoded[offset + 2 : start], encoded[start + 4 : end], encoded[end:]


def _tolerant(table: bytes) -> dict[str | bytes, Any]:
    """The fields of a table, each value that cannot be read as it came; of an unknown type all that follows it."""
    found: dict[str | bytes, Any] = {}
    offset = 0
    while offset < len(table):
        name, start = decode_short_string(table, offset)
        offset = start + _size_bytes(table, start)
        try:
            found[name], _ = decode_value(table[start:offset], 0)
        except Exception:  # as above
            found[name] = Undecoded(table[start:offset])
    return found


def _size_bytes(table: bytes, start: int) -> int:
    """How long a value is with its type."""
    kind = table[start]
    if kind in b"SxAF":
        return 5 + int(struct.unpack_from(">I", table, start + 1)[0])
    return 1 + SIZES_BYTES[kind] if kind in SIZES_BYTES else len(table) - start
