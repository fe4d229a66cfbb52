"""CloudEvents over HTTP: a request's headers and body to an `Event` or a batch of them, and back.

Every rule that an event must keep is here, since the CloudEvents SDK validates nothing. The SDK reads and writes
structured mode (events/sdk.py). Binary mode, in which the broker delivers, is read and written here; the SDK is its
judge in the tests (tests/events/test_sdk.py).
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Final
from urllib.parse import quote, unquote

import msgspec

from events import sdk
from events.problem import NotAnEvent

BODY_LIMIT_BYTES: Final = 10 * 1024 * 1024
# An attribute becomes a header on its way; gunicorn, in functions-framework's command, refuses one over 8,190 bytes.
ATTRIBUTE_LIMIT_CHARACTERS: Final = 4_096
ATTRIBUTE_LIMIT_COUNT: Final = 50

BATCH_LIMIT_COUNT: Final = 1_000

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
REQUIRED: Final = ("specversion", "id", "source", "type")
RESERVED: Final = frozenset({"data", "extensions", "schemaurl"})

_NAME = re.compile(r"[a-z0-9]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_IN_URI = re.compile(r'[\s<>"{}|\\^`]')
_HEADER_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_NEEDS_ENCODING = re.compile(f"[^{re.escape(_HEADER_SAFE)}]")
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_TRACE_HEADER = re.compile(r"[\x20-\x7e]{1,512}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

# What an attribute may be in JSON; an integer has 32 bits (CloudEvents 1.0 type system), and sdk-go refuses others.
_Value = str | bool | Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)] | None


@dataclass(frozen=True, slots=True)
class Event:
    """A CloudEvent 1.0: every attribute as its string, `datacontenttype` among them; the data as bytes."""

    attributes: Mapping[str, str]
    data: bytes

    @property
    def id(self) -> str:
        return self.attributes["id"]

    @property
    def source(self) -> str:
        return self.attributes["source"]

    @property
    def type(self) -> str:
        return self.attributes["type"]

    def get(self, name: str) -> str | None:
        """The value of an optional attribute."""
        return self.attributes.get(name)

    def with_attributes(self, **attributes: str) -> "Event":
        """The same event with attributes added or replaced."""
        return Event(MappingProxyType({**self.attributes, **attributes}), self.data)


def read(headers: Mapping[str, str], body: bytes) -> Event:
    """Read a request in binary or structured mode; raise NotAnEvent with the rule that it breaks."""
    lowered = {name.lower(): value for name, value in headers.items()}
    if len(body) > BODY_LIMIT_BYTES:
        raise NotAnEvent(f"the body must be at most {BODY_LIMIT_BYTES} bytes, got {len(body)}")
    media_type = lowered.get("content-type", "").split(";")[0].strip().lower()
    if media_type == STRUCTURED:
        attributes, data = _read_structured(body)
    elif "ce-specversion" in lowered:
        attributes, data = _read_binary(lowered, body)
    else:
        raise NotAnEvent(f"a ce-specversion header or content-type {STRUCTURED} is expected, got {media_type!r}")
    return _checked(attributes, data, lowered)


def read_batch(headers: Mapping[str, str], body: bytes) -> list[Event | NotAnEvent]:
    """The events of a batch (CloudEvents JSON format 4) in their order, and in the place of each that is none the rule
    that it breaks; raise NotAnEvent for a body that is no batch, or too long.
    """
    if len(body) > BODY_LIMIT_BYTES:
        raise NotAnEvent(f"the body must be at most {BODY_LIMIT_BYTES} bytes, got {len(body)}")
    try:
        members = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnEvent(f"the body must be a JSON list of events: {error}") from error
    if len(members) > BATCH_LIMIT_COUNT:
        raise NotAnEvent(f"a batch may hold at most {BATCH_LIMIT_COUNT} events, got {len(members)}")
    lowered = {name.lower(): value for name, value in headers.items()}
    return [_member(bytes(each), lowered) for each in members]


def _member(body: bytes, headers: Mapping[str, str]) -> Event | NotAnEvent:
    try:
        return _checked(*_read_structured(body), headers)
    except NotAnEvent as error:
        return error


def _checked(attributes: dict[str, str], data: bytes, headers: Mapping[str, str]) -> Event:
    return check(Event(MappingProxyType(_with_trace(attributes, headers)), data))


def check(event: Event) -> Event:
    """Return the event when it keeps CloudEvents 1.0 and our limits on attributes; raise NotAnEvent otherwise."""
    for name in REQUIRED:
        if not event.attributes.get(name):
            raise NotAnEvent(f"attribute {name} is required and must not be empty")
    _check_version(event.attributes["specversion"])
    _check_count(len(event.attributes))
    for name, value in event.attributes.items():
        _check_attribute(name, value)
    if _NOT_IN_URI.search(event.source):
        raise NotAnEvent(f"source must be a URI reference (RFC 3986), got {event.source[:80]!r}")
    if "time" in event.attributes:
        rfc3339(event.attributes["time"])
    media_type = event.attributes.get("datacontenttype", "")
    if not media_type.isascii() or media_type.lower().startswith("application/cloudevents"):
        # in binary mode it becomes the content-type, which decides how the request is read
        raise NotAnEvent(f"datacontenttype must be ASCII and not a CloudEvents format, got {media_type[:80]!r}")
    return event


def rfc3339(text: str) -> datetime:
    """Read an RFC 3339 time; a leap second counts as the second before; raise NotAnEvent otherwise."""
    parts = _RFC3339.fullmatch(text)
    try:
        if parts is None:
            raise ValueError("not RFC 3339")
        day, minute, second, fraction, zone = parts.groups()
        fraction = (fraction or ".0")[:7]
        return datetime.fromisoformat(f"{day}T{minute}:{min(int(second), 59):02}{fraction}{zone.upper()}")
    except ValueError as error:
        raise NotAnEvent(f"a time must be RFC 3339, such as 2026-12-01T14:00:00Z, got {text[:40]!r}") from error


def timestamp(moment: datetime) -> str:
    """A moment (in UTC) as RFC 3339 writes it, with milliseconds: such texts sort by time."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def binary(event: Event) -> tuple[dict[str, str], bytes]:
    """The event in binary mode; values are percent-encoded (CloudEvents HTTP binding 3.1.3.2)."""
    headers = {f"ce-{name}": _percent_encode(value) for name, value in event.attributes.items()}
    if "datacontenttype" in event.attributes:
        del headers["ce-datacontenttype"]
        headers["content-type"] = event.attributes["datacontenttype"]
    return headers, event.data


