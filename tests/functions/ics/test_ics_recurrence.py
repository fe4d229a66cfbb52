"""Recurrence: the instances of a rule, what is refused, and what is written.

The failure listeners are dateutil, and libical, which expands the file itself by its own VTIMEZONE.
"""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from events.types.ics import CalendarEntry, Recurrence
from functions.ics import rrule
from functions.ics.findings import FieldPlace
from functions.ics.moment import TimeFrame
from functions.ics.recurrence import DAYS, Rule
from tests.support.calendar_jobs import ANNA, LEE, content, entry, inner, lines_of, made, refused, weekly
from tests.support.calendar_panel import instances

START = datetime.fromisoformat("2026-12-01T14:00")  # a Tuesday


def at_two(day: date) -> datetime:
    """The floating local time that all these series have."""
    return datetime.combine(day, START.time())


def rule_of(text: str, start: datetime = START) -> Rule:
    """The rule of an RRULE; AssertionError when it is refused."""
    place = FieldPlace()
    parts = rrule.recurrence(CalendarEntry(summary="x", start="x", rrule=text))
    assert parts
    rule = rrule.rule(parts, start, TimeFrame("start", "local time", None), place, place)
    assert rule
    assert place.findings.errors == []
    return rule


def days(text: str, count: int, start: datetime = START) -> list[str]:
    return [str(each) for each in islice(rule_of(text, start).instances(), count)]


# --- the instances


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FREQ=DAILY;INTERVAL=10;COUNT=3", ["2026-12-01", "2026-12-11", "2026-12-21"]),
        ("FREQ=WEEKLY;BYDAY=TU,FR", ["2026-12-01", "2026-12-04", "2026-12-08", "2026-12-11"]),
        ("FREQ=WEEKLY;UNTIL=20261208T140000", ["2026-12-01", "2026-12-08"]),
        ("FREQ=WEEKLY;UNTIL=20261208T135959", ["2026-12-01"]),
        ("FREQ=MONTHLY;BYDAY=1TU,-1TU", ["2026-12-01", "2026-12-29", "2027-01-05", "2027-01-26"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1", ["2026-12-01", "2027-01-01", "2027-02-01", "2027-03-01"]),
        ("FREQ=YEARLY;INTERVAL=2", ["2026-12-01", "2028-12-01", "2030-12-01", "2032-12-01"]),
        ("FREQ=YEARLY;BYYEARDAY=-31", ["2026-12-01", "2027-12-01", "2028-12-01", "2029-12-01"]),
        ("FREQ=YEARLY;BYWEEKNO=49;BYDAY=TU", ["2026-12-01", "2027-12-07", "2028-12-05", "2029-12-04"]),
    ],
)
def test_a_rule_has_the_instances_that_the_rfc_gives_it(text: str, expected: list[str]) -> None:
    assert days(text, 4) == expected


def test_the_thirty_first_and_the_leap_day_are_skipped_where_they_are_not() -> None:
    assert days("FREQ=MONTHLY", 3, at_two(date(2026, 12, 31))) == ["2026-12-31", "2027-01-31", "2027-03-31"]
    assert days("FREQ=YEARLY", 3, at_two(date(2024, 2, 29))) == ["2024-02-29", "2028-02-29", "2032-02-29"]


NUMBERS = st.integers(1, 31) | st.integers(-31, -1)


