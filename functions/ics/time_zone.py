"""Describes a time zone to a calendar's readers: a VTIMEZONE (RFC 5545 3.6.5) for the years that are used.

It holds every change of the clocks in the year of each instant and in the year before, so that the observance in
force at each is there. It holds nothing for other years: a rule without an end is what recurring events will need.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import icalendar

# Changes are looked for at this step: of all zones since 1900 the closest two are 6.9 days apart (tzdata 2026).
STEP: Final = timedelta(days=4)


@dataclass(frozen=True, order=True)
class _Onset:
    """When an observance begins; `local` is the wall clock before the change (RFC 5545 3.6.5, DTSTART)."""

    local: datetime
    offset_from: timedelta
    offset_to: timedelta
    name: str
    daylight: bool


def vtimezone(zone: ZoneInfo, instants: Iterable[datetime]) -> icalendar.Timezone:
    """The VTIMEZONE that is right at every one of `instants` (in any zone).

    Not icalendar's own: 7.3.0 has the clocks of spring go forward an hour late, and steps over changes weeks apart.
    """
    observances: dict[tuple[timedelta, timedelta, str, bool], list[datetime]] = {}
    for each in _onsets(zone, {at.astimezone(UTC).year for at in instants}):
        key = (each.offset_from, each.offset_to, each.name, each.daylight)
        observances.setdefault(key, []).append(each.local)
    described = icalendar.Timezone()
    described.add("tzid", zone.key)
    for key, onsets in observances.items():
        described.add_component(_observance(*key, onsets))
    return described


def _observance(
    offset_from: timedelta, offset_to: timedelta, name: str, daylight: bool, onsets: list[datetime]
) -> icalendar.TimezoneDaylight | icalendar.TimezoneStandard:
    observance = icalendar.TimezoneDaylight() if daylight else icalendar.TimezoneStandard()
    first, *later = onsets
    observance.add("dtstart", first)
    if later:
        observance.add("rdate", later)
    observance.add("tzoffsetfrom", offset_from)
    observance.add("tzoffsetto", offset_to)
    observance.add("tzname", name)
    return observance


def _onsets(zone: ZoneInfo, used_years: set[int]) -> Iterator[_Onset]:
    years = {each - 1 for each in used_years} | used_years
    for year in sorted(years):
        changes = _changes(zone, year)
        if not changes and year - 1 not in years:
            yield _base(zone, year)
        yield from changes


def _base(zone: ZoneInfo, year: int) -> _Onset:
    """What is in force when no change comes: it starts, for a reader, with the year."""
    local = datetime(year, 1, 1, tzinfo=UTC).astimezone(zone)
    offset, dst, name = _state(local)
    return _Onset(local.replace(tzinfo=None), offset, offset, name, dst > timedelta())


@lru_cache(maxsize=4_096)
def _changes(zone: ZoneInfo, year: int) -> tuple[_Onset, ...]:
    """Every change of the clocks in a year of UTC."""
    steps, last = [datetime(year, 1, 1, tzinfo=UTC)], datetime(year + 1, 1, 1, tzinfo=UTC)
    while steps[-1] < last:
        steps.append(min(steps[-1] + STEP, last))
    return tuple(each for low, high in pairwise(steps) for each in _between(zone, low, high))


def _between(zone: ZoneInfo, low: datetime, high: datetime) -> Iterator[_Onset]:
    before, after = _state(low.astimezone(zone)), _state(high.astimezone(zone))
    if before == after:
        return
    if high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        yield from _between(zone, low, middle)
        yield from _between(zone, middle, high)
        return
    (offset_from, dst_from, _), (offset_to, dst_to, name) = before, after
    # Dublin and Casablanca have their saving below zero in winter: there "daylight" is what puts the clocks forward.
    daylight = offset_to > offset_from if dst_from != dst_to else dst_to > timedelta()
    yield _Onset((high + offset_from).replace(tzinfo=None), offset_from, offset_to, name, daylight)


def _state(local: datetime) -> tuple[timedelta, timedelta, str]:
    return local.utcoffset() or timedelta(), local.dst() or timedelta(), local.tzname() or ""
