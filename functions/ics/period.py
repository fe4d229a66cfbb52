"""Reads an entry's start, end and timezone: all day, local times of a zone, UTC, or floating (RFC 5545 3.3.5).

An end is the first moment that is no longer part of the event, so the end date of an all-day event is the day after
its last (RFC 5545 3.6.1). A local time that the clocks show twice is the first of the two (3.3.5); who means the
second gives UTC. One that they skip is refused: it is nearly always a mistake, which only the caller can mend.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from events.problem import FieldError
from events.types import CalendarEntry

FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 2999
EXPECTED: Final = (
    "must be a date such as 2026-12-01, a local time such as 2026-12-01T14:00:00 with its zone in timezone, "
    f"or UTC such as 2026-12-01T13:00:00Z, of the years {FIRST_YEAR} to {LAST_YEAR}"
)

Moment = date | datetime

_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?(Z)?")
_ZONE_NAME = re.compile(r"(?!posix/|right/)[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_NO_ZONES: Final = frozenset({"Factory", "localtime", "posixrules"})  # files beside the zones, of no place
_UTC_NAMES: Final = frozenset({"Etc/UCT", "Etc/UTC", "Etc/Universal", "Etc/Zulu", "UCT", "UTC", "Universal", "Zulu"})


@dataclass(frozen=True)
class Period:
    """When an entry is. Both moments are dates, or both are times of one zone (`tzinfo` None: floating)."""

    start: Moment
    end: Moment | None

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone that its times refer to by name; None for UTC too."""
        named = self.start.tzinfo if isinstance(self.start, datetime) else None
        return named if isinstance(named, ZoneInfo) else None


def period(entry: CalendarEntry) -> Period:
    """The period of an entry without `period_errors`; ValueError for some of the others."""
    zone = _zone(entry.timezone) if entry.timezone else None
    start, end = _moment(entry.start), None if entry.end is None else _moment(entry.end)
    return Period(_placed(start, zone), None if end is None else _placed(end, zone))


def period_errors(entry: CalendarEntry, pointer: str) -> Iterator[FieldError]:
    """Every reason why the entry has no period."""
    errors = [*_syntax_errors(entry, pointer), *_timezone_errors(entry, pointer)]
    yield from errors or _clock_errors(entry, pointer)
    yield from _order_errors(entry, pointer)


def _syntax_errors(entry: CalendarEntry, pointer: str) -> Iterator[FieldError]:
    start, end = _read(entry.start), None if entry.end is None else _read(entry.end)
    if start is None:
        yield FieldError(pointer=f"{pointer}/start", detail=f"{EXPECTED}; got {entry.start!r}")
    if entry.end is not None and end is None:
        yield FieldError(pointer=f"{pointer}/end", detail=f"{EXPECTED}; got {entry.end!r}")
    if start is not None and end is not None and _kind(start) != _kind(end):
        detail = f"must be a {_kind(start)} like start ({entry.start}), got the {_kind(end)} {entry.end!r}"
        yield FieldError(pointer=f"{pointer}/end", detail=detail)


def _timezone_errors(entry: CalendarEntry, pointer: str) -> Iterator[FieldError]:
    if entry.timezone is None:
        return
    start = _read(entry.start)
    try:
        _zone(entry.timezone)
    except ValueError as error:
        yield FieldError(pointer=f"{pointer}/timezone", detail=str(error))
    else:
        if start is not None and _kind(start) != "local time":
            detail = f"must be absent beside a {_kind(start)} ({entry.start}), got {entry.timezone!r}"
            yield FieldError(pointer=f"{pointer}/timezone", detail=detail)


def _clock_errors(entry: CalendarEntry, pointer: str) -> list[FieldError]:
    """The local times that a zone's clocks skip when they go forward."""
    made, errors = period(entry), []
    for field, moment in (("start", made.start), ("end", made.end)):
        if isinstance(moment, datetime) and moment.tzinfo is not None:
            shown = moment.astimezone(UTC).astimezone(moment.tzinfo)
            if shown.replace(tzinfo=None) != moment.replace(tzinfo=None):
                detail = (
                    f"must be a time that exists in {entry.timezone}: its clocks go forward past "
                    f"{moment:%Y-%m-%dT%H:%M:%S} and show {shown:%Y-%m-%dT%H:%M:%S} instead"
                )
                errors.append(FieldError(pointer=f"{pointer}/{field}", detail=detail))
    return errors


def _order_errors(entry: CalendarEntry, pointer: str) -> Iterator[FieldError]:
    """The wall clocks decide: times that a zone's clocks show follow each other as their first showings do."""
    start, end = _read(entry.start), None if entry.end is None else _read(entry.end)
    if start is None or end is None or _kind(start) != _kind(end) or end > start:
        return
    detail = f"must be later than start ({entry.start}), got {entry.end!r}"
    if _kind(end) == "date":
        detail += "; an end date is the day after the last"
    yield FieldError(pointer=f"{pointer}/end", detail=detail)


def _read(text: str) -> Moment | None:
    try:
        return _moment(text)
    except ValueError:
        return None


def _moment(text: str) -> Moment:
    parts = _MOMENT.fullmatch(text)
    if parts is None or (parts[3] and not parts[2]) or not FIRST_YEAR <= int(text[:4]) <= LAST_YEAR:
        raise ValueError(f"{EXPECTED}; got {text!r}")
    if not parts[2]:
        return date.fromisoformat(parts[1])
    return datetime.fromisoformat(parts[1] + parts[2]).replace(tzinfo=UTC if parts[3] else None)


def _kind(moment: Moment) -> str:
    if not isinstance(moment, datetime):
        return "date"
    return "local time" if moment.tzinfo is None else "UTC time"


@lru_cache(maxsize=1_024)
def _zone(name: str) -> tzinfo:
    """The zone of a name; UTC under any of its names, since its times are written with Z (RFC 5545 3.2.19)."""
    if name in _UTC_NAMES:
        return UTC
    try:
        if name in _NO_ZONES or not _ZONE_NAME.fullmatch(name):
            raise ZoneInfoNotFoundError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name of a folder, such as Europe
        detail = f"must be a name of the IANA time zone database such as Europe/Warsaw, got {name!r}"
        raise ValueError(detail) from error


def _placed(moment: Moment, zone: tzinfo | None) -> Moment:
    return moment.replace(tzinfo=zone) if zone and isinstance(moment, datetime) else moment
