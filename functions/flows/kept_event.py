"""An event in a column: its attributes and its data as they are, which takes a tenth of the time of structured mode."""

from types import MappingProxyType

import msgspec

from events.http import Event

_decoder = msgspec.msgpack.Decoder(tuple[dict[str, str], bytes])


def packed(event: Event) -> bytes:
    """As `unpacked` reads it."""
    return msgspec.msgpack.encode((dict(event.attributes), event.data))


def unpacked(content: bytes) -> Event:
    """The event that was packed."""
    attributes, data = _decoder.decode(content)
    return Event(MappingProxyType(attributes), data)
