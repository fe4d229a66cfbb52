"""An event as operators are shown it: without what is hidden (functions/runtime/masking.py), whole, or without data."""

from typing import Any, Final

import msgspec

from events.http import Event
from functions.deadletters.service.results import ShownEvent
from functions.runtime.masking import MASK, Rules, without_query

WITHOUT_DATA: Final = ("specversion", "id", "source", "type", "time", "datacontenttype", "jobid", "jobsource")


def masked(event: Event, rules: Rules, types: list[str]) -> ShownEvent:
    """The event without what the rules and the marks of its type, and of these, hide."""
    shown = rules.masked(event, types)
    return ShownEvent(attributes=shown.attributes, data=shown.data, masked=shown.names)


def whole(event: Event) -> ShownEvent:
    """The event with nothing hidden."""
    try:
        return ShownEvent(attributes=dict(event.attributes), data=event.data.decode())
    except UnicodeDecodeError:
        return ShownEvent(attributes=dict(event.attributes), data_base64=event.data)


def without_data(event: Event, rules: Rules) -> ShownEvent:
    """What somebody may see who may not see data: which event it is."""
    shown = {
        name: MASK if name in rules.attributes else without_query(value)
        for name, value in event.attributes.items()
        if name in WITHOUT_DATA
    }
    hidden = tuple(name for name in event.attributes if name not in shown)
    return ShownEvent(attributes=shown, masked=(*hidden, "#"))


def restore(edited: bytes, came: bytes) -> bytes:
    """Data that was edited while masked, with what was hidden put back from what came."""
    if MASK.encode() not in edited:
        return edited
    try:
        return msgspec.json.encode(_restored(msgspec.json.decode(edited), msgspec.json.decode(came)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return edited  # the contract's check says what is wrong with it


def _restored(edited: Any, came: Any) -> Any:
    if isinstance(edited, dict) and isinstance(came, dict):
        return {name: _restored(each, came.get(name)) for name, each in edited.items()}
    if isinstance(edited, list) and isinstance(came, list):
        came = [*came, *[None] * len(edited)]
        return [_restored(each, other) for each, other in zip(edited, came, strict=False)]
    hidden = isinstance(edited, str) and MASK in edited and came is not None
    return came if hidden and (edited == MASK or edited == without_query(came)) else edited
