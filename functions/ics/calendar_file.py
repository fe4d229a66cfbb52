"""Makes a calendar file (RFC 5545, with the scheduling methods of RFC 5546) of a job's events.

The same job, namespace and `now` give the same bytes. Recurring events are not made: the contract has none.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import icalendar

from events.types import Alarm, Attendee, CalendarEntry, IcsRequested, Person
from functions.ics.period import Moment, Period, period
from functions.ics.rules import check
from functions.ics.time_zone import vtimezone
from functions.ics.values import MinutesBefore, Text

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
    """Make the file; raise JobFailed that names the bad fields of every event.

    `namespace` identifies the job: an event without a uid gets one of it and its place in the job.
    """
    uids = tuple(entry.uid or _derived_uid(namespace, index) for index, entry in enumerate(job.events))
    check(job, uids)
    periods = [period(entry) for entry in job.events]
    calendar = icalendar.Calendar()
    calendar.add("version", "2.0")
    calendar.add("prodid", PRODID)
    calendar.add("calscale", "GREGORIAN")
    calendar.add("method", job.method.upper())
    for zone in _vtimezones(periods):
        calendar.add_component(zone)
    common = _common(job, now)
    for entry, uid, when in zip(job.events, uids, periods, strict=True):
        calendar.add_component(_vevent(common, entry, uid, when))
    return CalendarFile(calendar.to_ical(), uids)


def _derived_uid(namespace: str, index: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"errands:ics:{namespace}:{index}"))


def _vtimezones(periods: list[Period]) -> Iterator[icalendar.Timezone]:
    used: dict[ZoneInfo, list[datetime]] = {}
    for each in periods:
        if each.zone:
            moments = [moment for moment in (each.start, each.end) if isinstance(moment, datetime)]
            used.setdefault(each.zone, []).extend(moments)
    for zone in sorted(used, key=lambda each: each.key):
        yield vtimezone(zone, used[zone])


def _common(job: IcsRequested, now: datetime) -> icalendar.Event:
    """What the events of a job have in common."""
    event = icalendar.Event()
    event.add("dtstamp", now)
    event.add("sequence", job.sequence)
    event.add("status", "CANCELLED" if job.method == "cancel" else "CONFIRMED")
    return event


def _vevent(common: icalendar.Event, entry: CalendarEntry, uid: str, when: Period) -> icalendar.Event:
    event = icalendar.Event(common)
    event.add("uid", Text(uid))
    _add_moment(event, "dtstart", when.start)
    if when.end is not None:
        _add_moment(event, "dtend", when.end)
    _add_words(event, entry)
    if entry.organizer:
        event.add("organizer", icalendar.vCalAddress.new(_address(entry.organizer), cn=entry.organizer.name or None))
    for attendee in entry.attendees:
        event.add("attendee", _attendee(attendee))
    for alarm in () if event["STATUS"] == "CANCELLED" else entry.alarms:  # RFC 5546 3.2.5: no VALARM
        event.add_component(_valarm(alarm, entry))
    return event


def _add_moment(event: icalendar.Event, name: str, moment: Moment) -> None:
    if isinstance(moment, datetime) and isinstance(moment.tzinfo, ZoneInfo):
        # Given the zone itself, icalendar 7.3.0 writes Atlantic/Reykjavik, Africa/Abidjan and 22 more as UTC.
        event.add(name, icalendar.vDatetime(moment.replace(tzinfo=None)), {"TZID": moment.tzinfo.key})
    else:
        event.add(name, moment)


def _add_words(event: icalendar.Event, entry: CalendarEntry) -> None:
    event.add("summary", Text(entry.summary))
    if entry.description:
        event.add("description", Text(entry.description))
    if entry.location:
        event.add("location", Text(entry.location))
    if entry.url:
        event.add("url", entry.url)


def _attendee(attendee: Attendee) -> icalendar.vCalAddress:
    return icalendar.vCalAddress.new(
        _address(attendee),
        cn=attendee.name or None,
        cutype="INDIVIDUAL",
        role=ROLES[attendee.role],
        partstat=attendee.status.upper(),
        rsvp=attendee.rsvp,
    )


def _address(person: Person) -> str:
    return "mailto:" + quote(person.email, safe="@!$'*+")  # RFC 6068 section 2


def _valarm(alarm: Alarm, entry: CalendarEntry) -> icalendar.Alarm:
    made = icalendar.Alarm()
    made.add("action", "DISPLAY")
    made.add("trigger", MinutesBefore(alarm.minutes_before))
    made.add("description", Text(alarm.text or entry.summary))
    return made