def structured(event: Event) -> bytes:
    """The event in structured mode (`application/cloudevents+json`); data that is not JSON goes as base64."""
    return sdk.written(event.attributes, event.data, json=bool(event.data) and _is_json(event))


def _read_binary(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    carried = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    for name in carried:
        _check_name(name)
    for name in REQUIRED:
        if name not in carried:
            raise NotAnEvent(f"attribute {name} is required: the header ce-{name} is missing")
    _check_version(carried["specversion"])
    attributes = _without_empty({name: _percent_decode(value) for name, value in carried.items()})
    attributes.pop("datacontenttype", None)
    if headers.get("content-type"):
        attributes["datacontenttype"] = headers["content-type"]
    return attributes, body


def _read_structured(body: bytes) -> tuple[dict[str, str], bytes]:
    try:
        envelope, data = _envelope(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAnEvent(f"the body must be a JSON object of attributes and data: {error}") from error
    for name in REQUIRED:
        if name not in envelope:
            raise NotAnEvent(f"attribute {name} is required and must not be empty")
    _check_version(msgspec.json.decode(envelope["specversion"]))
    values, binary_data = sdk.read(envelope)
    attributes = _without_empty({name: _canonical(value) for name, value in values.items()})
    if data:
        attributes.setdefault("datacontenttype", "application/json")  # CloudEvents JSON format 3.1.1
        if data.startswith(b'"') and not _declares_json(attributes):
            data = msgspec.json.decode(data, type=str).encode()  # text, such as XML, as a JSON string
    return attributes, data or binary_data


def _envelope(body: bytes) -> tuple[dict[str, msgspec.Raw], bytes]:
    """The members of a structured event that are not null, each of a type that it may have, without its `data`."""
    envelope = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    data = bytes(envelope.pop("data", b""))
    msgspec.json.decode(data or b"null")
    data_base64 = envelope.pop("data_base64", None)
    if data_base64 is not None and data:
        raise NotAnEvent("only one of data and data_base64 is taken")
    kept = {name: raw for name, raw in envelope.items() if msgspec.json.decode(raw, type=_Value) is not None}
    for name in kept:
        _check_name(name)
    kept = {name: raw for name, raw in kept.items() if bytes(raw) != b'""' or name in REQUIRED}
    _check_count(len(kept))  # before the SDK, whose time grows with the square of it
    if data_base64 is not None:
        msgspec.json.decode(data_base64, type=bytes)
        kept["data_base64"] = data_base64
    return kept, data


def _check_count(count: int) -> None:
    if count > ATTRIBUTE_LIMIT_COUNT:
        raise NotAnEvent(f"at most {ATTRIBUTE_LIMIT_COUNT} attributes are taken, got {count}")


def _check_version(version: object) -> None:
    if version != "1.0":
        raise NotAnEvent(f"specversion must be 1.0, got {str(version)[:20]!r}")


def _without_empty(attributes: dict[str, str]) -> dict[str, str]:
    """An empty attribute is one that was left out, as SDKs of other languages send it; a required one must not be."""
    if all(attributes.values()):
        return attributes
    return {name: value for name, value in attributes.items() if value or name in REQUIRED}


def _with_trace(attributes: dict[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """Take the trace context from the HTTP headers where the event has none; drop a malformed one (W3C)."""
    if "traceparent" not in attributes:
        hop = {name: headers.get(name, "") for name in ("traceparent", "tracestate")}
        attributes |= {name: value for name, value in hop.items() if _TRACE_HEADER.fullmatch(value)}
    if not _TRACEPARENT.fullmatch(attributes.get("traceparent", "")):
        attributes.pop("traceparent", None)
        attributes.pop("tracestate", None)
    return attributes


@lru_cache(maxsize=256)  # the same few names in every event
def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise NotAnEvent(f"an attribute name must be of a-z and 0-9 and not reserved, got {name[:40]!r}")


def _check_attribute(name: str, value: str) -> None:
    _check_name(name)
    if not value:
        raise NotAnEvent(f"attribute {name} must not be empty: leave it out")
    if not value.isprintable() and _CONTROL.search(value):
        raise NotAnEvent(f"attribute {name} must not hold control characters, got {value[:40]!r}")
    if value.isascii() and 3 * len(value) <= ATTRIBUTE_LIMIT_CHARACTERS:
        return  # it fits, however much of it is encoded
    if len(_percent_encode(value)) > ATTRIBUTE_LIMIT_CHARACTERS:
        raise NotAnEvent(f"attribute {name} must be at most {ATTRIBUTE_LIMIT_CHARACTERS} characters when encoded")


def _canonical(value: str | bool | int) -> str:
    """A structured attribute's canonical string (CloudEvents 1.0 type system)."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _percent_encode(value: str) -> str:
    try:
        return quote(value, safe=_HEADER_SAFE) if _NEEDS_ENCODING.search(value) else value
    except UnicodeEncodeError as error:
        raise NotAnEvent("attributes must be Unicode text without lone surrogates") from error


def _percent_decode(value: object) -> str:
    text = str(value)
    if text.isascii() and "%" not in text and '"' not in text:  # nearly all of them
        return text
    if not text.isascii():  # sdk-go, so Knative's brokers, writes UTF-8 as it is (issue 1331); servers give Latin-1
        with suppress(UnicodeError):
            text = text.encode("latin-1").decode()
    if quoted := _QUOTED.fullmatch(text):  # CloudEvents HTTP binding 3.1.3.2: what an older SDK sends
        text = re.sub(r"\\(.)", r"\1", quoted[1])
    try:
        return unquote(text, errors="strict") if "%" in text else text
    except UnicodeDecodeError as error:
        raise NotAnEvent(f"a header must be percent-encoded UTF-8, got {text[:40]!r}") from error


def _declares_json(attributes: Mapping[str, str]) -> bool:
    media_type = attributes.get("datacontenttype", "application/json").split(";")[0].strip().lower()
    return media_type.endswith(("/json", "+json"))


def _is_json(event: Event) -> bool:
    if not _declares_json(event.attributes):
        return False
    try:
        msgspec.json.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
