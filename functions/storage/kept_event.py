"""An event in two columns, its attributes as JSON and its data as it is: a tenth of the time of structured mode."""

from types import MappingProxyType

import msgspec

from events.http import Event


def packed(event: Event) -> tuple[bytes, bytes]:
    """The columns `attributes` and `data`."""
    return msgspec.json.encode(dict(event.attributes)), event.data


def unpacked(attributes: bytes, data: bytes) -> Event:
    """The event of the columns; raise msgspec.DecodeError for what is none."""
    return Event(MappingProxyType(msgspec.json.decode(attributes, type=dict[str, str])), bytes(data))
