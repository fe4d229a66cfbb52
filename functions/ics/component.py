"""VEVENT, VTODO and VFREEBUSY of items without findings, as components of the icalendar library (RFC 5545 3.6)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from icalendar import Alarm, Component, Event, FreeBusy, Todo, vBinary, vCalAddress, vInt, vPeriod, vUri
from icalendar.prop import vInline
from msgspec.structs import replace

from events.types import ics as given
from functions.ics import alarm, itip, rrule
from functions.ics.moment import instant
from functions.ics.schedule import BusyTimes, Schedule
from functions.ics.values import Coordinates, address, moment, one_break, text, text_list

C = TypeVar("C", bound=Component)
Property = tuple[str, Any]  # a name, and a value of one of the library's many classes

ROLES: Final = {
    "chair": "CHAIR",
    "required": "REQ-PARTICIPANT",
    "optional": "OPT-PARTICIPANT",
    "none": "NON-PARTICIPANT",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a component is known by, and when it was made."""

    uid: str
    sequence: int
    made_at: datetime


def filled(component: C, properties: Iterable[Property], inner: Iterable[Component] = ()) -> C:
    """The component with its properties and those inside it."""
    for name, value in properties:
        component.add(name, value)
    for each in inner:
        component.add_component(each)
    return component


def events(entry: given.CalendarEntry, when: Schedule, identity: Identity, method: str) -> Iterator[Event]:
    """The VEVENT, and one more for each override; a cancelled series needs none of them."""
    yield _event(entry, when, identity, method)
    for override, instance in zip(entry.overrides, when.overrides, strict=True) if method != "cancel" else ():
        changed = _overridden(entry, override)
        own = identity if override.sequence is None else Identity(identity.uid, override.sequence, identity.made_at)
        times = Schedule(instance.start, instance.end, recurrence_id=instance.recurrence_id)
        yield _event(changed, times, own, method)


def todo(item: given.Todo, when: Schedule, identity: Identity, method: str) -> Todo:
    """The VTODO."""
    return filled(Todo(), _todo(item, when, identity, method), _alarms(item, method, "todos"))


def free_busy(item: given.FreeBusy, when: BusyTimes, identity: Identity, method: str) -> FreeBusy:
    """The VFREEBUSY, whose times are UTC (RFC 5545 3.6.4)."""
    return filled(FreeBusy(), _free_busy(item, when, identity, method))


def _event(entry: given.CalendarEntry, when: Schedule, identity: Identity, method: str) -> Event:
    return filled(Event(), _event_properties(entry, when, identity, method), _alarms(entry, method, "events"))


def _event_properties(
    entry: given.CalendarEntry, when: Schedule, identity: Identity, method: str
) -> Iterator[Property]:
    yield from _identity(identity)
    yield from _when(when, "DTEND")
    status = "cancelled" if method == "cancel" else entry.status or ("" if method == "reply" else "confirmed")
    if status:
        yield "STATUS", text(status.upper())
    if entry.transparency:
        yield "TRANSP", text(entry.transparency.upper())
    yield from _described(entry, entry.priority)
    yield from _people(entry, method)


def _todo(item: given.Todo, when: Schedule, identity: Identity, method: str) -> Iterator[Property]:
    yield from _identity(identity)
    yield from _when(when, "DUE")
    if item.completed is not None:
        yield "COMPLETED", moment(instant(item.completed))
    if item.percent_complete is not None:
        yield "PERCENT-COMPLETE", vInt(item.percent_complete)
    status = "cancelled" if method == "cancel" else item.status
    if status:
        yield "STATUS", text(status.upper())
    if method == "reply":  # RFC 5546 3.4.3; without it libical refuses the reply
        yield "REQUEST-STATUS", vInline("2.0;Success")  # of texts the library would escape the semicolon
    # RFC 5546 3.4.1, 3.4.2, 3.4.7: a message has a PRIORITY; 0 is none.
    yield from _described(
        item, 0 if item.priority is None and method in ("publish", "request", "counter") else item.priority
    )
    yield from _people(item, method)


def _free_busy(item: given.FreeBusy, when: BusyTimes, identity: Identity, method: str) -> Iterator[Property]:
    yield "UID", text(identity.uid)
    yield "DTSTAMP", moment(identity.made_at)
    yield "DTSTART", moment(when.start)
    yield "DTEND", moment(when.end)
    for start, end, kind in sorted(when.periods):
        yield "FREEBUSY", vPeriod((start, end), params={"FBTYPE": kind.upper()})
    if item.url:
        yield "URL", vUri(item.url)
    if item.comment:
        yield "COMMENT", text(item.comment)
    yield from _people(item, method)


def _identity(identity: Identity) -> Iterator[Property]:
    yield "UID", text(identity.uid)
    yield "DTSTAMP", moment(identity.made_at)
    yield "SEQUENCE", vInt(identity.sequence)


