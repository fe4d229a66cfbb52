"""Refuses what a job may not ask for, and names every broken rule of every event by its pointer."""

import re
from collections.abc import Iterator
from typing import Final

from events.problem import SHOWN_ERRORS, FieldError, JobFailed
from events.types import CalendarEntry, IcsRequested
from functions.ics.period import period_errors

# RFC 5545 3.1 forbids the C0 controls and DEL, which icalendar 7.3.0 writes as they are; the C1 controls and lone
# surrogates are no text either.
_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff"
_NOT_IN_TEXT = re.compile(rf"[{_CONTROL}]|\r(?!\n)")
# An address, a name and a uid hold no line breaks either.
_NOT_IN_LINE = re.compile(rf"[{_CONTROL}\t\n\r\u2028\u2029]")
# What a person may open from a calendar: none that runs code or reads a disk, such as javascript:, data: and file:.
_URL = re.compile(
    r"(?:(?:https?|webcals?)://(?![/?#:@])|mailto:|tel:)(?:[A-Z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-F]{2})+",
    re.ASCII | re.IGNORECASE,
)
_URL_EXPECTED: Final = (
    "must be a URI (RFC 3986) of the scheme http, https, mailto, tel, webcal or webcals, "
    "such as https://shop.example/orders/1"
)

_SECTION = {"request": "RFC 5546 3.2.2", "cancel": "RFC 5546 3.2.5"}


def check(job: IcsRequested, uids: tuple[str, ...]) -> None:
    """Raise JobFailed that lists the broken rules: the first 100, and last how many more there are.

    `uids` are the final ones, derived where none was given.
    """
    found = tuple(_errors(job, uids))
    if not found:
        return
    shown, more = found[:SHOWN_ERRORS], len(found) - SHOWN_ERRORS
    if more > 0:
        shown += (FieldError(pointer="#", detail=f"has more errors than listed: {more} of {len(found)} are left out"),)
    noun = "field breaks" if len(found) == 1 else "fields break"
    listed = "; ".join(f"{each.pointer}: {each.detail}" for each in found[:3])
    raise JobFailed("invalid-data", f"{len(found)} {noun} the rules of calendars: {listed}", shown)


def _errors(job: IcsRequested, uids: tuple[str, ...]) -> Iterator[FieldError]:
    """Every broken rule, event by event."""
    if job.method in _SECTION and len(job.events) > 1:
        expected = f"must be one event with method {job.method}, since all in one message share a uid"
        yield FieldError(pointer="#/events", detail=f"{expected} ({_SECTION[job.method]}), got {len(job.events)}")
    first_with: dict[str, int] = {}
    for index, (entry, uid) in enumerate(zip(job.events, uids, strict=True)):
        pointer = f"#/events/{index}"
        yield from period_errors(entry, pointer)
        yield from _text_errors(entry, pointer)
        yield from _method_errors(job, entry, pointer)
        if first_with.setdefault(uid, index) != index:
            detail = f"must differ from that of every other event, got {uid[:80]!r} of event {first_with[uid]} again"
            yield FieldError(pointer=f"{pointer}/uid", detail=detail)


def _text_errors(entry: CalendarEntry, pointer: str) -> Iterator[FieldError]:
    for field, value, forbidden in _texts(entry):
        found = forbidden.search(value or "")
        if found:
            detail = f"must be text without control characters, got U+{ord(found[0]):04X} at character {found.start()}"
            yield FieldError(pointer=f"{pointer}/{field}", detail=detail)
    if entry.url is not None and not _URL.fullmatch(entry.url):
        yield FieldError(pointer=f"{pointer}/url", detail=f"{_URL_EXPECTED}, got {entry.url[:80]!r}")


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


def _method_errors(job: IcsRequested, entry: CalendarEntry, pointer: str) -> Iterator[FieldError]:
    if job.method == "publish" and entry.attendees:
        detail = f"must be absent with method publish (RFC 5546 3.2.1), got {len(entry.attendees)}; request invites"
        yield FieldError(pointer=f"{pointer}/attendees", detail=detail)
    # A cancel without attendees calls off a published event, which may have no organizer either.
    if entry.organizer is None and (job.method == "request" or (job.method == "cancel" and entry.attendees)):
        detail = f"is required with method {job.method} and attendees ({_SECTION[job.method]})"
        yield FieldError(pointer=f"{pointer}/organizer", detail=detail)
    if job.method == "request" and not entry.attendees:
        detail = f"must name at least one with method request ({_SECTION['request']}), got none"
        yield FieldError(pointer=f"{pointer}/attendees", detail=detail)
    if entry.uid is None and job.method == "cancel":
        detail = "is required with method cancel: it names the event that was sent before (RFC 5546 3.2.5)"
        yield FieldError(pointer=f"{pointer}/uid", detail=detail)
    elif entry.uid is None and job.sequence > 0:
        detail = f"is required with a sequence above 0, got sequence {job.sequence}: a derived uid is a new event's"
        yield FieldError(pointer=f"{pointer}/uid", detail=detail)
