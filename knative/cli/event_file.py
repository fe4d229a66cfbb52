"""The event that `errands send` sends: from a sample's name, a structured event, or data and a type.

A sample is one of Errands' own, or a file of `samples/` in the project that one is in.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from events import sdk
from events.http import STRUCTURED, Event, check, read
from events.problem import NotAnEvent
from knative.manifests.project import find

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


def samples() -> Mapping[str, Path]:
    """The jobs that have a sample request, and its file."""
    own = find(Path.cwd())
    files = {file.stem: file for file in sorted(own.samples.glob("*.json"))} if own else {}
    return {file.name.split(".")[2]: file for file in sorted(SAMPLES.glob("*.requested.v1.json"))} | files


def _content(name: str) -> tuple[bytes, bool]:
    if name == "-":
        return sys.stdin.buffer.read(), False
    known = samples()
    if name in known:
        return known[name].read_bytes(), True
    try:
        return Path(name).read_bytes(), False
    except OSError as error:
        listed = ", ".join(known)
        raise NotAnEvent(f"{name} is neither a file ({error.strerror}) nor a sample ({listed})") from error


def _json(content: bytes, name: str) -> bytes:
    try:
        msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnEvent(f"{name} must hold the job's data as a JSON object: {error}") from error
    return content
