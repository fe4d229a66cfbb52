"""Moments: a day, a local time of a zone, a floating local time, or UTC (RFC 5545 3.3.5).

A local time that the clocks show twice is the first of the two (3.3.5); who means the second gives UTC. One that they
skip is refused: it is nearly always a mistake, which only the caller can mend.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from functions.ics.findings import FieldPlace

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


def read(text: str) -> Moment:
    """The moment that a text says, local times without their zone; ValueError says what is expected."""
    parts = _MOMENT.fullmatch(text)
    if parts is None or (parts[3] and not parts[2]) or not FIRST_YEAR <= int(text[:4]) <= LAST_YEAR:
        raise ValueError(f"{EXPECTED}; got {text!r}")
    try:
        if not parts[2]:
            return date.fromisoformat(parts[1])
        return datetime.fromisoformat(parts[1] + parts[2]).replace(tzinfo=UTC if parts[3] else None)
    except ValueError as error:
        raise ValueError(f"{EXPECTED}; got {text!r}") from error


def instant(text: str) -> datetime:
    """The UTC time that a text says; ValueError for any other moment."""
    made = read(text)
    if not isinstance(made, datetime) or made.tzinfo is None:
        raise ValueError(f"must be UTC such as 2026-12-01T13:00:00Z, got the {kind(made)} {text!r}")
    return made


def kind(moment: Moment) -> str:
    """What a moment that was read is."""
    if not isinstance(moment, datetime):
        return "date"
    return "local time" if moment.tzinfo is None else "UTC time"


@lru_cache(maxsize=1_024)
def zone(name: str) -> tzinfo:
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


def utc(moment: Moment) -> datetime:
    """The instant of a moment; that of a day or a floating time as if it were of UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class TimeFrame:
    """What all moments of one item have in common: value types have to agree (RFC 5545 3.8.2.2, 3.8.4.4, 3.8.5.1)."""

    like: str
    kind: str
    zone: tzinfo | None

    def moment(self, text: str, pointer: FieldPlace) -> Moment | None:
        """The moment in its zone; a local time that does not exist is found, and given back for further checks."""
        made = pointer.take(read, text)
        if made is None:
            return None
        if kind(made) != self.kind:
            pointer.add(f"must be a {self.kind} like {self.like}, got the {kind(made)} {text!r}")
            return None
        if self.zone is None or not isinstance(made, datetime):
            return made
        made = made.replace(tzinfo=self.zone)
        self._refuse_skipped(made, pointer)
        return made

    def _refuse_skipped(self, local: datetime, pointer: FieldPlace) -> None:
        shown = local.astimezone(UTC).astimezone(self.zone)
        if shown.replace(tzinfo=None) != local.replace(tzinfo=None):
            pointer.add(
                f"must be a time that exists in {self.zone}: its clocks go forward past "
                f"{local:%Y-%m-%dT%H:%M:%S} and show {shown:%Y-%m-%dT%H:%M:%S} instead",
            )


def frame(name: str, text: str, timezone: str | None, pointer: FieldPlace) -> TimeFrame | None:
    """The frame that an item's first moment (field `name`) and its timezone make; None when either is wrong."""
    placed = None if timezone is None else (pointer / "timezone").take(zone, timezone)
    made = (pointer / f"{name}").take(read, text)
    if made is None:
        return None
    if placed is not None and kind(made) != "local time":
        detail = f"must be absent beside a {kind(made)} ({text}), got {timezone!r}"
        (pointer / "timezone").add(detail)
        placed = None
    return TimeFrame(f"{name} ({text})", kind(made), placed)
