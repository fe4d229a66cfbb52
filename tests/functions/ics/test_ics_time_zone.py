"""The zones that a file describes: right at every instant that it may be read for, compact, and without an end.

The failure listeners are zoneinfo for the offsets and dateutil for the rules.
"""

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from dateutil.rrule import rrulestr

from functions.ics.time_zone import vtimezone
from functions.ics.tz_data import zone_data
from tests.support.calendar_jobs import content, entry, inner, lines_of, refused, weekly

LAST_YEAR = 2090  # the longest list of planned changes (Casablanca's) ends in 2087
NO_ZONES = {"Factory", "localtime", "posixrules"}
HARD = [
    "Europe/Warsaw",
    "Europe/Dublin",  # its saving is below zero, in winter
    "Europe/Riga",  # left its rule for the year 2000
    "Africa/Cairo",  # its rule comes on 1 November in some years
    "Africa/Casablanca",  # changes for the month of Ramadan
    "Asia/Gaza",  # so too, and then by a rule of 50 o'clock
    "America/Nuuk",  # by a rule of minus one o'clock
    "America/Santiago",  # by a rule of 24 o'clock
    "America/Port-au-Prince",  # left its rule for the year 2016
    "Australia/Lord_Howe",  # by half an hour
    "America/Argentina/Tucuman",  # twice within twelve days of 2004
    "America/Recife",  # twice within a week of 2000
    "Antarctica/Troll",  # by two hours
    "Pacific/Apia",  # had no 2011-12-30
    "Asia/Tokyo",
    "Etc/GMT+5",
]


def onsets(name: str, first: datetime, last: datetime | None) -> list[tuple[datetime, timedelta]]:
    """When (UTC) each offset begins, as RFC 5545 3.6.5 says: a local time less TZOFFSETFROM."""
    found = []
    text = vtimezone(name, first, last).decode().replace("\r\n ", "").replace("\r\n", "\n")
    for observance in re.findall(r"BEGIN:(?:STANDARD|DAYLIGHT)\n(.*?)\nEND:", text, re.DOTALL):
        values = dict(line.split(":", 1) for line in observance.split("\n"))
        before, after = _offset(values["TZOFFSETFROM"]), _offset(values["TZOFFSETTO"])
        found += [(local - before, after) for local in _locals(values)]
    return sorted(found)


def _locals(values: dict[str, str]) -> list[datetime]:
    first = _local(values["DTSTART"])
    if "RRULE" not in values:
        return [first, *(_local(each) for each in values.get("RDATE", "").split(",") if each)]
    locals_ = rrulestr(values["RRULE"], dtstart=first).between(first, _local(f"{LAST_YEAR + 1}1231T000000"), inc=True)
    assert locals_[0] == first
    return list(locals_)


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _offset(text: str) -> timedelta:
    hours, minutes, seconds = (int(part or "0") for part in (text[1:3], text[3:5], text[5:7]))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds) * (-1 if text[0] == "-" else 1)


def wrong(name: str, first: datetime, last: datetime | None, step: timedelta) -> list[datetime]:
    """The instants from the first to the last at which the VTIMEZONE gives another offset than the zone itself."""
    zone, described = ZoneInfo(name), onsets(name, first, last)
    begins = [each for each, _ in described]
    at, found = first.replace(tzinfo=None), []
    while at <= (_local(f"{LAST_YEAR}1231T000000") if last is None else last.replace(tzinfo=None)):
        if described[bisect_right(begins, at) - 1][1] != at.replace(tzinfo=UTC).astimezone(zone).utcoffset():
            found.append(at)
        at += step
    return found


