"""Makes the calendar files of a job, stores them, and gives them inline when there is one and it is small."""

from dataclasses import dataclass
from typing import Final

from events.http import Event, rfc3339
from events.job import job_key
from events.types.ics import IcsCompleted, IcsRequested
from functions.ics.calendar_file import CalendarFile, render
from functions.runtime.adapter import function, system_clock
from functions.runtime.settings import from_environment
from functions.storage.ledger import ReplyLedger
from functions.storage.store import Store

INLINE_LIMIT_BYTES: Final = 65_536


@dataclass(frozen=True)
class Settings:
    """The function's environment."""

    store_url: str
    store_public_url: str | None = None
    store_names_secret: str | None = None


settings = from_environment(Settings)
store = Store(settings.store_url, public_url=settings.store_public_url, names_secret=settings.store_names_secret)


@function(IcsRequested, ledger=ReplyLedger(store))
def handle(job: IcsRequested, event: Event) -> IcsCompleted:
    """One request in, the calendar out.

    The request's time becomes the file's DTSTAMP, so that the same job gives the same bytes.
    """
    made_at = rfc3339(event.get("time") or system_clock().isoformat())
    made = render(job, source=event.source, namespace=job_key(event), now=made_at)
    method = "" if job.method == "none" else f"; method={job.method.upper()}"
    artifacts = []
    for file in made.files:
        for name, content, media_type in _parts(file, f"text/calendar; charset=utf-8{method}"):
            artifacts.append(store.put(event, name, content, media_type, now=system_clock()))
    only = made.files[0] if len(made.files) == 1 else None
    return IcsCompleted(
        artifacts=tuple(artifacts),
        uids=made.uids,
        sequences=made.sequences,
        content=_inline(only.content if only else None),
        email_part=_inline(only.email_part if only else None),
        warnings=made.warnings,
    )


def _parts(file: CalendarFile, media_type: str) -> list[tuple[str, bytes, str]]:
    """The name, content and media type of what is stored of a file."""
    parts = [(file.name, file.content, media_type)]
    if file.email_part is not None:
        boundary = file.email_part.split(b'"', 2)[1].decode()
        parts.append((f"{file.name}.mime", file.email_part, f'multipart/alternative; boundary="{boundary}"'))
    return parts


def _inline(content: bytes | None) -> str | None:
    return content.decode() if content is not None and len(content) <= INLINE_LIMIT_BYTES else None
