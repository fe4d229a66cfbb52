"""What befalls a job between its request and its end, told to the gateway: an attempt that failed, a wait, progress.

A note is an event of its own kind that no Trigger wants: it goes to the gateway's function, at best effort, and the job
is done whatever becomes of it. That a job was erased is told to the dead letters' sink as such an event too, and until
the sink has taken it.
"""

import uuid
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

from events.http import Event
from events.job import job_of

NOTED: Final = "dev.errands.job.noted.v1"
ERASED: Final = "dev.errands.job.erased.v1"
TEXT_CHARACTERS: Final = 200  # of what a handler says of its progress
Kind = Literal["attempt failed", "callback failed", "waits", "progress"]


class JobNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of them. `type` is the request's, `by` the function; `next_ms` is when it is tried again, where it is, and
    `percent` how much of the job is done, where that is known.
    """

    kind: Kind
    type: str = ""
    by: str = ""
    attempt: int | None = None
    next_ms: int | None = None
    detail: str = ""
    percent: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None


def noted(event: Event, note: JobNote, *, now: datetime) -> Event:
    """The event that tells the gateway of what befell the job of `event`."""
    return _own(event, NOTED, msgspec.json.encode(note), by=note.by, now=now)


def erased(event: Event, *, now: datetime) -> Event:
    """The event by which the gateway has the dead letters of the job of `event` removed."""
    return _own(event, ERASED, b"{}", by="gateway", now=now)


def _own(event: Event, type_: str, data: bytes, *, by: str, now: datetime) -> Event:
    source, id_ = job_of(event)
    attributes = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"/errands/{by}",
        "type": type_,
        "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "jobsource": source,
        "jobid": id_,
    }
    return Event(MappingProxyType(attributes), data)