@st.composite
def rules(draw: st.DrawFn) -> str:
    """Rules of every kind that both we and dateutil take."""
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={frequency}", f"INTERVAL={draw(st.integers(1, 4))}"]
    # dateutil takes MO,1MO for the Mondays that are both, the RFC for those that are one of them: never the two here
    with_ordinals = frequency in ("MONTHLY", "YEARLY") and draw(st.booleans())
    ordinals = st.sampled_from(["1", "2", "-1"] if with_ordinals else [""])
    by_day = st.builds("{}{}".format, ordinals, st.sampled_from(DAYS))
    for name, values, frequencies in (
        ("BYMONTH", st.integers(1, 12), "DAILY WEEKLY MONTHLY YEARLY"),
        ("BYMONTHDAY", NUMBERS, "DAILY MONTHLY YEARLY"),
        ("BYYEARDAY", st.integers(1, 366) | st.integers(-366, -1), "YEARLY"),
        ("BYDAY", by_day, "DAILY WEEKLY MONTHLY YEARLY"),
    ):
        if frequency in frequencies.split() and draw(st.integers(0, 2)) == 0:
            chosen = draw(st.lists(values, min_size=1, max_size=4, unique=True))
            parts.append(f"{name}={','.join(map(str, chosen))}")
    if len(parts) > 2 and frequency in ("MONTHLY", "YEARLY") and draw(st.booleans()):
        parts.append(f"BYSETPOS={draw(st.sampled_from([1, 2, -1]))}")
    return ";".join([*parts, f"WKST={draw(st.sampled_from(['MO', 'SU']))}"])


def few_instances(text: str, start: date) -> list[date]:
    """The first instances within some years; none, where even the start is refused."""
    rule = rrule._rule(rrule._parsed(text), at_two(start), None)  # whose start is no instance too
    return list(islice(rule.instances(limit_periods=200), 25))


@pytest.mark.slow
@settings(deadline=None)
@given(text=rules(), start=st.dates(date(1999, 1, 1), date(2030, 12, 31)))
def test_a_rule_has_the_instances_that_dateutil_gives_it(text: str, start: date) -> None:
    found = few_instances(text, start)
    assume(found)  # else dateutil searches to the year 9999

    expected = [each.date() for each in islice(rrulestr(text, dtstart=at_two(start)), len(found))]
    assert found == expected
    rule = rrule._rule(rrule._parsed(text), at_two(start), None)
    assert rule.among({start + timedelta(days=each) for each in range((found[-1] - start).days + 1)}) == set(found)


def libical_takes(text: str) -> bool:
    """Whether libical 3.0 goes by the RFC's table: not where a yearly rule has several BY parts, or BYMONTHDAY alone
    (it stays in the month of the start), a daily one counts from the end of the month, or positions are of days.
    """
    if "BYMONTHDAY" in text and "BYSETPOS" in text:
        return False
    if "FREQ=DAILY" in text:
        return "BYMONTHDAY" not in text or "-" not in text
    return "FREQ=YEARLY" not in text or (text.count("BY") <= 1 and "BYMONTHDAY" not in text)


@pytest.mark.slow
@settings(deadline=None, derandomize=True)  # a random rule may meet a defect of libical that is not known yet
@given(text=rules().filter(libical_takes))
def test_libical_expands_the_file_to_the_same_instants(text: str) -> None:
    zone = ZoneInfo("Europe/Warsaw")
    starts = few_instances(text, START.date())
    assume(starts and starts[0].year < 2040)
    found = few_instances(text, starts[0])

    file = content(entry(start=f"{starts[0]}T14:00:00", end=f"{starts[0]}T15:00:00", rrule=text))

    expected = [at_two(each).replace(tzinfo=zone).astimezone(UTC) for each in found]
    assert instances(file, expected[-1] + timedelta(hours=2)) == expected


def test_a_series_keeps_its_local_time_over_the_clock_changes_and_beyond_2038() -> None:
    file = content(entry(end="2026-12-01T15:00:00", rrule="FREQ=MONTHLY"))

    found = instances(file, datetime(2052, 1, 1, tzinfo=UTC))
    local = {each.astimezone(ZoneInfo("Europe/Warsaw")).strftime("%d %H:%M") for each in found}
    assert len(found) == 301
    assert local == {"01 14:00"}


