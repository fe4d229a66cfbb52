"""The invitation as a part of an e-mail (RFC 6047): multipart/alternative, of which clients take the calendar."""

import hashlib
from collections.abc import Iterator

from events.types.ics import CalendarEntry, EmailPart, FreeBusy, Todo
from functions.ics.itip import Item


def render(given: EmailPart, method: str, item: Item, calendar: bytes) -> bytes:
    """A complete MIME entity, in ASCII, with lines that end with CRLF.

    The calendar comes last, as the best of the alternatives (RFC 2046 5.1.4); its `method` equals the METHOD that it
    holds, without which clients show it as a file.
    """
    from email.message import MIMEPart  # 6 ms that only a job with this part need wait for
    from email.policy import SMTP

    part = MIMEPart(policy=SMTP)
    part.set_content(given.text or _text(item), cte="quoted-printable")
    if given.html is not None:
        part.add_alternative(given.html, subtype="html", cte="quoted-printable")
    part.add_alternative(calendar.decode(), subtype="calendar", cte="base64", params={"method": method.upper()})
    part.set_boundary(f"=_{hashlib.sha256(calendar).hexdigest()[:32]}")  # of itself it is random; `=_` is in no base64
    return part.as_bytes()


def _text(item: Item) -> str:
    """What, when and where, for those who see no calendar."""
    return "\n".join(_lines(item)) + "\n"


def _lines(item: Item) -> Iterator[str]:
    if not isinstance(item, FreeBusy):
        yield item.summary
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
