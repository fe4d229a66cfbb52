"""What clients are known to refuse or skip is said in the outcome, and nothing of what they take."""

import json
from typing import Any

import pytest

from tests.support.calendar_jobs import ANNA, content, entry, made, todo
from tests.support.calendar_panel import seen_by_all

OUTLOOK_TAKES = [  # the examples of MS-OXCICAL 2.1.3.2.2.1 to 2.1.3.2.2.6, and the same said otherwise
    ("2026-12-01", "FREQ=DAILY;INTERVAL=3;COUNT=10"),
    ("2026-12-01", "FREQ=WEEKLY;BYDAY=TU,FR;INTERVAL=2;WKST=SU"),
    ("2026-12-01", "FREQ=WEEKLY;COUNT=999"),
    ("2026-12-10", "FREQ=MONTHLY;BYMONTHDAY=10"),
    ("2026-12-31", "FREQ=MONTHLY;BYMONTHDAY=-1"),
    ("2026-12-20", "FREQ=MONTHLY;BYDAY=SU;BYSETPOS=3"),
    ("2026-12-31", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"),
    ("2026-12-08", "FREQ=MONTHLY;BYDAY=2TU"),
    ("2026-12-01", "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=1"),
    ("2026-12-01", "FREQ=YEARLY"),
    ("2026-12-29", "FREQ=YEARLY;BYDAY=-1TU;BYMONTH=12"),
]
OUTLOOK_SKIPS = [
    ("2026-12-08", "FREQ=MONTHLY;BYDAY=2TU,4TU;COUNT=6", "several nth weekdays"),
    ("2026-12-04", "FREQ=MONTHLY;BYDAY=1FR,-1FR", "several nth weekdays"),
    ("2026-12-29", "FREQ=MONTHLY;BYDAY=5TU", "none of the first four"),
    ("2026-12-24", "FREQ=MONTHLY;BYDAY=-2TH", "none of the first four"),
    ("2026-12-01", "FREQ=MONTHLY;BYDAY=TU", "every such weekday"),
    ("2026-12-01", "FREQ=MONTHLY;BYDAY=TU;BYSETPOS=1,3", "several places"),
    ("2026-12-30", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "a place that is none"),
    ("2026-12-01", "FREQ=WEEKLY;BYDAY=TU,TH;BYSETPOS=1", "other than weekdays of a month"),
    ("2026-12-01", "FREQ=MONTHLY;BYMONTHDAY=1,15", "several days of the month"),
    ("2026-12-30", "FREQ=MONTHLY;BYMONTHDAY=-2", "counted from the month's end"),
    ("2026-11-13", "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "weekdays together with days"),
    ("2026-12-01", "FREQ=YEARLY;BYMONTH=6,12;BYMONTHDAY=1", "several months"),
    ("2026-12-01", "FREQ=YEARLY;BYMONTHDAY=1", "a day of every month"),
    ("2026-12-01", "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR", "by_day in a daily rule"),
    ("2026-12-01", "FREQ=DAILY;BYMONTHDAY=1,2", "by_month_day in a daily rule"),
    ("2026-12-01", "FREQ=WEEKLY;BYMONTH=12", "by_month in a weekly rule"),
    ("2027-04-10", "FREQ=YEARLY;BYYEARDAY=100", "by_year_day"),
    ("2027-05-17", "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "by_week_number"),
    ("2027-05-17", "FREQ=YEARLY;BYDAY=20MO", "a weekday of the whole year"),
    ("2026-12-01", "FREQ=DAILY;COUNT=1000", "more than 999 instances"),
    ("2026-12-01", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;UNTIL=20420808", "more than 999 instances"),
    ("2026-12-01", "FREQ=DAILY;UNTIL=20291201", "more than 999 instances"),
]


def warnings(**changes: Any) -> list[str]:
    return list(made(entry(**changes)).warnings)


@pytest.mark.parametrize(("start", "rrule"), OUTLOOK_TAKES)
def test_a_rule_that_outlook_takes_has_no_warning(start: str, rrule: str) -> None:
    assert warnings(start=start, timezone=None, rrule=rrule) == []


@pytest.mark.parametrize(("start", "rrule", "said"), OUTLOOK_SKIPS)
def test_a_rule_that_outlook_skips_is_written_with_a_warning(start: str, rrule: str, said: str) -> None:
    (warning,) = warnings(start=start, timezone=None, rrule=rrule)

    assert warning.startswith("#/events/0/rrule: Outlook skips the series, since it has ")
    assert said in warning
    assert len(seen_by_all(content(entry(start=start, timezone=None, rrule=rrule)))) == 1


def test_a_rule_in_parts_is_warned_of_at_its_own_field() -> None:
    parts = {"frequency": "monthly", "by_day": ["2TU", "4TU"]}

    (warning,) = warnings(start="2026-12-08T14:00:00", recurrence=parts)
    assert warning.startswith("#/events/0/recurrence: Outlook")


@pytest.mark.parametrize(
    ("start", "end", "rrule", "warned"),
    [
        ("2026-12-01", "2026-12-02", "FREQ=DAILY", False),
        ("2026-12-01", "2026-12-03", "FREQ=DAILY", True),
        ("2026-12-01", "2026-12-03", "FREQ=DAILY;INTERVAL=2", False),
        ("2026-12-01T14:00:00", "2026-12-02T14:00:00", "FREQ=DAILY", False),
        ("2026-12-01T14:00:00", "2026-12-02T14:00:01", "FREQ=DAILY", True),
        ("2026-12-01T14:00:00", "2026-12-09T14:00:00", "FREQ=WEEKLY", True),
        ("2026-12-01", "2026-12-04", "FREQ=WEEKLY;BYDAY=TU,TH", True),
        ("2026-12-01", "2026-12-03", "FREQ=WEEKLY;BYDAY=TU,TH", False),
        ("2026-12-01", "2027-01-05", "FREQ=MONTHLY", True),
        ("2026-12-01", "2028-01-01", "FREQ=YEARLY", True),
        ("2026-12-01", "2027-12-01", "FREQ=YEARLY", False),
        ("2026-12-01", "2026-12-20", "FREQ=DAILY;COUNT=1", False),
    ],
)
def test_an_event_that_lasts_into_its_next_instance_is_warned_of(
    start: str, end: str, rrule: str, *, warned: bool
) -> None:
    found = warnings(start=start, end=end, timezone=None, rrule=rrule)

    assert [each.startswith("#/events/0/end: Outlook takes no event that lasts into") for each in found] == [
        True
    ] * warned


@pytest.mark.parametrize(
    ("start", "warned"),
    [
        ("2026-12-09T14:00:00", False),
        ("2026-12-14T14:00:00", False),
        ("2026-12-15T10:00:00", True),
        ("2026-12-20T14:00:00", True),
        ("2026-12-01T18:00:00", True),
        ("2026-12-02T18:00:00", False),
    ],
)
def test_an_instance_that_is_moved_to_or_past_another_is_warned_of(start: str, *, warned: bool) -> None:
    moved = [{"recurrence_id": "2026-12-08T14:00:00", "start": start}]

    found = warnings(rrule="FREQ=WEEKLY", overrides=moved)
    assert [each.split(":")[0] for each in found] == ["#/events/0/overrides/0"] * warned


def test_added_instances_are_warned_of() -> None:
    alone = warnings(rdates=["2026-12-03T14:00:00"])
    beside = warnings(rrule="FREQ=WEEKLY;COUNT=3", rdates=["2026-12-03T14:00:00"])
    after = warnings(rrule="FREQ=WEEKLY;UNTIL=20261215T140000", rdates=["2026-12-31T14:00:00"])

    assert [each.split(" ")[1:3] for each in alone] == [["Outlook", "skips"]]
    assert [each.split(" ")[1:3] for each in beside] == [["Outlook", "leaves"]]
    assert [each.split(" ")[1] for each in after] == ["Outlook", "Google"]


def test_more_guests_than_google_takes_and_to_dos_are_warned_of_once() -> None:
    guests = [{"email": f"{index}@client.example"} for index in range(201)]

    invited = made(entry(organizer=ANNA, attendees=guests), method="request")
    tasks = made(todos=[todo(), todo(summary="Send")])

    assert [each.split(":")[0] for each in invited.warnings] == ["#/events/0/attendees"]
    assert tasks.warnings == ("#/todos: Google Calendar shows no to-dos",)


def test_a_job_has_a_hundred_warnings_at_most() -> None:
    many = [entry(key=str(index), rrule="FREQ=MONTHLY;BYDAY=1TU,3TU") for index in range(150)]

    assert len(made(*many).warnings) == 100
    assert json.dumps(made(*many).warnings).isascii()
