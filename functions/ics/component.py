"""VEVENT, VTODO and VFREEBUSY as unfolded content lines (RFC 5545 3.6). They are without findings."""

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from events.types.ics import (
    CalendarAttachment,
    CalendarEntry,
    CalendarImage,
    CalendarItem,
    FreeBusy,
    Geo,
    Override,
    Todo,
)
from functions.ics import alarm, itip, person, rrule
from functions.ics.content_line import parameter, text
from functions.ics.moment import instant, line, stamp
from functions.ics.schedule import BusyTimes, Schedule


@dataclass(frozen=True, slots=True)
class Identity:
    """What a component is known by, and when it was made."""

    uid: str
    sequence: int
    made_at: datetime


def events(entry: CalendarEntry, when: Schedule, identity: Identity, method: str) -> Iterator[list[str]]:
    """The VEVENT, and one more for each override; a cancelled series needs none of them."""
    yield _event(entry, when, identity, method)
    for override, instance in zip(entry.overrides, when.overrides, strict=True) if method != "cancel" else ():
        changed = _overridden(entry, override)
        own = identity if override.sequence is None else Identity(identity.uid, override.sequence, identity.made_at)
        times = Schedule(instance.start, instance.end, recurrence_id=instance.recurrence_id)
        yield _event(changed, times, own, method)


def todo(item: Todo, when: Schedule, identity: Identity, method: str) -> list[str]:
    """The VTODO."""
    made = ["BEGIN:VTODO", *_identity(identity), *_when(when, "DUE")]
    if item.completed is not None:
        made.append(f"COMPLETED:{stamp(instant(item.completed))}")
    if item.percent_complete is not None:
        made.append(f"PERCENT-COMPLETE:{item.percent_complete}")
    status = "cancelled" if method == "cancel" else item.status
    if status:
        made.append(f"STATUS:{status.upper()}")
    # RFC 5546 3.4.1, 3.4.2, 3.4.7: a message has a PRIORITY; 0 is none.
    priority = 0 if item.priority is None and method in ("publish", "request", "counter") else item.priority
    if method == "reply":
        made.append("REQUEST-STATUS:2.0;Success")  # 3.4.3; without it libical refuses the reply
    return [*made, *_described(item, priority), *_people(item, method), *_alarms(item, method, "todos"), "END:VTODO"]


def free_busy(item: FreeBusy, when: BusyTimes, identity: Identity, method: str) -> list[str]:
    """The VFREEBUSY, whose times are UTC (RFC 5545 3.6.4)."""
    made = ["BEGIN:VFREEBUSY", f"UID:{text(identity.uid)}", f"DTSTAMP:{stamp(identity.made_at)}"]
    made += [f"DTSTART:{stamp(when.start)}", f"DTEND:{stamp(when.end)}"]
    for start, end, kind in sorted(when.periods):
        made.append(f"FREEBUSY;FBTYPE={kind.upper()}:{stamp(start)}/{stamp(end)}")
    if item.url:
        made.append(f"URL:{item.url}")
    if item.comment:
        made.append(f"COMMENT:{text(item.comment)}")
    return [*made, *_people(item, method), "END:VFREEBUSY"]


def _event(entry: CalendarEntry, when: Schedule, identity: Identity, method: str) -> list[str]:
    made = ["BEGIN:VEVENT", *_identity(identity), *_when(when, "DTEND")]
    status = "cancelled" if method == "cancel" else entry.status or ("" if method == "reply" else "confirmed")
    if status:
        made.append(f"STATUS:{status.upper()}")
    if entry.transparency:
        made.append(f"TRANSP:{entry.transparency.upper()}")
    described = _described(entry, entry.priority)
    return [*made, *described, *_people(entry, method), *_alarms(entry, method, "events"), "END:VEVENT"]


def _identity(identity: Identity) -> list[str]:
    return [f"UID:{text(identity.uid)}", f"DTSTAMP:{stamp(identity.made_at)}", f"SEQUENCE:{identity.sequence}"]


