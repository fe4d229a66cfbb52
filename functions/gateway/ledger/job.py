"""A job as the ledger knows it: its identity, its state, and what is written when it is accepted.

Its key is made of its request's source and id, so that whoever knows those knows the key.
"""

import hashlib
import uuid
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from events.http import Event
from events.job import NAMESPACE, canonical, job_of

State = Literal["waiting", "sent", "completed", "failed", "deadlettered", "cancelled", "lost"]
STATES: Final[tuple[State, ...]] = ("waiting", "sent", "completed", "failed", "deadlettered", "cancelled", "lost")
OPEN: Final = ("waiting", "sent")
MENDED: Final = ("failed", "deadlettered", "lost")  # may be asked for again under their id, also with other data


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A request that was judged good; `due_ms` is when it is sent by whoever finds it, where nobody has before."""

    key: str
    event: Event
    api: str
    fingerprint: str
    accepted_ms: int
    due_ms: int
    priority: int = 0
    limit_key: str | None = None
    unique_key: str | None = None
    not_before_ms: int | None = None
    latest_ms: int | None = None  # of one that is debounced


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a request; `fresh` where it is to be sent, and not the repetition of one that was.

    `event` is what is sent, where that is another than came. Who has `joined` an open job by its unique key is told of
    that one.
    """

    id: int
    key: str
    state: State
    fresh: bool
    event: Event | None = None
    joined: bool = False
    waits: bool = False  # it is not to be sent at once


@dataclass(frozen=True, slots=True)
class Conflict:
    """The job is there with other data, and in a state that leaves no room for it."""

    key: str
    state: State


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a job is: by its function's own word, in percent where that is known."""

    at_ms: int
    percent: float | None = None
    text: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, ("" if self.percent is None else f"{self.percent:g} %", self.text)))


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A row: all that is known of a job but its request and its end."""

    id: int
    key: str
    source: str
    event_id: str
    type: str
    subject: str | None
    api: str
    state: State
    fingerprint: str
    priority: int
    limit_key: str | None
    unique_key: str | None
    accepted_ms: int
    not_before_ms: int | None
    due_ms: int | None
    sent_ms: int | None
    retry_ms: int | None
    ended_ms: int | None
    tries: int
    attempt: int
    error: str | None
    progress: str | None
    latest_ms: int | None = None
    let_in: int = 1
    held_by: str | None = None

    @property
    def named(self) -> Event:
        """An event of this job, as far as its name goes."""
        return Event({"source": self.source, "id": self.event_id, "type": self.type}, b"")

    @property
    def is_open(self) -> bool:
        """Whether its outcome is still to come."""
        return self.state in OPEN


COLUMNS: Final = Job.__struct_fields__


def key_of(source: str, id_: str) -> str:
    """The key of a request's job."""
    return str(uuid.uuid5(NAMESPACE, f"{source}\n{id_}"))


def key_of_event(event: Event) -> str:
    """The key of the job that an event belongs to."""
    return key_of(*job_of(event))


def fingerprint(event: Event) -> str:
    """The same for the same type and data, however the data is written."""
    return hashlib.blake2b(b"\n".join((event.type.encode(), canonical(event.data))), digest_size=16).hexdigest()
