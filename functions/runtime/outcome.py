"""What a function's answer comes to, and the dead letter that an event becomes at last: one rule for all that deliver.

The rules are those of a Broker's delivery (Knative data-plane specification). eventing-rabbitmq takes a 4xx as success;
here it is a failure, as the specification says.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from events.http import STRUCTURED, Event, read
from events.problem import NotAnEvent, sentence

NO_RESPONSE: Final = -1  # knativeerrorcode of a delivery without an answer
BUSY: Final = 503
RETRIED_4XX: Final = frozenset({404, 408, 409, 429})
FAILURE_REPORT_BYTES: Final = 1024  # knativeerrordata holds at most this much (Knative delivery specification)
NOT_NOW_HEADER: Final = "errands-not-now"  # on a 503: the attempt was not made, and is none
FINAL_HEADER: Final = "errands-final"  # on a 500: another attempt comes to the same
NOT_NOW_GROWTH: Final = 0.2  # of what was waited already: the next wait
NOT_NOW_LIMIT_S: Final = 600.0  # of a wait that grows; a function may ask for a longer one
NOT_NOW_SPREAD_S: Final = 5.0
NOT_NOW_SPREAD: Final = 0.25  # of the wait, where that is more: what waits together does not come back together
_GAP: Final = b" [...] "


@dataclass(frozen=True, slots=True)
class Result:
    """What one attempt came to: a reply to route, nothing, or a failure with its failure report."""

    code: int
    reply: Event | None = None
    error: bytes | None = None
    retriable: bool = False
    log: Sequence[str] = ()  # the last lines of the function's process, where they are known
    not_now_s: float | None = None  # the attempt was not made: to be made after so long, and not counted
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

    Only 2xx is success; of 4xx only 404, 408, 409 and 429 are worth another attempt, and of 5xx all that do not say
    that they are final.
    """
    if not 200 <= status < 300:
        retriable = (status >= 500 and FINAL_HEADER not in headers) or status in RETRIED_4XX
        not_now_s = _wait_s(headers) if status == BUSY and NOT_NOW_HEADER in headers else None
        return Result(status, error=content or b"no body", retriable=retriable, not_now_s=not_now_s)
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if "ce-specversion" not in headers and media_type != STRUCTURED:
        return Result(status)
    try:
        return Result(status, reply=read(headers, content))
    except NotAnEvent as error:
        return Result(status, error=f"the reply is not an event: {error}".encode())


def put_off_s(asked_s: float, waited_s: float, chance: float) -> float:
    """How long an attempt that was not made is put off: as asked, longer the longer it has waited, and spread.

    `chance` is from 0 to 1.
    """
    wait_s = max(asked_s, min(waited_s * NOT_NOW_GROWTH, NOT_NOW_LIMIT_S))
    return wait_s + chance * max(NOT_NOW_SPREAD_S, wait_s * NOT_NOW_SPREAD)


def _wait_s(headers: Mapping[str, str]) -> float:
    """The seconds of Retry-After, as our functions write it (adapter.py)."""
    text = headers.get("retry-after", "")
    return float(text) if re.fullmatch("[0-9]{1,9}", text) else 0.0


def dead_letter(event: Event, result: Result, *, destination: str, trigger: str, attempts: int) -> Event:
    """The event with the extensions of Knative's dead letters, and ours: the Trigger and the attempts."""
    return event.with_attributes(
        knativeerrordest=destination,
        knativeerrorcode=str(result.code),
        knativeerrordata=base64.b64encode(result.failure_report).decode(),
        knativeerrortrigger=trigger,
        knativeerrorattempts=str(attempts),
    )