@cache
def _zones() -> list[str]:
    return sorted(available_timezones() - NO_ZONES)


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("year", [1944, 2000, 2004, 2011, 2016, 2026, 2060])
def test_a_vtimezone_of_a_year_gives_the_offset_of_every_hour(name: str, year: int) -> None:
    first, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, 23, tzinfo=UTC)

    assert wrong(name, first, last, timedelta(hours=1)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("year", [1999, 2015, 2026])
def test_a_vtimezone_without_an_end_is_right_for_ever(name: str, year: int) -> None:
    assert wrong(name, datetime(year, 1, 1, tzinfo=UTC), None, timedelta(hours=7)) == []


@pytest.mark.slow
def test_every_zone_of_the_database_is_described_without_an_end() -> None:
    assert len(_zones()) > 400
    for name in _zones():
        assert wrong(name, datetime(2026, 1, 1, tzinfo=UTC), None, timedelta(days=13, hours=5)) == [], name


@pytest.mark.slow
def test_a_zone_with_a_rule_is_described_in_half_a_kilobyte() -> None:
    for name in _zones():
        size = len(vtimezone(name, datetime(2026, 1, 1, tzinfo=UTC), None))

        assert size < 600 or len(zone_data(name).changes) > 100, name


def test_warsaw_has_its_winter_and_its_summer_time_by_rules() -> None:
    file = content(entry(), entry(start="2026-07-01T10:00:00"))

    offsets = {
        kind: {name: line.value for name, line in lines_of(file, kind).items()} for kind in ("STANDARD", "DAYLIGHT")
    }
    assert offsets == {
        "STANDARD": {
            "DTSTART": "20251026T030000",
            "RRULE": "FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10",
            "TZOFFSETFROM": "+0200",
            "TZOFFSETTO": "+0100",
            "TZNAME": "CET",
        },
        "DAYLIGHT": {
            "DTSTART": "20250330T020000",
            "RRULE": "FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3",
            "TZOFFSETFROM": "+0100",
            "TZOFFSETTO": "+0200",
            "TZNAME": "CEST",
        },
    }


def test_a_rule_that_reaches_into_the_next_month_is_two_rules() -> None:
    file = content(weekly(timezone="Africa/Cairo"))

    rules = [each.value("RRULE") for each in inner(file, "STANDARD")]
    assert rules == [
        "FREQ=YEARLY;BYDAY=FR;BYMONTHDAY=26,27,28,29,30,31;BYMONTH=10",
        "FREQ=YEARLY;BYDAY=FR;BYMONTHDAY=1;BYMONTH=11",
    ]


def test_planned_changes_are_listed_as_far_as_the_file_goes() -> None:
    single = len(content(entry(timezone="Africa/Casablanca")))
    for_ever = len(content(entry(timezone="Africa/Casablanca", rrule="FREQ=WEEKLY")))

    assert single < 1_000 < for_ever


def test_a_zone_is_described_once_and_every_zone_is_described() -> None:
    file = content(entry(), entry(timezone="Asia/Tokyo"), entry(), entry(timezone="America/New_York"))

    described = [each.value("TZID") for each in inner(file, "VTIMEZONE")]
    assert described == ["America/New_York", "Asia/Tokyo", "Europe/Warsaw"]


@pytest.mark.parametrize("zone", ["Atlantic/Reykjavik", "Africa/Abidjan", "GMT", "Etc/GMT+0"])
def test_a_zone_that_is_at_the_offset_of_utc_keeps_its_name(zone: str) -> None:
    event = lines_of(content(entry(timezone=zone)))

    assert (event["DTSTART"].value, event["DTSTART"].parameters) == ("20261201T140000", {"TZID": zone})


def test_a_local_time_that_the_clocks_skip_is_refused_by_name() -> None:
    errors = refused(entry(start="2026-03-29T02:30:00", end="2026-03-29T03:30:00"))

    assert list(errors) == ["#/events/0/start"]
    assert "2026-03-29T02:30:00" in errors["#/events/0/start"]
    assert "Europe/Warsaw" in errors["#/events/0/start"]


def test_a_local_time_that_the_clocks_show_twice_is_the_first() -> None:
    file = content(entry(start="2026-10-25T02:30:00", end="2026-10-25T03:00:00"))

    assert lines_of(file)["DTSTART"].value == "20261025T023000"
