"""The CloudEvents SDK, in the one module that imports it: structured mode, and what a new event needs.

The SDK is no validator and keeps data as Python's values, so three things stand beside it, here and in events/http.py:
what it is given was checked before (names, types, base64); an event's data passes it by as the bytes that came, since
`1.50` would leave it as `1.5`; and the time that it makes up for an event without one is taken out again, since two
deliveries of one event would differ.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from cloudevents.conversion import to_json
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_json

from events.problem import NotAnEvent


def read(envelope: Mapping[str, msgspec.Raw]) -> tuple[dict[str, Any], bytes]:
    """The attributes of a structured event without `data` or null members, and the bytes of its data_base64."""
    try:
        event = from_json(msgspec.json.encode(envelope), data_unmarshaller=bytes)
    except GenericException as error:
        raise NotAnEvent(f"the CloudEvents SDK does not take the event: {error}") from error
    attributes = dict(event.get_attributes())
    if "time" not in envelope:
        del attributes["time"]
    return attributes, event.get_data() or b""


def written(attributes: Mapping[str, str], data: bytes = b"", *, json: bool) -> bytes:
    """The event in structured mode: data of JSON as it is, any other as base64."""
    event = CloudEvent(attributes, None if json or not data else data)
    if "time" not in attributes:
        del event["time"]
    envelope = to_json(event)
    return b'%s, "data": %s}' % (envelope[:-1], data) if json else envelope


def new(**attributes: str) -> dict[str, str]:
    """The attributes of a new event of this `type` and `source`, with an id and a time of its own."""
    return dict(CloudEvent(attributes).get_attributes())