# --- what is written


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"frequency": "weekly", "count": 10}, "FREQ=WEEKLY;COUNT=10"),
        ({"frequency": "weekly", "interval": 2, "by_day": ["TU", "FR"]}, "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,FR"),
        ({"frequency": "monthly", "by_day": ["+1TU"]}, "FREQ=MONTHLY;BYDAY=1TU"),
        (
            {"frequency": "monthly", "by_day": ["TU"], "by_set_position": [1], "week_start": "SU"},
            "FREQ=MONTHLY;BYDAY=TU;BYSETPOS=1;WKST=SU",
        ),
        ({"frequency": "yearly", "by_month": [12], "by_month_day": [1]}, "FREQ=YEARLY;BYMONTHDAY=1;BYMONTH=12"),
        ({"frequency": "daily", "until": "2026-12-31T23:00:00"}, "FREQ=DAILY;UNTIL=20261231T220000Z"),
        ({"frequency": "daily", "until": "2026-12-31T22:00:00Z"}, "FREQ=DAILY;UNTIL=20261231T220000Z"),
    ],
)
def test_the_parts_of_a_rule_and_its_text_are_the_same(parts: dict[str, Any], text: str) -> None:
    assert lines_of(content(entry(recurrence=parts)))["RRULE"].value == text
    assert lines_of(content(entry(rrule=f"RRULE:{text}")))["RRULE"].value == text


@pytest.mark.parametrize(
    ("changes", "until"),
    [
        ({"start": "2026-12-01", "timezone": None, "rrule": "FREQ=DAILY;UNTIL=20261205"}, "20261205"),
        ({"timezone": None, "rrule": "FREQ=DAILY;UNTIL=20261205T140000"}, "20261205T140000"),
        ({"start": "2026-12-01T13:00Z", "timezone": None, "rrule": "FREQ=DAILY;UNTIL=20261205T1300Z"}, None),
        (
            {"start": "2026-12-01T13:00Z", "timezone": None, "rrule": "FREQ=DAILY;UNTIL=20261205T130000Z"},
            "20261205T130000Z",
        ),
        ({"rrule": "FREQ=DAILY;UNTIL=20261205T140000"}, "20261205T130000Z"),
    ],
)
def test_the_type_of_until_agrees_with_the_start(changes: dict[str, Any], until: str | None) -> None:
    if until is None:
        assert list(refused(entry(**changes))) == ["#/events/0/rrule"]
    else:
        assert lines_of(content(entry(**changes)))["RRULE"].value == f"FREQ=DAILY;UNTIL={until}"


def test_excluded_and_added_dates_are_of_the_type_of_the_start() -> None:
    file = content(weekly(exdates=["2026-12-08T14:00:00"], rdates=["2026-12-09T14:00:00", "2026-12-10T10:00:00"]))

    (event,) = inner(file)
    written = [(each.name, each.parameters, each.value) for each in event.lines if each.name in ("EXDATE", "RDATE")]
    zone = {"TZID": "Europe/Warsaw"}
    assert written == [
        ("RDATE", zone, "20261209T140000"),
        ("RDATE", zone, "20261210T100000"),
        ("EXDATE", zone, "20261208T140000"),
    ]


def test_an_override_has_all_of_the_series_and_its_own_changes() -> None:
    moved = {"recurrence_id": "2026-12-15T14:00:00", "start": "2026-12-16T10:00:00", "summary": "Moved"}
    off = {"recurrence_id": "2026-12-22T14:00:00", "status": "cancelled", "sequence": 3}
    file = content(weekly(uid="fair", location="Hall", alarms=[{}], overrides=[moved, off]))

    series, first, second = inner(file)
    assert {each.value("UID") for each in (series, first, second)} == {"fair"}
    assert (first.value("RECURRENCE-ID"), first.value("DTSTART")) == ("20261215T140000", "20261216T100000")
    assert (first.value("DTEND"), first.value("SUMMARY")) == ("20261216T113000", "Moved")
    assert (first.value("LOCATION"), first.value("RRULE"), len(first.inner)) == ("Hall", None, 1)
    assert (second.value("STATUS"), second.value("SEQUENCE"), second.value("SUMMARY")) == ("CANCELLED", "3", "Fair")


