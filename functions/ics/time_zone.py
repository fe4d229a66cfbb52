"""Describes a time zone to a calendar's readers: a compact VTIMEZONE (RFC 5545 3.6.5) that has no end.

It begins in the year before the first instant that is used. Changes that the zone's present rules do not give are
listed; from where those rules hold they are written as RRULE, so that a series may go on for ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

from icalendar import Timezone, TimezoneDaylight, TimezoneStandard, vDatetime, vDDDLists, vRecur, vText, vUTCOffset

from functions.ics.tz_data import ClockChange, State, YearlyRule, ZoneData, zone_data
from functions.ics.values import content

DAYS: Final = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")
A_YEAR: Final = timedelta(days=366)


@dataclass(frozen=True)
class _Observance:
    """One STANDARD or DAYLIGHT part: the changes between two states."""

    before: State
    after: State
    onsets: tuple[datetime, ...]
    rrule: vRecur | None = None

    def component(self) -> TimezoneDaylight | TimezoneStandard:
        made = TimezoneDaylight() if self._daylight else TimezoneStandard()
        made.add("DTSTART", vDatetime(self.onsets[0]))
        if self.rrule:
            made.add("RRULE", self.rrule)
        elif self.onsets[1:]:
            made.add("RDATE", vDDDLists(self.onsets[1:]))
        made.add("TZOFFSETFROM", vUTCOffset(self.before.offset))
        made.add("TZOFFSETTO", vUTCOffset(self.after.offset))
        made.add("TZNAME", vText(self.after.name))
        return made

    @property
    def _daylight(self) -> bool:
        if self.before == self.after:  # the only state there is; readers expect a STANDARD part
            return False
        # Dublin and Casablanca have their saving below zero in winter: there "daylight" puts the clocks forward.
        changed = self.before.daylight != self.after.daylight
        return self.after.offset > self.before.offset if changed else self.after.daylight


def vtimezone(name: str, first: datetime, last: datetime | None) -> bytes:
    """The VTIMEZONE for instants from `first` to `last`, or without an end."""
    return _vtimezone(name, first.year, None if last is None else last.year)


@lru_cache(maxsize=1_024)
def _vtimezone(name: str, first_year: int, last_year: int | None) -> bytes:
    data, begin = zone_data(name), datetime(first_year - 1, 1, 1, tzinfo=UTC)
    end = None if last_year is None else datetime(last_year, 12, 31, tzinfo=UTC) + A_YEAR
    observances = [*_listed(data, begin, end), *_ruled(data, begin, end)]
    onsets = [each for observance in observances for each in observance.onsets]
    if all(each.year >= first_year for each in onsets):
        state = _state(data, begin)
        local = (begin + state.offset).replace(tzinfo=None)
        observances.insert(0, _Observance(state, state, (local,)))
    made = Timezone()
    made.add("TZID", vText(name))
    for each in observances:
        made.add_component(each.component())
    return content(made)


def _ruled_from(data: ZoneData) -> int:
    """The index of the first listed change from where all are those of the yearly rules, and none is left out."""
    index = len(data.changes)
    while index and data.changes[index - 1] == _last_ruled(data, index):
        index -= 1
    return index


def _last_ruled(data: ZoneData, index: int) -> ClockChange | None:
    """The last change that the yearly rules give before the listed one, or, where there is none, the last listed."""
    before = data.changes[index].at if index < len(data.changes) else data.changes[-1].at + timedelta(seconds=1)
    changes = (rule.change(before.year + each) for rule in data.rules for each in (-1, 0))
    return max((each for each in changes if each.at < before), key=lambda each: each.at, default=None)


def _listed(data: ZoneData, begin: datetime, end: datetime | None) -> Iterator[_Observance]:
    """The changes that follow no present rule, those between the same states together."""
    grouped: dict[tuple[State, State], list[ClockChange]] = {}
    for each in data.changes[: _ruled_from(data)]:
        if begin <= each.at and (end is None or each.at <= end):
            grouped.setdefault((each.before, each.after), []).append(each)
    for (before, after), changes in grouped.items():
        yield _Observance(before, after, tuple(each.local for each in changes))


def _ruled(data: ZoneData, begin: datetime, end: datetime | None) -> Iterator[_Observance]:
    index = _ruled_from(data)
    listed = data.changes[index - 1].at + timedelta(seconds=1) if index else begin
    since = max(begin, data.changes[index].at if index < len(data.changes) else listed)
    if end is not None and since > end:
        return
    for rule in data.rules:
        for rrule, months_and_days in _rrules(rule):
            yield _Observance(rule.before, rule.after, (_first_onset(rule, months_and_days, since),), rrule)


def _first_onset(rule: YearlyRule, days: frozenset[tuple[int, int]], since: datetime) -> datetime:
    changes = (
        rule.change(year) for year in range(since.year - 1, since.year + 41)
    )  # 40 years have every day's weekdays
    return next(each.local for each in changes if each.at >= since and (each.local.month, each.local.day) in days)


def _rrules(rule: YearlyRule) -> Iterator[tuple[vRecur, frozenset[tuple[int, int]]]]:
    """The RRULEs that together are a yearly rule, each with the (month, day) that it may come on.

    Where the time moves the change to another day, it is no nth weekday any more: it is a weekday of certain days,
    and of two months when those days reach into the next one.
    """
    shift, first = rule.time // timedelta(days=1), 7 * (rule.week - 1) + 1
    month_end = (date(2025 + rule.month // 12, rule.month % 12 + 1, 1) - timedelta(days=1)).day
    first = month_end - 6 if rule.week == 5 else first
    days = [date(2025, rule.month, each) + timedelta(days=shift) for each in range(first, first + 7)]
    weekday = DAYS[(rule.weekday + shift) % 7]
    for month in sorted({each.month for each in days}):
        if month == 2 and (shift or rule.week == 5):
            raise ValueError(f"a rule at the end of February cannot be written as RRULE: {rule}")
        within = [each.day for each in days if each.month == month]
        listed: dict[str, object] = {"BYMONTHDAY": within, "BYDAY": weekday}
        nth = {"BYDAY": f"{-1 if rule.week == 5 else rule.week}{weekday}"}
        parts = {"FREQ": "YEARLY", "BYMONTH": month, **(listed if shift else nth)}
        yield vRecur(parts), frozenset((month, each) for each in within)


def _state(data: ZoneData, at: datetime) -> State:
    return next((each.after for each in reversed(data.changes) if each.at <= at), data.first)
