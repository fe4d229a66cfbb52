"""Makes a calendar file of a job's events, stores it, and gives it inline when it is small."""

from dataclasses import dataclass
from typing import Final

from events.function import function, system_clock
from events.http import Event, rfc3339
from events.types import IcsCompleted, IcsRequested
from functions.ics.calendar_file import render
from functions.settings import from_environment
from functions.store import ReplyLedger, Store, job_key

INLINE_LIMIT_BYTES: Final = 65_536


@dataclass(frozen=True)
class Settings:
    """The function's environment."""

    store_url: str
    store_public_url: str | None = None


settings = from_environment(Settings)
store = Store(settings.store_url, public_url=settings.store_public_url)


@function(IcsRequested, ledger=ReplyLedger(store))
def handle(job: IcsRequested, event: Event) -> IcsCompleted:
    """One request in, the calendar file out.

    The request's time becomes the file's DTSTAMP, so that the same job gives the same bytes.
    """
    made_at = rfc3339(event.get("time") or system_clock().isoformat())
    made = render(job, namespace=job_key(event), now=made_at)
    media_type = f"text/calendar; charset=utf-8; method={job.method.upper()}"
    artifact = store.put(event, job.name, made.content, media_type, now=system_clock())
    inline = made.content.decode() if len(made.content) <= INLINE_LIMIT_BYTES else None
    return IcsCompleted(artifacts=(artifact,), uids=made.uids, content=inline)
