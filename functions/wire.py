"""pika's connection with its work for each message done in one go: frames read and written, and sent together.

Decided 2026-11-27: pika makes an object of each frame, looks callbacks up for it, and reads properties and tables field
by field. A message of ten headers took it 12.9 us to decode and more to pass on, and 6.8 are taken here; to encode it,
9.2 and 6.3. What is done here is a message in the form that ours have: whole in what was received, with a few
properties and headers of text. All else (other properties and types, large bodies, every other method) goes pika's way,
frame by frame; tests/test_wire.py has both ways agree.
"""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from struct import Struct
from typing import Any, Final

from pika import frame, spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.data import encode_value
from pika.spec import Basic, BasicProperties

_FRAME: Final = Struct(">BHI")  # type, channel, size (AMQP 0-9-1 2.3.5)
_AROUND_BYTES: Final = _FRAME.size + 1
_END: Final = 0xCE
_METHOD: Final = Struct(">I")
_PUBLISH: Final = Struct(">IH")  # with a field of former times
_TAG: Final = Struct(">QB")
_CONTENT: Final = Struct(">HHQH")  # class, weight, size of the body, flags of its properties (2.3.5.2)
_LENGTH: Final = Struct(">I")
_VALUE: Final = Struct(">cI")  # a text of a table

