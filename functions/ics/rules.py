"""Finds what a job may not ask for: every broken rule of every event, each with its pointer."""

import re
from collections.abc import Iterator

from events.problem import FieldError
from events.types import CalendarEntry, IcsRequested
from functions.ics.period import period_errors

# RFC 5545 3.1 forbids the C0 controls and DEL; the C1 controls and lone surrogates are no text either.
_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff"
_NOT_IN_TEXT = re.compile(rf"[{_CONTROL}]|\r(?!\n)")
# An address, a name and a uid hold no line breaks either.
_NOT_IN_LINE = re.compile(rf"[{_CONTROL}\t\n\r\u2028\u2029]")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_HTTP_WITHOUT_HOST = re.compile(r"https?:(?!//[^/?#:@])", re.IGNORECASE)

_SECTION = {"request": "RFC 5546 3.2.2", "cancel": "RFC 5546 3.2.5"}


def errors(job: IcsRequested, uids: tuple[str, ...]) -> Iterator[FieldError]:
    """Every broken rule, event by event; `uids` are the final ones, derived where none was given."""
    if job.method in _SECTION and len(job.events) > 1:
        expected = f"must be one event with method {job.method}, since all in one message share a uid"
        yield FieldError(pointer="#/events", detail=f"{expected} ({_SECTION[job.method]}), got {len(job.events)}")
    first_with: dict[str, int] = {}
    for index, (entry, uid) in enumerate(zip(job.events, uids, strict=True)):
        pointer = f"#/events/{index}"
        yield from period_errors(entry, pointer)
        yield from _text_errors(entry, pointer)
        yield from _method_errors(job.method, entry, pointer)
        if first_with.setdefault(uid, index) != index:
            detail = f"must differ from that of every other event, got {uid[:80]!r} of event {first_with[uid]} again"
            yield FieldError(pointer=f"{pointer}/uid", detail=detail)


def _text_errors(entry: CalendarEntry, pointer: str) -> Iterator[FieldError]:
    for field, value, forbidden in _texts(entry):
        found = forbidden.search(value or "")
        if found:
            detail = f"must be text without control characters, got U+{ord(found[0]):04X} at character {found.start()}"
            yield FieldError(pointer=f"{pointer}/{field}", detail=detail)
    if entry.url is not None and (not _URI.fullmatch(entry.url) or _HTTP_WITHOUT_HOST.match(entry.url)):
        detail = f"must be a URI (RFC 3986) such as https://shop.example/orders/1, got {entry.url[:80]!r}"
        yield FieldError(pointer=f"{pointer}/url", detail=detail)


def _texts(entry: CalendarEntry) -> Iterator[tuple[str, str | None, re.Pattern[str]]]:
    for field in ("summary", "description", "location"):
        yield field, getattr(entry, field), _NOT_IN_TEXT
    yield "uid", entry.uid, _NOT_IN_LINE
    if entry.organizer:
        yield "organizer/email", entry.organizer.email, _NOT_IN_LINE
        yield "organizer/name", entry.organizer.name, _NOT_IN_LINE
    for index, attendee in enumerate(entry.attendees):
        yield f"attendees/{index}/email", attendee.email, _NOT_IN_LINE
        yield f"attendees/{index}/name", attendee.name, _NOT_IN_LINE
    for index, alarm in enumerate(entry.alarms):
        yield f"alarms/{index}/text", alarm.text, _NOT_IN_TEXT


def _method_errors(method: str, entry: CalendarEntry, pointer: str) -> Iterator[FieldError]:
    if method == "publish":
        if entry.attendees:
            detail = f"must be absent with method publish (RFC 5546 3.2.1), got {len(entry.attendees)}; request invites"
            yield FieldError(pointer=f"{pointer}/attendees", detail=detail)
        return
    if entry.organizer is None:
        detail = f"is required with method {method} ({_SECTION[method]})"
        yield FieldError(pointer=f"{pointer}/organizer", detail=detail)
    if not entry.attendees:
        detail = f"must name at least one with method {method} ({_SECTION[method]}), got none"
        yield FieldError(pointer=f"{pointer}/attendees", detail=detail)
    if method == "cancel" and entry.uid is None:
        detail = "is required with method cancel: it names the event that was sent before (RFC 5546 3.2.5)"
        yield FieldError(pointer=f"{pointer}/uid", detail=detail)
