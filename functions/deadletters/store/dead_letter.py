"""What a dead letter is: an event, and what the broker says of why it could not be delivered."""

import base64
import hashlib
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from events.http import Event
from events.job import job_of, outcome_of
from events.problem import sentence
from functions.deadletters.service.results import Kind
from functions.runtime.adapter import REPLAYED
from functions.runtime.failure_reports import service_of
from functions.runtime.masking import CONTRACT, Rules

ADDED: Final = "knativeerror"  # what the broker adds to the event, all beginning with this
REPLAY_OF: Final = "replayof"  # the dead letter's number, on a job that was made anew of it
NO_CODE: Final = 0
CONSOLE: Final = "console"  # its name in knative/base/console.yaml
NOTIFIER: Final = "notifier"  # its name in knative/base/notifier.yaml
PATTERN_CHARACTERS: Final = 300
ERROR_CHARACTERS: Final = 10_000

# What differs from dead letter to dead letter with one cause: quoted values, addresses' queries, ids, figures.
_VARYING: Final = (
    (re.compile(r"'[^']{0,500}'|\"[^\"]{0,500}\""), "'…'"),
    (re.compile(r"\?[^\s?]+=[^\s]*"), "?…"),
    (re.compile(r"\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b(?=[a-f]*[0-9])[0-9a-f]{8,}\b"), "…"),
    (re.compile(r"[0-9]+([.,:][0-9]+)*"), "…"),
)
# What the notifier says of a receiver that takes no callback now, whatever was called there, and how it failed.
_RECEIVER: Final = re.compile(r"(?:callback )?(https?://[^\s/]+)(?:/\S*)? (.+)", re.DOTALL)
_DOWN: Final = re.compile(
    r"(could not be connected to|did not answer|cannot be reached|is not called now|is on trial"
    r"|has [0-9]+ calls in flight|answered (429|502|503|504)\b)"
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an event became a dead letter, as far as the broker tells it.

    `code` is the last HTTP status, -1 when no answer came, 0 when none was told; `attempts` None when none were told.
    """

    code: int
    destination: str
    trigger: str
    error: str
    attempts: int | None

    @property
    def pattern(self) -> str:
        """The error without what varies: dead letters with the same one have the same cause, most likely."""
        text = _of_receiver(" ".join(self.error[: 4 * PATTERN_CHARACTERS].split()))
        for varying, mark in _VARYING:
            text = varying.sub(mark, text)
        return text[:PATTERN_CHARACTERS]


def failure(event: Event, rules: Rules = CONTRACT) -> Failure:
    """What the broker added to the event, which may be anything, without what the rules hide in the event.

    The error is kept, shown, told and alerted of to more people than the data that it quotes.
    """
    attempts = event.get("knativeerrorattempts") or ""
    return Failure(
        code=_integer(event.get("knativeerrorcode") or "", NO_CODE),
        destination=storable(event.get("knativeerrordest") or ""),
        trigger=storable(event.get("knativeerrortrigger") or ""),
        error=_error_text(event, rules),
        attempts=_integer(attempts, 0) if attempts else None,
    )


def original(event: Event) -> Event:
    """The event as it was before the broker gave up on it: what a replay sends."""
    added = {name for name in event.attributes if name.startswith(ADDED)} | {REPLAYED}
    kept = {name: value for name, value in event.attributes.items() if name not in added}
    return Event(MappingProxyType(kept), event.data)


def key(event: Event, failure: Failure) -> str:
    """The same event from the same Trigger (or, where the broker does not tell it, to the same place) is one dead
    letter.
    """
    return digest(event.source, event.id, event.type, failure.trigger or failure.destination)


def job_key(event: Event) -> str:
    """The same for every event of a job: its request's source and id."""
    return digest(*job_of(event))


def fingerprint(event: Event, failure: Failure) -> str:
    """The same for dead letters of one kind with one cause: they are one group."""
    return digest(event.type, str(failure.code), failure.trigger, failure.destination, failure.pattern)


def job_name(type_: str) -> str:
    """The job in an event type: `image` of `dev.errands.image.requested.v1`; otherwise the type itself."""
    parts = re.fullmatch(r".*\.([a-z0-9]+)\.[a-z]+\.v[0-9]+", type_[:500])
    return parts[1] if parts else type_[:100]


def kind(type_: str, destination: str) -> Kind:
    """Whether an event of this type, undelivered to this address, was a job's or the callback of one."""
    ended = re.fullmatch(r".*\.(completed|failed|deadlettered)\.v[0-9]+", type_[:500])
    return "callback" if ended and service_of(destination) == NOTIFIER else "job"


def is_outcome(event: Event) -> bool:
    """Whether the event tells how a job ended."""
    return outcome_of(event) in ("completed", "failed")


def is_undelivered_outcome(event: Event) -> bool:
    """Whether the event tells how a job ended, rather than being a dead letter itself: it was for the console, and
    comes to the sink as a dead letter where the console does not take it. What else the console did not take, such as
    the request of a replay, is nobody's dead letter either.
    """
    undelivered = event.get("knativeerrordest")
    if undelivered is None:
        return is_outcome(event) and bool(event.get(REPLAYED))
    return service_of(undelivered) == CONSOLE


def digest(*parts: str) -> str:
    """A short key of texts that may be long."""
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()


def storable(text: str) -> str:
    """Text as every database takes it: PostgreSQL refuses a NUL, UTF-8 a lone surrogate."""
    return text.encode(errors="replace").decode().replace("\x00", "�")


def _of_receiver(text: str) -> str:
    """One sentence for all that is said of one receiver that is down: the calls that failed, and those not made."""
    receiver = _RECEIVER.fullmatch(text)
    return f"{receiver[1]} takes no callbacks" if receiver and _DOWN.match(receiver[2]) else text


def _error_text(event: Event, rules: Rules) -> str:
    """The failed response's body, which comes base64-encoded; of problem details their sentence."""
    encoded = event.get("knativeerrordata") or ""
    try:
        text = sentence(base64.b64decode(encoded, validate=True))
    except ValueError:  # not base64, or not even ASCII
        text = encoded
    return storable(rules.told(text[:ERROR_CHARACTERS], event))


def _integer(text: str, otherwise: int) -> int:
    return int(text) if re.fullmatch("-?[0-9]{1,9}", text) else otherwise
