"""Unrelated readers of calendar files, each brought to one form, so that what they read can be compared.

libical is C, called through ctypes: it knows the restrictions of iTIP, and takes local times by the file's own
VTIMEZONE, as vobject does; `ical` and icalendar take them by the name of the zone. `ics` knows no floating times.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import icalendar
import ics  # type: ignore[import-untyped]  # it has no types
import vobject  # type: ignore[import-untyped]  # it has no types
from ical.calendar_stream import IcsCalendarStream

from tests.support.absent import absent

LIBICAL = "libical.so.3"  # Debian's libical3
# A published event without an organizer is a decision of ours: most published calendars have none.
TAKEN_ON_PURPOSE = "Failed iTIP restrictions for ORGANIZER property"


@dataclass(frozen=True, order=True)
class Seen:
    """An event as a reader sees it; times as the text of their UTC, floating ones and dates as they are."""

    uid: str
    summary: str
    start: str
    end: str


class _Time(ctypes.Structure):
    """struct icaltimetype of libical 3."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("year", "month", "day", "hour", "minute", "second", "is_date", "daylight")),
        ("zone", ctypes.c_void_p),
    )


class _Span(ctypes.Structure):
    """struct icaltime_span."""

    _fields_ = (("start", ctypes.c_long), ("end", ctypes.c_long), ("is_busy", ctypes.c_int))


_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(_Span), ctypes.c_void_p)
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "icalparser_parse_string": (ctypes.c_void_p, [ctypes.c_char_p]),
    "icalrestriction_check": (ctypes.c_int, [ctypes.c_void_p]),
    "icalcomponent_count_errors": (ctypes.c_int, [ctypes.c_void_p]),
    "icalcomponent_as_ical_string": (ctypes.c_char_p, [ctypes.c_void_p]),
    "icalcomponent_string_to_kind": (ctypes.c_int, [ctypes.c_char_p]),
    "icalcomponent_get_first_component": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    "icalcomponent_get_next_component": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    "icalcomponent_get_uid": (ctypes.c_char_p, [ctypes.c_void_p]),
    "icalcomponent_get_summary": (ctypes.c_char_p, [ctypes.c_void_p]),
    "icalcomponent_get_dtstart": (_Time, [ctypes.c_void_p]),
    "icalcomponent_get_dtend": (_Time, [ctypes.c_void_p]),
    "icaltime_as_timet_with_zone": (ctypes.c_long, [_Time, ctypes.c_void_p]),
    "icaltime_from_timet_with_zone": (_Time, [ctypes.c_long, ctypes.c_int, ctypes.c_void_p]),
    "icalcomponent_foreach_recurrence": (None, [ctypes.c_void_p, _Time, _Time, _Callback, ctypes.c_void_p]),
    "icalcomponent_free": (None, [ctypes.c_void_p]),
}


def libical() -> ctypes.CDLL:
    """The library; a laptop without it skips, CI fails."""
    try:
        library = ctypes.CDLL(LIBICAL)
    except OSError as error:
        if "CI" in os.environ:
            raise
        absent(f"no libical3: {error}")
    for name, (result, arguments) in _SIGNATURES.items():
        getattr(library, name).restype = result
        getattr(library, name).argtypes = arguments
    return library


@contextmanager
def _parsed(content: bytes) -> Iterator[tuple[ctypes.CDLL, int]]:
    library = libical()
    root = library.icalparser_parse_string(content)
    assert root, "libical reads no component"
    try:
        yield library, root
    finally:
        library.icalcomponent_free(root)


def restrictions(content: bytes) -> list[str]:
    """What libical finds wrong: in the syntax, and by the tables of RFC 5546."""
    with _parsed(content) as (library, root):
        library.icalrestriction_check(root)
        text = library.icalcomponent_as_ical_string(root).decode().replace("\r\n ", "")
        found = [each for each in text.split("\r\n") if each.startswith("X-LIC-ERROR")]
        published = b"\r\nMETHOD:PUBLISH\r\n" in content
        return [each for each in found if not (published and TAKEN_ON_PURPOSE in each)]