def _when(when: Schedule, end_name: str) -> Iterator[Property]:
    for name, value in (("RECURRENCE-ID", when.recurrence_id), ("DTSTART", when.start), (end_name, when.end)):
        if value is not None:
            yield name, moment(value)
    if when.parts is not None:
        yield "RRULE", rrule.value(when.parts, when.until)
    # One a line: readers that take a list take these too, and not the other way about.
    yield from (("RDATE", moment(each)) for each in when.rdates)
    yield from (("EXDATE", moment(each)) for each in when.exdates)


def _described(item: given.CalendarItem, priority: int | None) -> Iterator[Property]:
    yield "SUMMARY", text(item.summary)
    for name in ("description", "comment", "location"):
        if value := getattr(item, name):
            yield name.upper(), text(value)
    if item.geo:
        yield from _place(item.geo, item.location)
    if item.url:
        yield "URL", vUri(item.url)
    if item.categories:
        yield "CATEGORIES", text_list(item.categories)
    if priority is not None:
        yield "PRIORITY", vInt(priority)
    if item.classification:
        yield "CLASS", text(item.classification.upper())
    if item.color:
        yield "COLOR", text(item.color)
    yield from (("CONFERENCE", _conference(each)) for each in item.conferences)
    yield from (("ATTACH", _file(each)) for each in item.attachments)
    yield from (("IMAGE", image(each)) for each in item.images)


def _conference(conference: given.Conference) -> vUri:
    parameters = {"VALUE": "URI", "FEATURE": [each.upper() for each in conference.features], "LABEL": conference.label}
    return vUri(conference.url, params={name: value for name, value in parameters.items() if value})


def _place(geo: given.Geo, name: str | None) -> Iterator[Property]:
    """GEO, and where there is a name what Apple's clients put on their map."""
    yield "GEO", Coordinates((geo.latitude, geo.longitude))
    if name:
        parameters = {"VALUE": "URI", "X-APPLE-RADIUS": "100", "X-TITLE": one_break(name)}
        yield "X-APPLE-STRUCTURED-LOCATION", vUri(f"geo:{geo.latitude:.6f},{geo.longitude:.6f}", params=parameters)


def image(picture: given.CalendarImage) -> vUri | vBinary:
    """The value of IMAGE (RFC 7986 5.10)."""
    display = {"DISPLAY": picture.display.upper()} if picture.display else {}
    return _file(picture, **display, **({} if picture.url is None else {"VALUE": "URI"}))


def _file(file: given.CalendarAttachment, **parameters: str) -> vUri | vBinary:
    """The value of ATTACH (RFC 5545 3.8.1.1; FILENAME: RFC 8607 4.2)."""
    named = {"FMTTYPE": file.media_type, "FILENAME": file.name}
    parameters |= {name: value for name, value in named.items() if value}
    if file.data_base64 is None:
        return vUri(file.url or "", params=parameters)
    return vBinary(file.data_base64, params=parameters)


def _people(item: given.CalendarItem | given.FreeBusy, method: str) -> Iterator[Property]:
    """ORGANIZER and ATTENDEE (RFC 5545 3.8.4.1, 3.8.4.3); RSVP only where a reply is asked for."""
    if item.organizer:
        yield "ORGANIZER", vCalAddress(address(item.organizer.email), params=_named(item.organizer))
    asked = method in ("request", "counter", "none") and not isinstance(item, given.FreeBusy)
    yield from (("ATTENDEE", _attendee(each, asked=asked)) for each in item.attendees)


def _attendee(person: given.Attendee, *, asked: bool) -> vCalAddress:
    parameters: dict[str, Any] = {
        **_named(person),
        "CUTYPE": person.type.upper(),
        "ROLE": ROLES[person.role],
        "PARTSTAT": person.status.upper(),
    }
    if asked:
        parameters["RSVP"] = str(person.rsvp).upper()
    others = {"DELEGATED-TO": person.delegated_to, "DELEGATED-FROM": person.delegated_from, "MEMBER": person.member_of}
    parameters |= {name: [address(each) for each in emails] for name, emails in others.items() if emails}
    return vCalAddress(address(person.email), params=parameters)


def _named(person: given.Person) -> dict[str, str]:
    named = {"CN": person.name} if person.name else {}
    return named | ({"SENT-BY": address(person.sent_by)} if person.sent_by else {})


def _alarms(item: given.CalendarItem, method: str, kind: str) -> Iterator[Component]:
    row = itip.rules(method, kind)
    for each in item.alarms if row and row.alarms else ():
        yield filled(Alarm(), alarm.properties(each, item.summary))


def _overridden(entry: given.CalendarEntry, override: given.Override) -> given.CalendarEntry:
    """The series' event with what the override has of its own."""
    names = ("summary", "description", "location", "url", "status", "transparency", "attendees", "alarms")
    return replace(entry, **{name: value for name in names if (value := getattr(override, name)) is not None})
