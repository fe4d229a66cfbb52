"""The event that `errands send` sends: from a sample's name, a structured event, or data and a type."""

import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from events import sdk
from events.http import STRUCTURED, Event, check, read
from events.problem import NotAnEvent

SAMPLES: Final = Path(__file__).parents[2] / "events" / "samples"
SOURCE: Final = "/errands/send"


def build(name: str, type_: str | None, attributes: dict[str, str]) -> Event:
    """Read `name` (a sample such as `ics`, a file, or `-`); raise NotAnEvent with what was expected.

    A sample and plain data get a new id, because a job that was done is not done again; a structured event keeps its.
    """
    content, is_sample = _content(name)
    if type_ is None:
        event = read({"content-type": STRUCTURED}, content)
        fresh = sdk.new(type=event.type, source=event.source) if is_sample else {}
    else:
        event = Event(MappingProxyType({}), _json(content, name))
        fresh = sdk.new(type=type_, source=SOURCE, datacontenttype="application/json")
    return check(event.with_attributes(**fresh | attributes))


def sample_names() -> tuple[str, ...]:
    """The jobs that have a sample request."""
    return tuple(sorted(file.name.split(".")[2] for file in SAMPLES.glob("*.requested.v1.json")))


def _content(name: str) -> tuple[bytes, bool]:
    if name == "-":
        return sys.stdin.buffer.read(), False
    sample = SAMPLES / f"dev.errands.{name}.requested.v1.json"
    if name in sample_names():
        return sample.read_bytes(), True
    try:
        return Path(name).read_bytes(), False
    except OSError as error:
        known = ", ".join(sample_names())
        raise NotAnEvent(f"{name} is neither a file ({error.strerror}) nor a sample ({known})") from error


def _json(content: bytes, name: str) -> bytes:
    try:
        msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnEvent(f"{name} must hold the job's data as a JSON object: {error}") from error
    return content
