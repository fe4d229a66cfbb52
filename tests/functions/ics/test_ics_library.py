"""What the icalendar library gets wrong, and is put right around it: each test fails with the bare library's value."""

from typing import Any

import icalendar
import pytest

from tests.support.calendar_bytes import calendar
from tests.support.calendar_jobs import ANNA, LEE, content, entry, lines_of, todo
from tests.support.calendar_panel import READERS, restrictions, seen_by_all


def test_a_backslash_before_a_capital_n_is_no_line_break() -> None:
    path = r"C:\New\\Notes\n"
    file = content(entry(summary=path, end="2026-12-01T15:00:00", categories=[path, "b"]))

    for name in ("libical", "ical", "vobject"):  # `ics` reads the end of an escaped backslash as an escape
        assert [each.summary for each in READERS[name](file)] == [path], name
    assert lines_of(file)["CATEGORIES"].value == r"C:\\New\\\\Notes\\n,b"


@pytest.mark.parametrize("given", ["one\r\ntwo", "one\rtwo", "one\ntwo", "one\u2028two", "one\u2029two"])
def test_every_line_break_of_a_text_is_one_line_break(given: str) -> None:
    file = content(entry(summary=given, end="2026-12-01T15:00:00", location=given, geo={"latitude": 1, "longitude": 2}))

    assert [each.summary for each in seen_by_all(file)] == ["one\ntwo"]
    assert lines_of(file)["X-APPLE-STRUCTURED-LOCATION"].parameters["X-TITLE"] == "one\ntwo"


def test_two_carriage_returns_are_two_line_breaks() -> None:
    given = "a\r\rb\r\n\nc\r\u2028d"

    assert lines_of(content(entry(description=given)))["DESCRIPTION"].value == r"a\n\nb\n\nc\n\nd"


@pytest.mark.parametrize(
    ("alarm", "trigger"),
    [
        ({"minutes_before": 1_440}, "-PT1440M"),
        ({"minutes_after": 10_080}, "PT10080M"),
        ({"minutes_before": 90}, "-PT90M"),
        ({"minutes_before": 0}, "PT0S"),
    ],
)
def test_a_day_before_is_so_many_minutes_and_no_day_of_the_calendar(alarm: dict[str, Any], trigger: str) -> None:
    file = content(entry(alarms=[{**alarm, "repeat": 1, "repeat_minutes": 1_440}]))

    assert lines_of(file, "VALARM")["TRIGGER"].value == trigger
    assert lines_of(file, "VALARM")["DURATION"].value == "PT1440M"
    assert restrictions(file) == []


def test_a_place_close_to_the_equator_has_no_exponent() -> None:
    assert lines_of(content(entry(geo={"latitude": 0.00001, "longitude": -0.0000001})))["GEO"].value == (
        "0.000010;-0.000000"
    )


@pytest.mark.parametrize("zone", ["GMT", "Etc/GMT", "Africa/Abidjan", "Europe/Berlin", "Europe/Stockholm"])
def test_a_zone_keeps_its_own_name_and_has_its_vtimezone(zone: str) -> None:
    file = content(entry(timezone=zone, end="2026-12-01T15:00:00", exdates=["2026-12-02T14:00:00"], rrule="FREQ=DAILY"))

    assert {lines_of(file)[name].parameters["TZID"] for name in ("DTSTART", "DTEND", "EXDATE")} == {zone}
    assert lines_of(file, "VTIMEZONE")["TZID"].value == zone
    assert len(seen_by_all(file)) == 1


def test_the_status_of_a_reply_has_its_semicolon() -> None:
    answer = todo(uid="pay@shop.example", organizer=ANNA, attendees=[{**LEE, "status": "accepted"}])
    file = content(todos=[answer], method="reply")

    assert lines_of(file, "VTODO")["REQUEST-STATUS"].value == "2.0;Success"
    assert restrictions(file) == []


def test_the_library_reads_its_own_file_without_errors_and_in_our_order() -> None:
    file = content(entry(description="d", organizer=ANNA, rrule="FREQ=WEEKLY;COUNT=3;BYDAY=TU"), method="publish")

    (event,) = icalendar.Calendar.from_ical(file).events
    assert event.errors == []
    names = [each.name for each in calendar(file).inner[-1].lines]
    assert names[:5] == ["UID", "DTSTAMP", "SEQUENCE", "DTSTART", "RRULE"]
