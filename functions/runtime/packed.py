"""Many events in one request, between the gateway and the runner of one machine.

Structured mode would take many times as long, and a request for each event as well. Both sides are ours and have
checked each event; nobody else is taken at this word.
"""

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from events.http import Event
from events.problem import NotAnEvent

PACKED: Final = "application/vnd.errands.events+msgpack"


def packed(events: Iterable[Event]) -> bytes:
    """The body."""
    return msgspec.msgpack.encode([(dict(each.attributes), each.data) for each in events])


def unpacked(body: bytes) -> Sequence[Event]:
    """The events of a body; raise NotAnEvent for what is none."""
    try:
        found = msgspec.msgpack.decode(body, type=list[tuple[dict[str, str], bytes]])
    except msgspec.DecodeError as error:
        raise NotAnEvent(f"the body must be packed events: {error}") from error
    return [Event(MappingProxyType(attributes), data) for attributes, data in found]