def _when(when: Schedule, end_name: str) -> Iterator[str]:
    if when.recurrence_id is not None:
        yield line("RECURRENCE-ID", when.recurrence_id)
    if when.start is not None:
        yield line("DTSTART", when.start)
    if when.end is not None:
        yield line(end_name, when.end)
    if when.parts is not None:
        yield rrule.line(when.parts, when.until)
    # One a line: readers that take a list take these too, and not the other way about.
    yield from (line("RDATE", each) for each in when.rdates)
    yield from (line("EXDATE", each) for each in when.exdates)


def _described(item: CalendarItem, priority: int | None) -> Iterator[str]:
    yield f"SUMMARY:{text(item.summary)}"
    if item.description:
        yield f"DESCRIPTION:{text(item.description)}"
    if item.comment:
        yield f"COMMENT:{text(item.comment)}"
    if item.location:
        yield f"LOCATION:{text(item.location)}"
    if item.geo:
        yield from _place(item.geo, item.location)
    if item.url:
        yield f"URL:{item.url}"
    if item.categories:
        yield f"CATEGORIES:{','.join(map(text, item.categories))}"
    if priority is not None:
        yield f"PRIORITY:{priority}"
    if item.classification:
        yield f"CLASS:{item.classification.upper()}"
    if item.color:
        yield f"COLOR:{item.color}"
    for each in item.conferences:
        features = parameter("FEATURE", *(name.upper() for name in each.features)) if each.features else ""
        yield f"CONFERENCE;VALUE=URI{features}{parameter('LABEL', each.label) if each.label else ''}:{each.url}"
    yield from map(attachment, item.attachments)
    yield from map(image, item.images)


def _place(geo: Geo, name: str | None) -> Iterator[str]:
    """GEO, and where there is a name what Apple's clients put on their map."""
    latitude, longitude = f"{geo.latitude:.6f}", f"{geo.longitude:.6f}"
    yield f"GEO:{latitude};{longitude}"
    if name:
        title = parameter("X-TITLE", name)
        yield f"X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-APPLE-RADIUS=100{title}:geo:{latitude},{longitude}"


def attachment(given: CalendarAttachment) -> str:
    """The ATTACH line (RFC 5545 3.8.1.1; FILENAME: RFC 8607 4.2)."""
    return f"ATTACH{_file(given, value_uri=False)}"


def image(given: CalendarImage) -> str:
    """The IMAGE line (RFC 7986 5.10)."""
    return f"IMAGE{f';DISPLAY={given.display.upper()}' if given.display else ''}{_file(given, value_uri=True)}"


def _file(given: CalendarAttachment, *, value_uri: bool) -> str:
    parameters = f";FMTTYPE={given.media_type}" if given.media_type else ""
    parameters += f";FILENAME={given.name}" if given.name else ""
    if given.data_base64 is None:
        return f"{parameters}{';VALUE=URI' if value_uri else ''}:{given.url}"
    return f"{parameters};ENCODING=BASE64;VALUE=BINARY:{b64encode(given.data_base64).decode()}"


def _people(item: CalendarItem | FreeBusy, method: str) -> Iterator[str]:
    if item.organizer:
        yield person.organizer(item.organizer)
    asked = method in ("request", "counter", "none") and not isinstance(item, FreeBusy)
    yield from (person.attendee(each, asked=asked) for each in item.attendees)


def _alarms(item: CalendarItem, method: str, kind: str) -> Iterator[str]:
    row = itip.rules(method, kind)
    for each in item.alarms if row and row.alarms else ():
        yield from alarm.lines(each, item.summary)


def _overridden(entry: CalendarEntry, override: Override) -> CalendarEntry:
    """The series' event with what the override has of its own."""
    names = ("summary", "description", "location", "url", "status", "transparency", "attendees", "alarms")
    given = {name: value for name in names if (value := getattr(override, name)) is not None}
    return replace(entry, **given)
