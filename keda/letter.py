"""What a function's answer comes to, and the letter that a message becomes at last, with Knative's extensions."""

import base64
import hashlib
import uuid
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from events.function import Answer
from events.http import STRUCTURED, Event, read
from events.problem import NotAnEvent, sentence
from functions.amqp import Message

NO_ANSWER: Final = -1  # knativeerrorcode of what ended without an answer
RETRIED_4XX: Final = frozenset({404, 408, 409, 429})
EVIDENCE_BYTES: Final = 1024  # knativeerrordata holds at most this much (Knative delivery specification)
UNREADABLE: Final = "dev.errands.unreadable.v1"


@dataclass(frozen=True, slots=True)
class Result:
    """What one attempt came to: a reply, or a failure with its evidence."""

    code: int
    reply: Event | None = None
    error: bytes = b""
    retriable: bool = False

    @property
    def sentence(self) -> str:
        """The evidence for a person."""
        return sentence(_evidence(self.error))


def judge(answer: Answer) -> Result:
    """What an answer means, by the rules of a Broker's delivery."""
    if answer.status >= 300:
        retriable = answer.status >= 500 or answer.status in RETRIED_4XX
        return Result(answer.status, error=answer.body or b"no body", retriable=retriable)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    if "ce-specversion" not in headers and not headers.get("content-type", "").startswith(STRUCTURED):
        return Result(answer.status)
    try:
        return Result(answer.status, reply=read(answer.headers, answer.body))
    except NotAnEvent as error:
        return Result(answer.status, error=f"the reply is not an event: {error}".encode())


def letter(event: Event, result: Result, *, queue: str, attempts: int) -> Event:
    """The event with the extensions of a Broker's dead letters; the lane's queue stands for the Trigger."""
    return event.with_attributes(
        knativeerrordest=f"amqp:{queue}",
        knativeerrorcode=str(result.code),
        knativeerrordata=base64.b64encode(_evidence(result.error)).decode(),
        knativeerrortrigger=queue,
        knativeerrorattempts=str(attempts),
    )


def unreadable(queue: str, message: Message) -> tuple[Event, str | None]:
    """The message's event; or one that holds a message which is none, with the reason (the same each time)."""
    try:
        return message.event(), None
    except NotAnEvent as error:
        content = hashlib.sha256(message.body).hexdigest()
        attributes = {
            "specversion": "1.0",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{queue}:{message.properties.message_id}:{content}")),
            "source": f"urn:errands:rabbitmq:{queue}",
            "type": UNREADABLE,
            "datacontenttype": "application/octet-stream",
        }
        return Event(MappingProxyType(attributes), message.body), f"the message is not an event: {error}"


def _evidence(error: bytes) -> bytes:
    """Of a long answer the beginning and the end: a traceback says at its end what went wrong."""
    if len(error) <= EVIDENCE_BYTES:
        return error
    gap = b" [...] "
    head = EVIDENCE_BYTES // 4
    return error[:head] + gap + error[len(error) - (EVIDENCE_BYTES - head - len(gap)) :]