def instances(content: bytes, until: datetime) -> list[datetime]:
    """The starts of the first event's instances, in UTC, as libical expands them."""
    starts: list[int] = []
    with _parsed(content) as (library, root):
        event = library.icalcomponent_get_first_component(root, library.icalcomponent_string_to_kind(b"VEVENT"))
        begin = library.icaltime_from_timet_with_zone(-2_208_988_800, 0, None)
        end = library.icaltime_from_timet_with_zone(int(until.timestamp()), 0, None)
        take = _Callback(lambda component, span, data: starts.append(span.contents.start))
        library.icalcomponent_foreach_recurrence(event, begin, end, take, None)
    return sorted(datetime.fromtimestamp(each, UTC) for each in set(starts))


def _libical(content: bytes) -> list[Seen]:
    seen = []
    with _parsed(content) as (library, root):
        assert library.icalcomponent_count_errors(root) == 0
        kind = library.icalcomponent_string_to_kind(b"VEVENT")
        event = library.icalcomponent_get_first_component(root, kind)
        while event:
            texts = (getattr(library, f"icalcomponent_get_{name}")(event).decode() for name in ("uid", "summary"))
            times = (getattr(library, f"icalcomponent_get_{name}")(event) for name in ("dtstart", "dtend"))
            seen.append(Seen(*texts, *(_of_libical(library, each) for each in times)))
            event = library.icalcomponent_get_next_component(root, kind)
    return seen


def _of_libical(library: ctypes.CDLL, time: _Time) -> str:
    if time.is_date:
        return f"{time.year}-{time.month:02}-{time.day:02}"
    return _text(datetime.fromtimestamp(library.icaltime_as_timet_with_zone(time, time.zone), UTC))


def _ical(content: bytes) -> list[Seen]:
    events = IcsCalendarStream.calendar_from_ics(content.decode()).events
    return [_seen(each.uid, each.summary or "", each.dtstart, each.dtend) for each in events]


def _ics(content: bytes) -> list[Seen]:
    seen = []
    for each in ics.Calendar(content.decode()).events:
        begin, end = each.begin.datetime, each.end.datetime if each.has_end() else None
        if each.all_day:
            begin, end = begin.date(), end and end.date()
        seen.append(_seen(each.uid, each.name, begin, end))
    return seen


def _vobject(content: bytes) -> list[Seen]:
    # It would take a zone by its name, from pytz or a file before, unless the file's own is made known to it first.
    for zone in vobject.readOne(content.decode()).contents.get("vtimezone", []):
        vobject.icalendar.registerTzid(zone.tzid.value, zone.tzinfo)
    events = vobject.readOne(content.decode()).contents.get("vevent", [])
    ends = [each.dtend.value if "dtend" in each.contents else None for each in events]
    return [
        _seen(each.uid.value, each.summary.value, each.dtstart.value, end)
        for each, end in zip(events, ends, strict=True)
    ]


def _icalendar(content: bytes) -> list[Seen]:
    seen = []
    for each in icalendar.Calendar.from_ical(content).events:
        assert each.errors == []
        seen.append(_seen(each.uid, str(each["SUMMARY"]), each.DTSTART, each.DTEND))
    return seen


def _seen(uid: str, summary: str, start: date | None, end: date | None) -> Seen:
    """Without an end a day is one day, and a time is a moment (RFC 5545 3.6.1)."""
    assert start is not None
    implied = start if isinstance(start, datetime) else start + timedelta(days=1)
    return Seen(uid, summary, _text(start), _text(end or implied))


def _text(moment: date) -> str:
    if isinstance(moment, datetime):
        return (moment.astimezone(UTC) if moment.tzinfo else moment).isoformat()[:19]
    return moment.isoformat()


READERS: dict[str, Callable[[bytes], list[Seen]]] = {
    "libical": _libical,
    "ical": _ical,
    "ics": _ics,
    "vobject": _vobject,
    "icalendar": _icalendar,
}


def seen_by_all(content: bytes) -> list[Seen]:
    """What every reader sees; AssertionError where they differ, or libical finds a restriction broken."""
    assert restrictions(content) == []
    seen = {name: sorted(read(content)) for name, read in READERS.items()}
    for name, events in seen.items():
        assert events == seen["libical"], f"{name} and libical differ"
    return seen["libical"]
