"""Events as AMQP messages, and messages as events, whatever they hold.

An event travels in the form of eventing-rabbitmq (pkg/rabbit/message.go): its attributes as headers without a prefix,
`datacontenttype` as the header `content-type` and the property, its id as `message_id`, persistent. Headers that begin
with `x-` are the broker's and never become attributes. Read as well are the prefixes of the CloudEvents AMQP binding
(3.1.3.1), `cloudEvents:` and `cloudEvents_`: where a header has one, those without are no attributes.
"""

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, cast
from urllib.parse import quote

from pika import DeliveryMode
from pika.spec import BasicProperties

from events.http import STRUCTURED, Event, check, read
from events.problem import NotAnEvent
from functions.amqp.adapter import Undecoded

SHORT_BYTES: Final = 255  # of a property's text (AMQP 0-9-1 4.2.5.3); a header's may be as long as a frame
UNREADABLE: Final = "dev.errands.unreadable.v1"  # the type of an event that holds a message which is none
PREFIXES: Final = ("cloudevents:", "cloudevents_")
ATTEMPT: Final = "x-errands-attempt"
WAITED: Final = "x-errands-waited"  # seconds
DELIVERY_COUNT: Final = "x-delivery-count"  # a quorum queue's count of the deliveries that came back
MOST: Final = 1_000_000  # of what is counted in a header; who sends to a queue may write anything there
DEEPEST: Final = 50  # tables within tables that are kept of a message which is no event
CHANGING: Final = frozenset({DELIVERY_COUNT, "x-acquired-count"})  # of a quorum queue, at each delivery
KEPT: Final = (
    "content_type",
    "content_encoding",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)


@dataclass(frozen=True, slots=True)
class Message:
    """A consumed message; `tag` acknowledges it on its channel."""

    tag: int
    redelivered: bool
    properties: BasicProperties
    body: bytes

    @property
    def headers(self) -> Mapping[str | bytes, Any]:
        """The headers as they came."""
        return headers_of(self.properties)

    @property
    def attempt(self) -> int:
        """Which attempt this is, as whoever put the message back has counted, from 1."""
        return max(1, _count(self.headers.get(ATTEMPT)))

    @property
    def waited_s(self) -> int:
        """How long it was put back in all without an attempt."""
        return _count(self.headers.get(WAITED))

    @property
    def deliveries(self) -> int:
        """How often RabbitMQ has delivered it before to a consumer that went away with it."""
        return _count(self.headers.get(DELIVERY_COUNT))

    def event(self) -> Event:
        """The event that the message carries; raises NotAnEvent, and nothing else, where there is none."""
        return to_event(self.properties, self.body)

    def read(self, queue: str) -> tuple[Event, bytes | None]:
        """The message's event; or one that holds the message of this queue, which is none, with the reason."""
        try:
            return self.event(), None
        except NotAnEvent as error:
            reason = f"the message is not an event: {error}"
            return self.unreadable(queue), reason.encode(errors="backslashreplace")

    def unreadable(self, queue: str) -> Event:
        """An event that holds this message, which is none: its body as data, its properties in `amqpproperties`.

        Where those are too long for an attribute the data is all of the message in JSON. The same message makes the
        same event, and another one another, be it other in its headers alone.
        """
        kept = json.dumps(_kept(self.properties), sort_keys=True)
        content = hashlib.sha256(self.body).hexdigest()
        attributes = {
            "specversion": "1.0",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{queue}:{content}:{kept}")),
            "source": f"urn:errands:rabbitmq:{quote(queue)}",
            "type": UNREADABLE,
        }
        whole = {"datacontenttype": "application/octet-stream", "amqpproperties": kept}
        try:
            return check(Event(MappingProxyType(attributes | whole), self.body))
        except NotAnEvent:
            data = f'{{"properties": {kept}, "body_base64": "{base64.b64encode(self.body).decode()}"}}'
            return Event(MappingProxyType(attributes | {"datacontenttype": "application/json"}), data.encode())