def test_one_instance_of_a_series_is_cancelled_by_its_recurrence_id() -> None:
    file = content(
        entry(
            uid="fair",
            recurrence_id="2026-12-08T14:00:00",
            start="2026-12-08T14:00:00",
            organizer=ANNA,
            attendees=[LEE],
        ),
        method="cancel",
    )

    event = lines_of(file)
    assert (event["RECURRENCE-ID"].value, event["STATUS"].value) == ("20261208T140000", "CANCELLED")
    assert event["SEQUENCE"].value == "1"


def test_a_cancelled_series_is_written_without_its_overrides() -> None:
    series = weekly(uid="fair", overrides=[{"recurrence_id": "2026-12-08T14:00:00", "summary": "Moved"}])

    assert len(inner(content(series, method="cancel"))) == 1


# --- what is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FREQ=WEEKLY;COUNT=2;UNTIL=20261231T000000", "count or until, not both"),
        ("FREQ=HOURLY", "DAILY, WEEKLY, MONTHLY or YEARLY"),
        ("FREQ=DAILY;BYHOUR=9", "every instance is at the time of the start"),
        ("FREQ=DAILY;RSCALE=HEBREW", "got 'RSCALE'"),
        ("COUNT=2", "must have FREQ"),
        ("FREQ=DAILY;FREQ=DAILY", "each part once"),
        ("FREQ=DAILY;COUNT=0", "COUNT must be 1 to 10000, got '0'"),
        ("FREQ=DAILY;COUNT=9999999999999999999", "COUNT must be 1 to 10000"),
        ("FREQ=DAILY;INTERVAL=x", "INTERVAL must be 1 to 1000, got 'X'"),
        ("FREQ=DAILY;INTERVAL=\u0661", "INTERVAL must be"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL must be such as"),
        ("FREQ=DAILY;UNTIL=20261399T000000", "must be a date such as"),
        ("FREQ=DAILY;UNTIL=20261231", "must be a local time like start"),
        ("FREQ=DAILY;UNTIL=20261130T000000", "until (2026-11-30T00:00:00) must not be before start"),
        ("FREQ=WEEKLY;BYDAY=XX", "got 'XX'"),
        ("FREQ=WEEKLY;BYDAY=TU\nATTENDEE:x", "got 'TU\\nATTENDEE:X'"),
        ("FREQ=WEEKLY;BYDAY=2TU", "an ordinal such as 2TU is for monthly and yearly"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "by_month_day is for daily, monthly and yearly rules, got weekly"),
        ("FREQ=MONTHLY;BYYEARDAY=1", "by_year_day is for yearly rules"),
        ("FREQ=MONTHLY;BYWEEKNO=1;BYDAY=TU", "by_week_number is for yearly rules"),
        ("FREQ=YEARLY;BYWEEKNO=49", "by_week_number expects by_day too"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "got 0"),
        ("FREQ=MONTHLY;BYSETPOS=1", "another by part"),
        ("FREQ=WEEKLY;WKST=XX", "WKST must be one of"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "must have an instance: the rule gives none in the 50 years"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "must have an instance"),
        ("FREQ=MONTHLY;BYMONTHDAY=1;BYSETPOS=2", "must have an instance"),
        ("FREQ=WEEKLY;BYDAY=MO", "the rule's first instance is on 2026-12-07"),
    ],
)
def test_a_rule_that_is_none_fails_the_job_with_the_reason(text: str, said: str) -> None:
    errors = refused(entry(rrule=text))

    assert list(errors) == ["#/events/0/rrule"]
    assert said in errors["#/events/0/rrule"]


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"exdates": ["2026-12-09T14:00:00"]}, "exdates/0", "must be the start of an instance"),
        ({"exdates": ["2026-12-08T15:00:00"]}, "exdates/0", "must be the start of an instance"),
        ({"exdates": ["2027-02-09T14:00:00"]}, "exdates/0", "must be the start of an instance"),
        ({"exdates": ["2026-12-08"]}, "exdates/0", "must be a local time like start"),
        ({"exdates": ["2026-12-08T13:00:00Z"]}, "exdates/0", "got the UTC time"),
        ({"exdates": ["2026-12-08T14:00:00"] * 2}, "exdates", "got one of them twice"),
        ({"rdates": ["2027-03-28T02:30:00"]}, "rdates/0", "must be a time that exists"),
        (
            {"overrides": [{"recurrence_id": "2026-12-09T14:00:00"}]},
            "overrides/0/recurrence_id",
            "start of an instance",
        ),
        ({"overrides": [{"recurrence_id": "soon"}]}, "overrides/0/recurrence_id", "got 'soon'"),
        (
            {"overrides": [{"recurrence_id": "2026-12-08T14:00:00"}, {"recurrence_id": "2026-12-08T14:00:00"}]},
            "overrides/1/recurrence_id",
            "of every other override",
        ),
        (
            {"exdates": ["2026-12-08T14:00:00"], "overrides": [{"recurrence_id": "2026-12-08T14:00:00"}]},
            "overrides/0/recurrence_id",
            "not excluded",
        ),
        (
            {"overrides": [{"recurrence_id": "2026-12-08T14:00:00", "end": "2026-12-08T14:00:00"}]},
            "overrides/0/end",
            "must be later than start",
        ),
        ({"rrule": "FREQ=WEEKLY;COUNT=1", "exdates": ["2026-12-01T14:00:00"]}, "exdates", "must leave an instance"),
        ({"rrule": None, "exdates": ["2026-12-01T14:00:00"]}, "exdates", "must be absent without a recurrence"),
        ({"recurrence_id": "2026-12-08T14:00:00", "uid": "x"}, "recurrence_id", "must be absent beside a recurrence"),
        ({"recurrence": {"frequency": "daily", "until": "late"}, "rrule": None}, "recurrence/until", "got 'late'"),
        ({"recurrence": {"frequency": "weekly", "by_day": ["1MO"]}, "rrule": None}, "recurrence", "an ordinal"),
    ],
)
def test_an_instance_that_is_none_fails_the_job_with_the_reason(
    changes: dict[str, Any], pointer: str, said: str
) -> None:
    errors = refused(weekly(**changes))

    assert list(errors) == [f"#/events/0/{pointer}"]
    assert said in errors[f"#/events/0/{pointer}"]


