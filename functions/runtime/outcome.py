"""What a function's answer comes to, and the dead letter that an event becomes at last: one rule for all that deliver.

The rules are those of a Broker's delivery (Knative data-plane specification). eventing-rabbitmq takes a 4xx as success;
here it is a failure, as the specification says.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from events.http import STRUCTURED, Event, read
from events.problem import NotAnEvent, sentence

NO_RESPONSE: Final = -1  # knativeerrorcode of a delivery without an answer
RETRIED_4XX: Final = frozenset({404, 408, 409, 429})
FAILURE_REPORT_BYTES: Final = 1024  # knativeerrordata holds at most this much (Knative delivery specification)
_GAP: Final = b" [...] "


@dataclass(frozen=True, slots=True)
class Result:
    """What one attempt came to: a reply to route, nothing, or a failure with its failure report."""

    code: int
    reply: Event | None = None
    error: bytes | None = None
    retriable: bool = False
    log: Sequence[str] = ()  # the last lines of the function's process, where they are known
    hung_up: bool = False  # the connection ended without a whole answer: the process may have ended

    @property
    def failed(self) -> bool:
        return self.error is not None

    @property
    def failure_report(self) -> bytes:
        """The failed answer, of a long one the beginning and the end: a traceback says at its end what went wrong."""
        error = self.error or b""
        if len(error) <= FAILURE_REPORT_BYTES:
            return error
        head = FAILURE_REPORT_BYTES // 4
        return error[:head] + _GAP + error[len(error) - (FAILURE_REPORT_BYTES - head - len(_GAP)) :]

    @property
    def sentence(self) -> str:
        """The failure report for a person."""
        return sentence(self.failure_report)


def judge(status: int, headers: Mapping[str, str], content: bytes) -> Result:
    """What an answer means; its headers' names in lower case.

    Only 2xx is success; of 4xx only 404, 408, 409 and 429 are worth another attempt.
    """
    if not 200 <= status < 300:
        return Result(status, error=content or b"no body", retriable=status >= 500 or status in RETRIED_4XX)
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if "ce-specversion" not in headers and media_type != STRUCTURED:
        return Result(status)
    try:
        return Result(status, reply=read(headers, content))
    except NotAnEvent as error:
        return Result(status, error=f"the reply is not an event: {error}".encode())


def dead_letter(event: Event, result: Result, *, destination: str, trigger: str, attempts: int) -> Event:
    """The event with the extensions of Knative's dead letters, and ours: the Trigger and the attempts."""
    return event.with_attributes(
        knativeerrordest=destination,
        knativeerrorcode=str(result.code),
        knativeerrordata=base64.b64encode(result.failure_report).decode(),
        knativeerrortrigger=trigger,
        knativeerrorattempts=str(attempts),
    )
