"""Makes a calendar file (RFC 5545, with the scheduling methods of RFC 5546) of a job's events.

The same job, namespace and `now` give the same bytes. Recurring events are not made: the contract has none.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from events.problem import JobFailed
from events.types import Alarm, Attendee, CalendarEntry, IcsRequested, Person
from functions.ics.content_line import component, content_line, text
from functions.ics.period import Moment, Period, period
from functions.ics.rules import errors
from functions.ics.time_zone import vtimezone

PRODID: Final = "-//Errands//ics//EN"
ROLES: Final = {
    "chair": "CHAIR",
    "required": "REQ-PARTICIPANT",
    "optional": "OPT-PARTICIPANT",
    "none": "NON-PARTICIPANT",
}


@dataclass(frozen=True)
class CalendarFile:
    """The file, and the uid of each of its events in the order of the job."""

    content: bytes
    uids: tuple[str, ...]


def render(job: IcsRequested, *, namespace: str, now: datetime) -> CalendarFile:
    """Make the file; raise JobFailed that names every bad field of every event.

    `namespace` identifies the job: an event without a uid gets one of it and its place in the job.
    """
    uids = tuple(entry.uid or _derived_uid(namespace, index) for index, entry in enumerate(job.events))
    _require_none(job, uids)
    periods = [period(entry) for entry in job.events]
    lines = [
        content_line("VERSION", "2.0"),
        content_line("PRODID", PRODID),
        content_line("CALSCALE", "GREGORIAN"),
        content_line("METHOD", job.method.upper()),
        *_vtimezones(periods),
    ]
    for entry, uid, when in zip(job.events, uids, periods, strict=True):
        lines += component("VEVENT", _vevent(job, entry, uid, when, now))
    return CalendarFile("".join(component("VCALENDAR", lines)).encode(), uids)


def _derived_uid(namespace: str, index: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"errands:ics:{namespace}:{index}"))


def _require_none(job: IcsRequested, uids: tuple[str, ...]) -> None:
    found = tuple(errors(job, uids))
    if found:
        noun = "field breaks" if len(found) == 1 else "fields break"
        listed = "; ".join(f"{each.pointer}: {each.detail}" for each in found[:3])
        raise JobFailed("invalid-data", f"{len(found)} {noun} the rules of calendars: {listed}", found)


def _vtimezones(periods: list[Period]) -> Iterator[str]:
    used: dict[ZoneInfo, list[datetime]] = {}
    for each in periods:
        if each.zone:
            moments = [moment for moment in (each.start, each.end) if isinstance(moment, datetime)]
            used.setdefault(each.zone, []).extend(moments)
    for zone in sorted(used, key=lambda each: each.key):
        yield from vtimezone(zone, used[zone])


def _vevent(job: IcsRequested, entry: CalendarEntry, uid: str, when: Period, now: datetime) -> Iterator[str]:
    yield content_line("UID", text(uid))
    yield content_line("DTSTAMP", _utc(now))
    yield content_line("SEQUENCE", str(job.sequence))
    yield content_line("STATUS", "CANCELLED" if job.method == "cancel" else "CONFIRMED")
    yield _moment_line("DTSTART", when.start)
    if when.end is not None:
        yield _moment_line("DTEND", when.end)
    yield content_line("SUMMARY", text(entry.summary))
    if entry.description:
        yield content_line("DESCRIPTION", text(entry.description))
    if entry.location:
        yield content_line("LOCATION", text(entry.location))
    if entry.url:
        yield content_line("URL", entry.url)
    if entry.organizer:
        yield content_line("ORGANIZER", _address(entry.organizer), **_common_name(entry.organizer))
    for attendee in entry.attendees:
        yield _attendee_line(attendee)
    for alarm in () if job.method == "cancel" else entry.alarms:  # RFC 5546 3.2.5: no VALARM
        yield from component("VALARM", _valarm(alarm, entry))


def _moment_line(name: str, moment: Moment) -> str:
    if not isinstance(moment, datetime):
        return content_line(name, f"{moment:%Y%m%d}", VALUE="DATE")
    if isinstance(moment.tzinfo, ZoneInfo):
        return content_line(name, f"{moment:%Y%m%dT%H%M%S}", TZID=moment.tzinfo.key)
    return content_line(name, f"{moment:%Y%m%dT%H%M%S}" if moment.tzinfo is None else _utc(moment))


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _attendee_line(attendee: Attendee) -> str:
    return content_line(
        "ATTENDEE",
        _address(attendee),
        CUTYPE="INDIVIDUAL",
        ROLE=ROLES[attendee.role],
        PARTSTAT=attendee.status.upper(),
        RSVP=str(attendee.rsvp).upper(),
        **_common_name(attendee),
    )


def _address(person: Person) -> str:
    return "mailto:" + quote(person.email, safe="@!$'*+")  # RFC 6068 section 2


def _common_name(person: Person) -> dict[str, str]:
    return {"CN": person.name} if person.name else {}


def _valarm(alarm: Alarm, entry: CalendarEntry) -> Iterator[str]:
    yield content_line("ACTION", "DISPLAY")
    yield content_line("TRIGGER", f"-PT{alarm.minutes_before}M" if alarm.minutes_before else "PT0S")
    yield content_line("DESCRIPTION", text(alarm.text or entry.summary))