_CONTENT_TYPE: Final = BasicProperties.FLAG_CONTENT_TYPE
_HEADERS: Final = BasicProperties.FLAG_HEADERS
_DELIVERY_MODE: Final = BasicProperties.FLAG_DELIVERY_MODE
_CORRELATION_ID: Final = BasicProperties.FLAG_CORRELATION_ID
_MESSAGE_ID: Final = BasicProperties.FLAG_MESSAGE_ID
_OTHERS: Final = 0xFFFF & ~(_CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _CORRELATION_ID | _MESSAGE_ID)
_others = attrgetter(
    "content_encoding",
    "priority",
    "reply_to",
    "expiration",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
_NONE: Final = (None,) * 9


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message at the beginning of what was received, and how long it is there."""

    size_bytes: int
    method: frame.Method[Basic.Deliver]
    header: frame.Header
    body: bytes


class Wire(AsyncioConnection):
    """Sends all that one turn of the loop has to say at once; pika alone sends each frame, and a message is three."""

    # pika's own, of which its stubs do not tell
    _frame_buffer: bytes
    _channels: dict[int, Any]
    frames_received: int
    _body_max_length: int
    _read_frame: Callable[[], tuple[int, Any]]
    _process_frame: Callable[[Any], None]
    _trim_frame_buffer: Callable[[int], None]
    _output_marshaled_frames: Callable[[list[bytes]], None]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._gathered: list[bytes] = []
        self._before: list[Callable[[], None]] = []
        self._sending: asyncio.Handle | None = None
        super().__init__(*arguments, **options)

    def before_sending(self, say: Callable[[], None]) -> None:
        """Have it called at the end of this turn of the loop, before all is sent."""
        self._before.append(say)
        self._send_soon()

    def send_gathered(self) -> None:
        """Now."""
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

    def _send_message(self, channel_number: int, method_frame: Any, content: tuple[BasicProperties, bytes]) -> None:
        """Where pika sends a method with its content."""
        message = None
        if isinstance(method_frame, Basic.Publish) and len(content[1]) <= self._body_max_length:
            message = published(channel_number, method_frame, *content)
        if message is None:
            super()._send_message(channel_number, method_frame, content)  # type: ignore[misc]  # as above
        else:
            self._output_marshaled_frames([message])

    def _on_data_available(self, data_in: bytes) -> None:
        """Where pika takes what was received."""
        self._frame_buffer += data_in
        while self._frame_buffer:
            message = delivered(self._frame_buffer)
            if message is None or message.method.channel_number not in self._channels:
                used, read = self._read_frame()
                if read is None:
                    return
                self._trim_frame_buffer(used)
                self._process_frame(read)
            else:
                self._trim_frame_buffer(message.size_bytes)
                self.frames_received += 3
                self._channels[message.method.channel_number]._on_deliver(message.method, message.header, message.body)


def delivered(data: bytes) -> Delivered | None:
    """The message that is there first; None where something else is, or not all of it, or one for pika to read."""
    if data[0] != spec.FRAME_METHOD:
        return None
    try:
        return _delivered(data)
    except (struct.error, IndexError, UnicodeDecodeError):
        return None


def _delivered(data: bytes) -> Delivered | None:
    _, channel, size_bytes = _FRAME.unpack_from(data)
    if _METHOD.unpack_from(data, _FRAME.size)[0] != Basic.Deliver.INDEX:
        return None
    header_at = size_bytes + _AROUND_BYTES
    kind, header_channel, size_bytes = _FRAME.unpack_from(data, header_at)
    _, _, length, flags = _CONTENT.unpack_from(data, header_at + _FRAME.size)
    body_at = header_at + size_bytes + _AROUND_BYTES
    end = body_at + (length + _AROUND_BYTES if length else 0)
    if kind != spec.FRAME_HEADER or header_channel != channel or flags & _OTHERS or len(data) < end:
        return None
    if length and _FRAME.unpack_from(data, body_at) != (spec.FRAME_BODY, channel, length):
        return None
    if not data[header_at - 1] == data[body_at - 1] == data[end - 1] == _END:
        return None
    properties = _read_properties(data, header_at + _FRAME.size + _CONTENT.size, flags)
    if properties is None:
        return None
    header = frame.Header(channel, length, properties)
    return Delivered(end, frame.Method(channel, _read_deliver(data)), header, data[body_at + _FRAME.size : end - 1])


def _read_deliver(data: bytes) -> Basic.Deliver:
    """Without the exchange and the routing key, for which nobody asks."""
    consumer, at = _read_text(data, _FRAME.size + _METHOD.size)
    tag, redelivered = _TAG.unpack_from(data, at)
    return Basic.Deliver(consumer, tag, bool(redelivered))


def _read_properties(data: bytes, at: int, flags: int) -> BasicProperties | None:
    """In their order; None where a header is no text."""
    properties = BasicProperties()
    if flags & _CONTENT_TYPE:
        properties.content_type, at = _read_text(data, at)
    if flags & _HEADERS:
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        properties.headers = _read_headers(data, at + _LENGTH.size, end)
        at = end
        if properties.headers is None:
            return None
    if flags & _DELIVERY_MODE:
        properties.delivery_mode = data[at]  # type: ignore[assignment]  # the server has taken it
        at += 1
    if flags & _CORRELATION_ID:
        properties.correlation_id, at = _read_text(data, at)
    if flags & _MESSAGE_ID:
        properties.message_id, at = _read_text(data, at)
    return properties


def _read_headers(data: bytes, at: int, end: int) -> dict[str, str] | None:
    headers = {}
    while at < end:
        name_end = at + 1 + data[at]
        kind, length = _VALUE.unpack_from(data, name_end)
        if kind != b"S":
            return None
        value_at = name_end + _VALUE.size
        headers[data[at + 1 : name_end].decode()] = data[value_at : value_at + length].decode()
        at = value_at + length
    return headers


def _read_text(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(), end


def published(channel: int, method: Basic.Publish, properties: BasicProperties, body: bytes) -> bytes | None:
    """All frames of a message whose body fits in one; None for what pika is to write."""
    if _others(properties) != _NONE:
        return None
    try:
        texts = _text(method.exchange) + _text(method.routing_key)
        flags, encoded = _properties(properties)
    except ValueError:  # a text over 255 bytes
        return None
    start = _PUBLISH.pack(method.INDEX, 0) + texts + bytes((method.mandatory | method.immediate << 1,))
    header = _CONTENT.pack(Basic.INDEX, 0, len(body), flags) + encoded
    frames = _frame(spec.FRAME_METHOD, channel, start) + _frame(spec.FRAME_HEADER, channel, header)
    return frames + _frame(spec.FRAME_BODY, channel, body) if body else frames


def _properties(properties: BasicProperties) -> tuple[int, bytes]:
    flags, pieces = 0, []
    if properties.content_type is not None:
        flags |= _CONTENT_TYPE
        pieces.append(_text(properties.content_type))
    if properties.headers is not None:
        flags |= _HEADERS
        table = b"".join([_text(name) + _value(value) for name, value in properties.headers.items()])
        pieces += (_LENGTH.pack(len(table)), table)
    if properties.delivery_mode is not None:
        flags |= _DELIVERY_MODE
        pieces.append(bytes((properties.delivery_mode,)))
    if properties.correlation_id is not None:
        flags |= _CORRELATION_ID
        pieces.append(_text(properties.correlation_id))
    if properties.message_id is not None:
        flags |= _MESSAGE_ID
        pieces.append(_text(properties.message_id))
    return flags, b"".join(pieces)


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        encoded = value.encode()
        return _VALUE.pack(b"S", len(encoded)) + encoded
    pieces: list[bytes] = []
    encode_value(pieces, value)
    return b"".join(pieces)


def _text(text: str) -> bytes:
    """With its length in one byte; raises ValueError where that does not hold it."""
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded


def _frame(kind: int, channel: int, content: bytes) -> bytes:
    return _FRAME.pack(kind, channel, len(content)) + content + b"\xce"