def headers_of(properties: BasicProperties) -> Mapping[str | bytes, Any]:
    """The headers as they came; a name that is no UTF-8 is bytes, which the stubs do not know."""
    return cast(Mapping[str | bytes, Any], properties.headers or {})


def to_message(event: Event, **headers: int | str) -> tuple[BasicProperties, bytes]:
    """The event as a persistent message; `headers` (`x-...`, with underscores for dashes) are the broker's own."""
    attributes = dict(event.attributes)
    media_type = attributes.pop("datacontenttype", None)
    named: dict[str, int | str] = {**attributes, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if media_type:
        named["content-type"] = media_type
    properties = BasicProperties(
        headers=named,
        content_type=_short(media_type),
        message_id=_short(event.id),
        delivery_mode=DeliveryMode.Persistent.value,
    )
    return properties, event.data


def to_event(properties: BasicProperties, body: bytes) -> Event:
    """The event of a message, in binary or structured mode; raises NotAnEvent with the rule that it breaks."""
    try:
        return _event(properties, body)
    except NotAnEvent:
        raise
    except Exception as error:  # of any type: nothing that a broker can hold may end a consumer
        raise NotAnEvent(f"the message cannot be read: {error!r}") from error


def _event(properties: BasicProperties, body: bytes) -> Event:
    content_type = _canonical("content type", properties.content_type or "")
    if content_type.split(";")[0].strip().lower() == STRUCTURED:
        return read({"content-type": content_type}, body)
    attributes = {}
    for name, value in _attributes(headers_of(properties)).items():
        if not name.startswith("x-") and value not in ("", None):
            attributes["datacontenttype" if name == "content-type" else name] = _canonical(name, value)
    if content_type:
        attributes.setdefault("datacontenttype", content_type)
    return check(Event(MappingProxyType(attributes), body))


def _attributes(headers: Mapping[str | bytes, Any]) -> dict[str, Any]:
    """The headers that stand for attributes, under their names in lower case."""
    texts = {name.lower(): value for name, value in headers.items() if isinstance(name, str)}
    prefixed = {name[len(PREFIXES[0]) :]: value for name, value in texts.items() if name.startswith(PREFIXES)}
    if prefixed:
        return prefixed
    for name in headers:
        if isinstance(name, bytes):
            raise NotAnEvent(f"a header's name must be UTF-8, got {name[:40]!r}")
    return {name.removeprefix("ce-"): value for name, value in texts.items()}


def _canonical(name: str, value: object) -> str:
    """An AMQP header's value as an attribute's string (CloudEvents 1.0 type system)."""
    if isinstance(value, Undecoded):
        raise NotAnEvent(f"{name} holds a value that cannot be read: {value[:40]!r}")
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise NotAnEvent(f"{name} must be UTF-8, got {value[:40]!r}") from error
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kept(properties: BasicProperties) -> dict[str, Any]:
    """The properties and headers of a message as JSON has them, without what changes at each delivery."""
    headers = {name: value for name, value in headers_of(properties).items() if name not in CHANGING}
    named = {name: _plain(getattr(properties, name)) for name in KEPT if getattr(properties, name) is not None}
    return named | {"headers": _plain(headers)}


def _plain(value: object, depth: int = 0) -> Any:
    """A value as JSON has it; bytes that are no UTF-8 are written `\\xff`."""
    if depth > DEEPEST:
        return "..."
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, Mapping):
        return {_plain(name): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    if value is None or isinstance(value, str | bool):
        return value
    return int(value) if isinstance(value, int) else str(value)


def _short(text: str | None) -> str | None:
    """A property's text, or None when it is too long for one; the header of the same name has it in any case."""
    return text if text and len(text.encode()) <= SHORT_BYTES else None


def _count(value: object) -> int:
    """A count in a header; 0 for what is none."""
    return int(value) if isinstance(value, int) and 0 <= value < MOST else 0