def test_what_is_wrong_inside_an_override_is_named_there() -> None:
    alarm = {"action": "email"}
    guest = {**LEE, "status": "completed"}
    bad = {"summary": "\x00", "url": "javascript:x", "alarms": [alarm], "attendees": [guest, LEE]}

    errors = refused(weekly(overrides=[{"recurrence_id": "2026-12-08T14:00:00", **bad}]), method="none")

    expected = ("summary", "url", "alarms/0/to", "attendees/0/status", "attendees/1/email")
    assert set(errors) == {f"#/events/0/overrides/0/{each}" for each in expected}


def test_both_a_recurrence_and_its_text_are_one_too_many() -> None:
    errors = refused(weekly(recurrence={"frequency": "daily"}))

    assert errors == {"#/events/0": "one of recurrence and rrule is expected, got both"}


def test_instances_too_far_from_too_many_starts_are_not_looked_for() -> None:
    far = weekly(start="1900-01-02T14:00:00", end=None, rrule="FREQ=DAILY;COUNT=10000", exdates=["2999-01-01T14:00:00"])
    errors = refused(*[far] * 10)

    assert "2000000 days" in errors["#"]


@given(text=st.text(alphabet="FREQ=DAILYWKMONTH;BYUS,0123-+\n ", max_size=60))
def test_any_text_of_a_rule_is_taken_or_refused_and_never_a_bug(text: str) -> None:
    with suppress(ValueError):
        rrule.recurrence(CalendarEntry(summary="x", start="x", rrule=text))


def test_a_rule_of_parts_has_no_text() -> None:
    assert rrule.recurrence(CalendarEntry(summary="x", start="x")) is None
    parts = Recurrence(frequency="daily")
    assert rrule.recurrence(CalendarEntry(summary="x", start="x", recurrence=parts)) is parts


def test_the_same_series_gives_the_same_bytes() -> None:
    assert made(weekly()) == made(weekly())
