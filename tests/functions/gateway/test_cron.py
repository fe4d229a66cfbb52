"""When cron expressions come: by brute force with croniter's matching of what clocks show, and by systemd's calendar.

They differ where clocks change. croniter's own iteration makes a fixed time twice in an hour that is repeated, systemd
leaves out one in an hour that is skipped; a job of every night is to be done once each night, as Debian's cron has it.
systemd also has every so many minutes but once in a repeated hour. cronsim by itself leaves out hours on Lord Howe
Island, whose clocks change by half an hour.
"""

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from functions.gateway.cron import Cron, zone_of

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
LORD_HOWE, CASABLANCA = "Australia/Lord_Howe", "Africa/Casablanca"
# two days from noon, across a change of clocks
CHANGES = [
    *((BERLIN, day) for day in ("2027-03-27", "2027-10-30")),
    *((NEW_YORK, day) for day in ("2027-03-13", "2027-11-06")),
    *((LORD_HOWE, day) for day in ("2027-04-03", "2027-10-02")),
    *((CASABLANCA, day) for day in ("2027-02-06", "2027-03-13")),
]
FIXED = {
    "30 2 * * *": "*-*-* 02:30:00",
    "0 2 * * *": "*-*-* 02:00:00",
    "15 1 * * *": "*-*-* 01:15:00",
    "45 1 * * *": "*-*-* 01:45:00",
    "0 3 * * *": "*-*-* 03:00:00",
}
OFTEN = ["*/30 * * * *", "0 */2 * * *", "* 2 * * *", "*/15 1-3 * * *", "@hourly"]


def noon(day: str, zone: str) -> datetime:
    return datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def times(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    made = []
    for each in Cron.parse(expression, ZoneInfo(zone)).after(after):
        if each > until:
            break
        made.append(each)
    return made


def shown_minutes(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """Every minute at which the zone's clocks show a time that the expression has."""
    minutes = (after + timedelta(minutes=number) for number in range(1, int((until - after).total_seconds() // 60) + 1))
    expression = "0 * * * *" if expression == "@hourly" else expression
    return [
        each for each in minutes if croniter.match(expression, each.astimezone(ZoneInfo(zone)).replace(tzinfo=None))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("expression", OFTEN)
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_what_comes_often_comes_whenever_clocks_show_it(zone: str, day: str, expression: str) -> None:
    after, until = noon(day, zone), noon(day, zone) + timedelta(days=2)

    assert times(expression, zone, after, until) == shown_minutes(expression, zone, after, until)


@pytest.mark.slow
@pytest.mark.parametrize("expression", FIXED)
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_a_fixed_time_comes_once_a_day_and_right_after_an_hour_that_is_skipped(
    zone: str, day: str, expression: str
) -> None:
    after = noon(day, zone)
    found = times(expression, zone, after, after + timedelta(days=2))
    shown = [each.astimezone(ZoneInfo(zone)) for each in found]
    clocks = shown_minutes(expression, zone, after, after + timedelta(days=2))

    assert [each.date() for each in shown] == sorted({each.date() for each in shown})
    assert len(shown) == 2
    for each in found:
        if each not in clocks:  # in the skipped hour: the moment of the change
            before = (each - timedelta(minutes=1)).astimezone(ZoneInfo(zone))
            assert before.utcoffset() != each.astimezone(ZoneInfo(zone)).utcoffset()
    assert [each for each in found if each in clocks] == [
        each for each in clocks if each.astimezone(ZoneInfo(zone)).fold == 0
    ]


@pytest.mark.slow
@pytest.mark.parametrize("expression", FIXED)
@pytest.mark.parametrize(("zone", "day"), CHANGES)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_has_the_same_fixed_times_but_for_those_that_clocks_never_show(
    zone: str, day: str, expression: str
) -> None:
    after = noon(day, zone)
    ours = [
        each
        for each in times(expression, zone, after, after + timedelta(days=4))
        if each in shown_minutes(expression, zone, after, after + timedelta(days=4))
    ]
    command = ["systemd-analyze", "calendar", f"--iterations={len(ours)}", f"--base-time={after:%Y-%m-%d %H:%M:%S} UTC"]
    told = subprocess.run(
        [*command, f"{FIXED[expression]} {zone}"],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    ).stdout
    found = dict.fromkeys(re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", told))

    assert [f"{each:%Y-%m-%d %H:%M:%S}" for each in ours] == [
        each for each in found if each > f"{after:%Y-%m-%d %H:%M}"
    ]


@pytest.mark.parametrize("expression", [*FIXED, *OFTEN])
@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_from_the_end_they_are_the_same_the_other_way(zone: str, day: str, expression: str) -> None:
    after, until = noon(day, zone), noon(day, zone) + timedelta(days=2)
    forwards = times(expression, zone, after, until)
    backwards = list(islice(Cron.parse(expression, ZoneInfo(zone)).until(until), len(forwards)))

    assert backwards[::-1] == forwards


def test_leap_days_and_ends_of_months_come_where_there_are_such() -> None:
    start = datetime(2027, 1, 31, 12, tzinfo=UTC)

    def days(expression: str) -> list[str]:
        return [f"{each:%Y-%m-%d}" for each in Cron.parse(expression, zone_of("UTC")).next(start, count=3)]

    assert days("0 0 29 2 *") == ["2028-02-29", "2032-02-29", "2036-02-29"]
    assert days("0 0 31 * *") == ["2027-03-31", "2027-05-31", "2027-07-31"]
    assert days("@yearly") == ["2028-01-01", "2029-01-01", "2030-01-01"]


@pytest.mark.parametrize(
    "text", ["", "x", "* * * * * *", "60 * * * *", "0 0 30 2 *", "@reboot", "0 0 * * *" + " " * 300 + "9"]
)
def test_what_is_no_expression_or_never_comes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be five fields"):
        Cron.parse(text, zone_of("UTC"))


@pytest.mark.parametrize("name", ["", "Europe", "Europe/Berln", "../etc/passwd", "/etc/localtime", "\x00", "CEST"])
def test_a_zone_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be a time zone such as Europe/Berlin"):
        zone_of(name)
