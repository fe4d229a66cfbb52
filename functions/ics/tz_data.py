"""What the time zone database says of a zone: every change of its clocks, and the rules that go on without an end.

It is read from the compiled files (RFC 9636), which zoneinfo reads too and does not show; from the same folders.
"""

import re
import struct
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import TZPATH

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_SECOND: Final = int((datetime(1800, 1, 1, tzinfo=UTC) - EPOCH).total_seconds())  # some files begin at -2^59

_HEADER = struct.Struct(">4sc15x6l")
_NAME: Final = r"(<[^<>]+>|[A-Za-z]+)"
_CLOCK: Final = r"[+-]?\d{1,3}(?::\d\d){0,2}"
_FOOTER = re.compile(rf"{_NAME}({_CLOCK})(?:{_NAME}({_CLOCK})?,([^,]+),([^,]+))?")
_RULE = re.compile(rf"M(\d+)\.([1-5])\.([0-6])(?:/({_CLOCK}))?")


@dataclass(frozen=True)
class State:
    """What clocks show: the offset from UTC, whether it is daylight saving time, and its abbreviation."""

    offset: timedelta
    daylight: bool
    name: str


@dataclass(frozen=True)
class ClockChange:
    """At an instant the clocks go from one state to another."""

    at: datetime
    before: State
    after: State

    @property
    def local(self) -> datetime:
        """What the clocks showed that moment, before the change (RFC 5545 3.6.5, DTSTART)."""
        return (self.at + self.before.offset).replace(tzinfo=None)


@dataclass(frozen=True)
class YearlyRule:
    """A change that comes every year: the nth weekday of a month (5: the last; 0 is Sunday), and then a time.

    The time may be below zero, or over a day: tzdata writes the Saturday before a last Sunday in that way.
    """

    month: int
    week: int
    weekday: int
    time: timedelta
    before: State
    after: State

    def change(self, year: int) -> ClockChange:
        """The change of a year."""
        first = date(year, self.month, 1)
        day = first + timedelta(days=(self.weekday - first.isoweekday()) % 7 + 7 * (self.week - 1))
        if day.month != self.month:  # there is no fifth
            day -= timedelta(days=7)
        local = datetime(day.year, day.month, day.day, tzinfo=UTC) + self.time
        return ClockChange(local - self.before.offset, self.before, self.after)


@dataclass(frozen=True)
class ZoneData:
    """The changes of the past and of the planned years, and the yearly rules that hold after them."""

    first: State
    changes: tuple[ClockChange, ...]
    rules: tuple[YearlyRule, ...]


@lru_cache(maxsize=64)
def zone_data(name: str) -> ZoneData:
    """What the database says of a zone that zoneinfo knows."""
    data = _file(name)
    header = _HEADER.unpack_from(data)
    times, types, characters = header[5], header[6], header[7]
    second = 44 + times * 5 + types * 6 + characters + header[4] * 8 + header[3] + header[2]
    return _read(data, second)


def _file(name: str) -> bytes:
    for folder in TZPATH:
        path = Path(folder, name)
        if path.is_file():
            return path.read_bytes()
    from importlib import resources  # for a system that has no such folder

    return resources.files("tzdata").joinpath("zoneinfo", name).read_bytes()


def _read(data: bytes, start: int) -> ZoneData:
    """The part of a file with times of 64 bits, and the text after it (RFC 9636 3.2, 3.3)."""
    _, _, is_utc, is_standard, leaps, times, types, characters = _HEADER.unpack_from(data, start)
    at = start + 44
    seconds = struct.unpack_from(f">{times}q", data, at)
    indices = data[at + times * 8 : at + times * 9]
    at += times * 9
    names = data[at + types * 6 : at + types * 6 + characters]
    states = []
    for index in range(types):
        offset_s, daylight, name_at = struct.unpack_from(">lBB", data, at + index * 6)
        name = names[name_at : names.index(0, name_at)].decode()
        states.append(State(timedelta(seconds=offset_s), bool(daylight), name))
    footer = data[at + types * 6 + characters + leaps * 12 + is_standard + is_utc :].decode().strip("\n")
    changes, before = [], states[0]
    for second, index in zip(seconds, indices, strict=True):
        if second >= FIRST_SECOND and states[index] != before:
            changes.append(ClockChange(EPOCH + timedelta(seconds=second), before, states[index]))
        before = states[index]
    return ZoneData(states[0] if not changes else changes[0].before, tuple(changes), _rules(footer))


def _rules(footer: str) -> tuple[YearlyRule, ...]:
    """The rules of a POSIX TZ text, such as CET-1CEST,M3.5.0,M10.5.0/3; its offsets are west of Greenwich."""
    parts = _FOOTER.fullmatch(footer)
    if parts is None:
        raise ValueError(f"a time zone's rules must be of POSIX TZ, got {footer!r}")
    name, offset, daylight_name, daylight_offset, begin, end = parts.groups()
    if daylight_name is None:
        return ()
    standard = State(-_clock(offset), False, name.strip("<>"))
    saving = -_clock(daylight_offset) if daylight_offset else standard.offset + timedelta(hours=1)
    daylight = State(saving, True, daylight_name.strip("<>"))
    return _rule(begin, standard, daylight), _rule(end, daylight, standard)


def _rule(text: str, before: State, after: State) -> YearlyRule:
    parts = _RULE.fullmatch(text)
    if parts is None:  # the forms Jn and n are in no file of tzdata 2026
        raise ValueError(f"a rule of a time zone must be such as M10.5.0/3, got {text!r}")
    month, week, weekday = int(parts[1]), int(parts[2]), int(parts[3])
    return YearlyRule(month, week, weekday, _clock(parts[4] or "2"), before, after)


def _clock(text: str) -> timedelta:
    hours, minutes, seconds = (*(int(each) for each in text.lstrip("+-").split(":")), 0, 0)[:3]
    return timedelta(hours=hours, minutes=minutes, seconds=seconds) * (-1 if text[0] == "-" else 1)
