"""The invitation as a part of an e-mail (RFC 6047): multipart/alternative, of which clients take the calendar."""

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from events.types.ics import CalendarEntry, EmailPart, FreeBusy, Todo
from functions.ics.itip import Item

REPLIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accepted": "accepted",
        "declined": "declined",
        "tentative": "tentatively accepted",
        "delegated": "delegated",
        "completed": "completed",
        "in-process": "begun",
    }
)


def render(given: EmailPart, method: str, item: Item, calendar: bytes) -> bytes:
    """A complete MIME entity, in ASCII, with lines that end with CRLF.

    The calendar comes last, as the best of the alternatives (RFC 2046 5.1.4); its `method` equals the METHOD that it
    holds, without which clients show it as a file.
    """
    from email.message import MIMEPart  # an import that only a job with this part need wait for
    from email.policy import SMTP

    part = MIMEPart(policy=SMTP)
    part.set_content(given.text or _text(item, method), cte="quoted-printable")
    if given.html is not None:
        part.add_alternative(given.html, subtype="html", cte="quoted-printable")
    part.add_alternative(calendar.decode(), subtype="calendar", cte="base64", params={"method": method.upper()})
    part.set_boundary(f"=_{hashlib.sha256(calendar).hexdigest()[:32]}")  # of itself it is random; `=_` is in no base64
    return part.as_bytes()


def _text(item: Item, method: str) -> str:
    """What it is about, when and where, for those who see no calendar."""
    return "\n".join(_lines(item, method)) + "\n"


def _lines(item: Item, method: str) -> Iterator[str]:
    if not isinstance(item, FreeBusy):
        said = _said(item, method)
        yield f"{said[0]}: {item.summary}" if said else item.summary
        yield from said[1:]
    end = item.due if isinstance(item, Todo) else item.end
    when = " to ".join(each.replace("T", " ") for each in (item.start, end) if each)
    if when:
        yield f"When: {when}{f' ({item.timezone})' if item.timezone else ''}"
    if isinstance(item, FreeBusy):
        return
    if item.location:
        yield f"Where: {item.location}"
    if item.url:
        yield item.url
    yield from (each.url for each in item.conferences)
    if isinstance(item, CalendarEntry) and item.organizer:
        yield f"Organizer: {item.organizer.name or item.organizer.email}"
    if item.description:
        yield f"\n{item.description}"


def _said(item: CalendarEntry | Todo, method: str) -> tuple[str, ...]:
    """What a message says that does not invite, as the head of its subject and as a sentence; nothing of others."""
    noun = "task" if isinstance(item, Todo) else "event"
    if method == "cancel" or item.status == "cancelled":
        return "Cancelled", f"This {_extent(item, noun)} has been cancelled."
    if method == "counter":
        return "New time proposed", f"This is a proposal to change the {noun}; it has not been changed yet."
    if method == "reply":
        person = item.attendees[0]
        reply = REPLIES[person.status]
        return reply.capitalize(), f"{person.name or person.email} has {reply} this {_extent(item, noun)}."
    return ()


def _extent(item: CalendarEntry | Todo, noun: str) -> str:
    """Whether one instance is meant, or the whole series, or what does not recur."""
    if item.recurrence_id:
        return f"one {noun} of a series"
    return f"whole series of {noun}s" if item.recurrence or item.rrule or item.rdates else noun
