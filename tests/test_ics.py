"""Calendar files: from the event to the bytes.

The witness is a strict reader of our own, of bytes. icalendar, which writes the files, has to read them back as well.
"""

import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import icalendar
import msgspec
import pytest
from flask.testing import FlaskClient
from functions_framework import create_app
from hypothesis import given
from hypothesis import strategies as st

from events.http import STRUCTURED
from events.problem import JobFailed
from events.types import IcsRequested
from functions.ics.calendar_file import CalendarFile, render
from functions.ics.time_zone import vtimezone

ROOT = Path(__file__).parents[1]
SAMPLE = json.loads((ROOT / "events/samples/dev.errands.ics.requested.v1.json").read_text())
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
PARAMETER = r';([A-Z-]+)=("[^"]*"|[^";:,]*)'
CONTENT_LINE = re.compile(rf"([A-Z-]+)((?:{PARAMETER})*):(.*)")


@dataclass(frozen=True)
class Line:
    """One unfolded content line, and the component that it stands in."""

    component: str
    name: str
    parameters: dict[str, str]
    value: str

    @property
    def text(self) -> str:
        """The value of a TEXT property, which has no bare comma, semicolon or backslash."""
        assert re.fullmatch(r"(?:[^\\,;]|\\[\\,;nN])*", self.value), self.value
        return re.sub(r"\\(.)", lambda found: "\n" if found[1] in "nN" else found[1], self.value)


def read_lines(content: bytes) -> list[Line]:
    """Read a file strictly, and check what no library does: line ends, line lengths, controls, DTSTAMP, TZIDs."""
    assert content.endswith(b"END:VCALENDAR\r\n")
    physical = content.split(b"\r\n")
    assert max(len(each) for each in physical) <= 75
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]", content.replace(b"\r\n", b"").decode())
    for each in physical:
        each.decode()  # no line ends inside a character
    stack, lines = ["-"], []
    for unfolded in content.decode().replace("\r\n ", "").split("\r\n")[:-1]:
        parts = CONTENT_LINE.fullmatch(unfolded)
        assert parts, unfolded
        name, value = parts[1], parts[5]
        parameters = {key: _parameter_value(raw) for key, raw in re.findall(PARAMETER, parts[2])}
        if name == "BEGIN":
            stack.append(value)
        elif name == "END":
            assert stack.pop() == value
        else:
            lines.append(Line(stack[-1], name, parameters, value))
    assert all(re.fullmatch(r"\d{8}T\d{6}Z", each.value) for each in lines if each.name == "DTSTAMP")
    used = {each.parameters["TZID"] for each in lines if "TZID" in each.parameters}
    assert used == {each.value for each in lines if each.component == "VTIMEZONE"}
    return lines


def _parameter_value(raw: str) -> str:
    return re.sub(r"\^(.)", lambda found: {"n": "\n", "'": '"', "^": "^"}[found[1]], raw.strip('"'))


def made(*entries: dict[str, Any], now: datetime = NOW, namespace: str = "a job", **job: Any) -> CalendarFile:
    data = msgspec.convert({"events": entries, **job}, IcsRequested)
    return render(data, namespace=namespace, now=now)


def entry(**changes: Any) -> dict[str, Any]:
    """A small event to publish; a change to None leaves the field out."""
    small = {"summary": "Fair", "start": "2026-12-01T14:00:00", "timezone": "Europe/Warsaw", **changes}
    return {name: value for name, value in small.items() if value is not None}


def invitation(**changes: Any) -> dict[str, Any]:
    """The sample's event; a change to None leaves the field out."""
    changed = {**SAMPLE["data"]["events"][0], **changes}
    return {name: value for name, value in changed.items() if value is not None}


def lines_of(file: CalendarFile, component: str = "VEVENT") -> dict[str, Line]:
    """The lines of the only component of its name that matter by themselves; of repeated ones the last."""
    return {each.name: each for each in read_lines(file.content) if each.component == component}


def read_with_icalendar(file: CalendarFile) -> icalendar.Event:
    """The only event of a file, as the library that wrote it sees it."""
    *_, event = icalendar.Calendar.from_ical(file.content).subcomponents
    assert isinstance(event, icalendar.Event)
    return event


def instant(file: CalendarFile, name: str) -> datetime:
    """The UTC of a local time of the only event, by nothing but the file's own VTIMEZONE; of two, the first."""
    local = datetime.strptime(f"{lines_of(file)[name].value}Z", "%Y%m%dT%H%M%S%z")
    onsets = [*_onsets(file.content.decode()), (datetime.max.replace(tzinfo=UTC), timedelta())]
    return min(local - to for (begin, to), (end, _) in pairwise(onsets) if begin <= local - to < end)


def refused(*entries: dict[str, Any], **job: Any) -> dict[str, str]:
    """What each pointer of the failed job says."""
    with pytest.raises(JobFailed) as caught:
        made(*entries, **job)
    assert caught.value.kind == "invalid-data"
    pointers = [each.pointer for each in caught.value.errors]
    assert len(pointers) == len(set(pointers))
    json.dumps([each.detail for each in caught.value.errors]).encode()
    return {each.pointer: each.detail for each in caught.value.errors}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setenv("STORE_URL", tmp_path.as_uri())
    monkeypatch.delenv("STORE_PUBLIC_URL", raising=False)
    app = create_app("handle", str(ROOT / "functions/ics/main.py"))  # type: ignore[no-untyped-call]  # untyped library
    client = app.test_client()
    assert isinstance(client, FlaskClient)
    return client


def post(client: FlaskClient, event: dict[str, Any]) -> tuple[dict[str, str], Any]:
    """Deliver an event in structured mode; the attributes of the answer and its data."""
    response = client.post("/", data=json.dumps(event), content_type=STRUCTURED)
    assert response.status_code == 200, response.data
    headers = {name.lower(): unquote(value) for name, value in response.headers}
    attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    return attributes, json.loads(response.data)


# --- the function


def test_the_sample_is_answered_with_the_calendar_inline_and_in_the_store(client: FlaskClient) -> None:
    attributes, data = post(client, SAMPLE)

    assert attributes["type"] == "dev.errands.ics.completed.v1"
    assert (attributes["outcome"], attributes["correlationid"]) == ("completed", SAMPLE["id"])
    assert data["uids"] == ["kickoff-1042@shop.example"]
    (artifact,) = data["artifacts"]
    assert artifact["name"] == "kickoff.ics"
    assert artifact["media_type"] == "text/calendar; charset=utf-8; method=REQUEST"
    stored = Path(unquote(urlsplit(artifact["url"]).path)).read_bytes()
    assert stored == data["content"].encode()
    assert len(stored) == artifact["size_bytes"]
    assert "DTSTAMP" in {each.name for each in read_lines(stored)}


def test_a_second_delivery_gives_the_same_reply_and_one_file(client: FlaskClient, tmp_path: Path) -> None:
    first = post(client, SAMPLE)
    second = post(client, SAMPLE)

    assert first == second
    assert len(list(tmp_path.rglob("*.ics"))) == 1


def test_a_job_that_lost_its_recorded_reply_gives_the_same_bytes(client: FlaskClient, tmp_path: Path) -> None:
    _, first = post(client, SAMPLE)
    for recorded in tmp_path.rglob("reply-*.json"):
        recorded.unlink()
    _, second = post(client, SAMPLE)

    assert first == second


def test_a_large_calendar_is_in_the_store_only(client: FlaskClient) -> None:
    large = {"events": [entry(description="ż" * 40_000)]}
    _, data = post(client, {**SAMPLE, "data": large})

    assert "content" not in data
    assert data["artifacts"][0]["size_bytes"] > 65_536


def test_a_bad_payload_fails_the_job_and_is_never_a_4xx(client: FlaskClient) -> None:
    bad = {**SAMPLE["data"], "events": [invitation(timezone="Europe/Warschau")]}
    attributes, problem = post(client, {**SAMPLE, "data": bad})

    assert (attributes["type"], attributes["outcome"]) == ("dev.errands.ics.failed.v1", "failed")
    assert problem["type"] == "https://errands.dev/problems/invalid-data"
    assert [each["pointer"] for each in problem["errors"]] == ["#/events/0/timezone"]
    assert "'Europe/Warschau'" in problem["detail"]


# --- the file


def test_the_sample_has_every_property_of_an_invitation() -> None:
    file = made(invitation(), method="request", sequence=3)

    calendar, event, alarm = (lines_of(file, each) for each in ("VCALENDAR", "VEVENT", "VALARM"))
    assert {name: line.value for name, line in calendar.items()} == {
        "VERSION": "2.0",
        "PRODID": "-//Errands//ics//EN",
        "CALSCALE": "GREGORIAN",
        "METHOD": "REQUEST",
    }
    assert event["UID"].value == "kickoff-1042@shop.example"
    assert (event["SEQUENCE"].value, event["STATUS"].value) == ("3", "CONFIRMED")
    assert event["DTSTAMP"].value == "20261122T093000Z"
    assert (event["DTSTART"].value, event["DTSTART"].parameters) == ("20261201T140000", {"TZID": "Europe/Warsaw"})
    assert (event["DTEND"].value, event["DTEND"].parameters) == ("20261201T153000", {"TZID": "Europe/Warsaw"})
    assert event["SUMMARY"].text == "Project kick-off, Łódź office"
    assert event["LOCATION"].text == "ul. Piotrkowska 1, Łódź"
    assert event["DESCRIPTION"].text == "Agenda:\n1. Goals; scope, budget\n2. Next steps"
    assert event["ORGANIZER"] == Line("VEVENT", "ORGANIZER", {"CN": "Anna Nowak"}, "mailto:anna@shop.example")
    assert {name: line.value for name, line in alarm.items()} == {
        "ACTION": "DISPLAY",
        "TRIGGER": "-PT15M",
        "DESCRIPTION": "Kick-off in 15 minutes",
    }


def test_attendees_have_a_role_a_status_and_a_name_that_may_hold_commas_and_quotes() -> None:
    people = [
        {"email": "lee@client.example", "name": 'Lee, "Kim"; ^n: x'},
        {"email": "room+1@client.example", "role": "optional", "status": "accepted", "rsvp": False},
        {"email": "ann?cc=x&y@client.example", "role": "chair"},
    ]
    file = made(invitation(attendees=people), method="request")

    attendees = [each for each in read_lines(file.content) if each.name == "ATTENDEE"]
    common = {"CUTYPE": "INDIVIDUAL", "PARTSTAT": "NEEDS-ACTION", "RSVP": "TRUE"}
    assert attendees[0].parameters == {**common, "ROLE": "REQ-PARTICIPANT", "CN": 'Lee, "Kim"; ^n: x'}
    assert attendees[1].value == "mailto:room+1@client.example"
    assert attendees[1].parameters == {**common, "ROLE": "OPT-PARTICIPANT", "PARTSTAT": "ACCEPTED", "RSVP": "FALSE"}
    assert attendees[2].value == "mailto:ann%3Fcc%3Dx%26y@client.example"
    assert attendees[2].parameters["ROLE"] == "CHAIR"


def test_the_files_own_zone_and_icalendar_give_the_same_moments() -> None:
    file = made(invitation(), method="request")

    assert instant(file, "DTSTART") == datetime(2026, 12, 1, 13, tzinfo=UTC)
    assert instant(file, "DTEND") == datetime(2026, 12, 1, 14, 30, tzinfo=UTC)
    attendees = [each for each in read_lines(file.content) if each.name == "ATTENDEE"]
    assert [each.parameters.get("CN") for each in attendees] == ["Lee, Kim", None]
    event = read_with_icalendar(file)
    assert event.errors == []
    assert event.start == datetime(2026, 12, 1, 14, tzinfo=ZoneInfo("Europe/Warsaw"))
    assert event.end == datetime(2026, 12, 1, 14, 30, tzinfo=UTC)
    assert [each.params.get("CN") for each in event.attendees] == ["Lee, Kim", None]


def test_a_cancellation_has_the_status_and_no_alarm() -> None:
    file = made(invitation(), method="cancel", sequence=1)

    assert lines_of(file)["STATUS"].value == "CANCELLED"
    assert lines_of(file, "VCALENDAR")["METHOD"].value == "CANCEL"
    assert not lines_of(file, "VALARM")


def test_a_published_event_is_cancelled_without_an_organizer_and_without_attendees() -> None:
    file = made(entry(uid="fair@shop.example"), method="cancel", sequence=1)

    event = lines_of(file)
    assert (event["UID"].value, event["STATUS"].value) == ("fair@shop.example", "CANCELLED")
    assert not {"ORGANIZER", "ATTENDEE"} & set(event)


def test_dates_are_all_day_and_their_end_is_the_day_after_the_last() -> None:
    file = made(entry(start="2026-12-24", end="2026-12-27", timezone=None))

    event = lines_of(file)
    assert (event["DTSTART"].value, event["DTSTART"].parameters) == ("20261224", {"VALUE": "DATE"})
    assert (event["DTEND"].value, event["DTEND"].parameters) == ("20261227", {"VALUE": "DATE"})
    read = read_with_icalendar(file)
    assert (read.start, read.duration) == (date(2026, 12, 24), timedelta(days=3))


@pytest.mark.parametrize("zone", [None, "UTC", "Etc/UTC"])
def test_utc_times_have_a_z_and_no_vtimezone(zone: str | None) -> None:
    z = "" if zone else "Z"
    file = made(entry(start=f"2026-12-01T14:00:00{z}", end=f"2026-12-01T15:00{z}", timezone=zone))

    event = lines_of(file)
    assert (event["DTSTART"].value, event["DTEND"].value) == ("20261201T140000Z", "20261201T150000Z")
    assert event["DTSTART"].parameters == {}
    assert b"VTIMEZONE" not in file.content


def test_a_local_time_without_a_timezone_floats() -> None:
    file = made(entry(timezone=None))

    event = lines_of(file)
    assert (event["DTSTART"].value, event["DTSTART"].parameters) == ("20261201T140000", {})
    assert "DTEND" not in event


def test_an_alarm_at_the_start_is_a_zero_duration_and_shows_the_summary() -> None:
    file = made(entry(alarms=[{"minutes_before": 0}]))

    alarm = lines_of(file, "VALARM")
    assert (alarm["TRIGGER"].value, alarm["DESCRIPTION"].value) == ("PT0S", "Fair")


@pytest.mark.parametrize(("minutes_before", "trigger"), [(90, "-PT90M"), (1_440, "-PT1440M"), (40_320, "-PT40320M")])
def test_an_alarm_is_minutes_before_and_never_calendar_days(minutes_before: int, trigger: str) -> None:
    file = made(entry(alarms=[{"minutes_before": minutes_before}]))

    assert lines_of(file, "VALARM")["TRIGGER"].value == trigger


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example",
        "HTTPS://shop.example/",
        "mailto:anna@shop.example?subject=Fair",
        "tel:+48-42-123-45-67",
        "webcal://shop.example/fair.ics",
        "webcals://shop.example/fair.ics",
    ],
)
def test_an_address_that_a_person_may_open_is_taken(url: str) -> None:
    assert lines_of(made(entry(url=url)))["URL"].value == url


def test_an_address_of_a_page_is_taken_as_it_is() -> None:
    file = made(entry(url="https://shop.example/orders/1,2;3?a=%C5%82&b=1#top"))

    assert lines_of(file)["URL"].value == "https://shop.example/orders/1,2;3?a=%C5%82&b=1#top"


def test_dtstamp_is_utc_whatever_zone_now_has() -> None:
    file = made(entry(), now=datetime(2026, 11, 22, 10, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=1))))

    assert lines_of(file)["DTSTAMP"].value == "20261122T093000Z"


def test_uids_are_given_or_derived_from_the_job_and_the_place() -> None:
    entries = [entry(), entry(uid="mine@shop.example"), entry()]
    first, again, other = made(*entries), made(*entries), made(*entries, namespace="another job")

    assert first == again
    assert first.uids[1] == "mine@shop.example"
    assert len({*first.uids, *other.uids}) == 5
    assert [each.value for each in read_lines(first.content) if each.name == "UID"] == list(first.uids)


def test_long_text_is_folded_between_characters() -> None:
    file = made(entry(summary="ż" * 500, description="😀" * 500, location="a" * 500))

    event = lines_of(file)
    assert event["SUMMARY"].text == "ż" * 500
    assert event["DESCRIPTION"].text == "😀" * 500
    assert event["LOCATION"].text == "a" * 500


@pytest.mark.parametrize("text", [r"C:\New", r"C:\new", r"\\N", "\\\nN", r"a\,b;c", "\\"])
def test_a_backslash_stays_a_backslash(text: str) -> None:
    event = lines_of(made(entry(summary=text, uid=text.replace("\n", "")), namespace=text))

    assert event["SUMMARY"].text == text
    assert event["UID"].text == text.replace("\n", "")


def test_text_that_looks_like_calendar_lines_stays_text() -> None:
    hostile = "x\r\nATTENDEE:mailto:mallory@example.org\nEND:VEVENT\u2028BEGIN:VEVENT"
    file = made(entry(summary=hostile, description=hostile, location=hostile))

    event = lines_of(file)
    assert event["SUMMARY"].text == "x\nATTENDEE:mailto:mallory@example.org\nEND:VEVENT\nBEGIN:VEVENT"
    assert "ATTENDEE" not in event
    assert file.content.count(b"\r\nBEGIN:VEVENT\r\n") == 1


# --- time zones


def test_warsaw_has_its_winter_and_its_summer_time() -> None:
    file = made(entry(), entry(start="2026-07-01T10:00:00"))

    offsets = {
        kind: {name: line.value for name, line in lines_of(file, kind).items()} for kind in ("STANDARD", "DAYLIGHT")
    }
    assert offsets == {
        "STANDARD": {
            "DTSTART": "20251026T030000",
            "RDATE": "20261025T030000",
            "TZOFFSETFROM": "+0200",
            "TZOFFSETTO": "+0100",
            "TZNAME": "CET",
        },
        "DAYLIGHT": {
            "DTSTART": "20250330T020000",
            "RDATE": "20260329T020000",
            "TZOFFSETFROM": "+0100",
            "TZOFFSETTO": "+0200",
            "TZNAME": "CEST",
        },
    }


def test_a_zone_is_described_once_and_every_zone_is_described() -> None:
    file = made(entry(), entry(timezone="Asia/Tokyo"), entry(), entry(timezone="America/New_York"))

    described = [each.value for each in read_lines(file.content) if each.name == "TZID"]
    assert described == ["America/New_York", "Asia/Tokyo", "Europe/Warsaw"]


@pytest.mark.parametrize("zone", ["Atlantic/Reykjavik", "Africa/Abidjan", "GMT", "Etc/GMT+0"])
def test_a_zone_that_is_at_the_offset_of_utc_keeps_its_name(zone: str) -> None:
    event = lines_of(made(entry(timezone=zone)))

    assert (event["DTSTART"].value, event["DTSTART"].parameters) == ("20261201T140000", {"TZID": zone})


@pytest.mark.parametrize(
    "name",
    [
        "Europe/Warsaw",
        "Europe/Dublin",  # its saving is below zero, in winter
        "Africa/Casablanca",  # changes for the month of Ramadan
        "Australia/Lord_Howe",  # by half an hour
        "America/Argentina/Tucuman",  # twice within twelve days of 2004
        "America/Recife",  # twice within a week of 2000
        "Pacific/Apia",  # had no 2011-12-30
        "Asia/Tokyo",
        "Etc/GMT+5",
    ],
)
def test_a_vtimezone_gives_the_offset_of_every_hour_of_its_years(name: str) -> None:
    zone = ZoneInfo(name)
    for year in (1944, 2000, 2004, 2011, 2026, 2060):
        hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=each) for each in range(0, 366 * 24 - 24, 5)]

        onsets = _onsets(vtimezone(zone, hours).to_ical().decode())
        for at in hours:
            offset = [to for onset, to in onsets if onset <= at][-1]
            assert offset == at.astimezone(zone).utcoffset(), at


def _onsets(described: str) -> list[tuple[datetime, timedelta]]:
    """When (UTC) each offset begins, as RFC 5545 3.6.5 says: a local time less TZOFFSETFROM."""
    onsets = []
    unfolded = described.replace("\r\n ", "")
    for observance in re.findall(r"BEGIN:(?:STANDARD|DAYLIGHT)\r\n(.*?)END:", unfolded, re.DOTALL):
        values = dict(line.split(":", 1) for line in observance.split("\r\n")[:-1])
        for local in [values["DTSTART"], *values.get("RDATE", "").split(",")]:
            if local:
                onset = datetime.strptime(f"{local}Z", "%Y%m%dT%H%M%S%z") - _offset(values["TZOFFSETFROM"])
                onsets.append((onset, _offset(values["TZOFFSETTO"])))
    return sorted(onsets)


def _offset(text: str) -> timedelta:
    hours, minutes, seconds = (int(part or "0") for part in (text[1:3], text[3:5], text[5:7]))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds) * (-1 if text[0] == "-" else 1)


def test_a_local_time_that_the_clocks_skip_is_refused_by_name() -> None:
    errors = refused(entry(start="2026-03-29T02:30:00", end="2026-03-29T03:30:00"))

    assert list(errors) == ["#/events/0/start"]
    assert "2026-03-29T02:30:00" in errors["#/events/0/start"]
    assert "Europe/Warsaw" in errors["#/events/0/start"]


def test_a_local_time_that_the_clocks_show_twice_is_the_first() -> None:
    file = made(entry(start="2026-10-25T02:30:00", end="2026-10-25T03:00:00"))

    assert lines_of(file)["DTSTART"].value == "20261025T023000"
    assert instant(file, "DTSTART") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert instant(file, "DTEND") == datetime(2026, 10, 25, 2, tzinfo=UTC)
    start = read_with_icalendar(file).start
    assert isinstance(start, datetime)
    assert start.astimezone(UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"timezone": "Europe/Warschau"}, "timezone", "got 'Europe/Warschau'"),
        ({"timezone": "europe/warsaw"}, "timezone", "IANA"),
        ({"timezone": "Europe"}, "timezone", "IANA"),
        ({"timezone": "../../etc/passwd"}, "timezone", "IANA"),
        ({"timezone": "/etc/localtime"}, "timezone", "IANA"),
        ({"timezone": "posix/Europe/Warsaw"}, "timezone", "IANA"),
        ({"timezone": "Factory"}, "timezone", "IANA"),
        ({"timezone": ""}, "timezone", "IANA"),
        ({"timezone": "Europe/Warsaw\n"}, "timezone", "IANA"),
        ({"start": "2026-12-01T14:00:00Z"}, "timezone", "must be absent beside a UTC time"),
        ({"start": "2026-12-01"}, "timezone", "must be absent beside a date"),
        ({"start": "tomorrow"}, "start", "got 'tomorrow'"),
        ({"start": "2026-02-30T10:00:00"}, "start", "must be a date such as"),
        ({"start": "2026-12-01T25:00:00"}, "start", "must be a date such as"),
        ({"start": "2026-12-01T14:00:00+01:00"}, "start", "got '2026-12-01T14:00:00+01:00'"),
        ({"start": "2026-12-01T14:00:00.5"}, "start", "must be a date such as"),
        ({"start": "2026-12-01 14:00:00"}, "start", "must be a date such as"),
        ({"start": "2026-12-01T14:00:00\n"}, "start", "must be a date such as"),
        ({"start": "\uff12026-12-01T14:00:00"}, "start", "must be a date such as"),
        ({"start": "0001-01-01T00:00:00"}, "start", "1900 to 2999"),
        ({"start": "9999-12-31T23:59:59"}, "start", "1900 to 2999"),
        ({"start": "2026-12-01Z", "timezone": None}, "start", "must be a date such as"),
        ({"end": "later"}, "end", "got 'later'"),
        ({"end": ""}, "end", "got ''"),
        ({"end": "2026-12-02"}, "end", "must be a local time like start"),
        ({"end": "2026-12-01T15:00:00Z"}, "end", "must be a local time like start"),
        ({"end": "2026-12-01T14:00:00"}, "end", "must be later than start (2026-12-01T14:00:00)"),
        ({"end": "2026-12-01T13:00:00"}, "end", "got '2026-12-01T13:00:00'"),
        ({"start": "2026-12-01", "end": "2026-12-01", "timezone": None}, "end", "the day after the last"),
        ({"end": "2027-03-28T02:30:00"}, "end", "2027-03-28T02:30:00"),
        ({"summary": "bell \x07"}, "summary", "U+0007 at character 5"),
        ({"summary": "lone \r return"}, "summary", "U+000D"),
        ({"description": "next\x85line"}, "description", "U+0085"),
        ({"location": "\x7f"}, "location", "U+007F"),
        ({"uid": "a\nb"}, "uid", "U+000A"),
        ({"organizer": {"email": "a\x01@shop.example"}}, "organizer/email", "U+0001"),
        ({"organizer": {"email": "a@shop.example", "name": "A\nB"}}, "organizer/name", "U+000A"),
        ({"alarms": [{}, {"text": "\x00"}]}, "alarms/1/text", "U+0000"),
        ({"url": "shop.example/orders/1"}, "url", "got 'shop.example/orders/1'"),
        ({"url": "https://"}, "url", "must be a URI"),
        ({"url": "https:///path"}, "url", "must be a URI"),
        ({"url": "webcal:fair.ics"}, "url", "must be a URI"),
        ({"url": "javascript:alert(1)"}, "url", "http, https, mailto, tel, webcal or webcals"),
        ({"url": "JavaScript://shop.example/%0Aalert(1)"}, "url", "got 'JavaScript:"),
        ({"url": " javascript:alert(1)"}, "url", "must be a URI"),
        ({"url": "data:text/html,x"}, "url", "webcals"),
        ({"url": "file:///etc/passwd"}, "url", "webcals"),
        ({"url": "http\u017f://shop.example"}, "url", "must be a URI"),
        ({"url": "https://shop.example/a b"}, "url", "must be a URI"),
        ({"url": "https://shop.example/100%"}, "url", "must be a URI"),
        ({"url": "https://shop.example/ł"}, "url", "must be a URI"),
        ({"url": "https://shop.example/\r\nATTENDEE:x"}, "url", "must be a URI"),
        ({"attendees": [{"email": "lee@client.example"}]}, "attendees", "RFC 5546 3.2.1"),
    ],
)
def test_a_bad_field_fails_the_job_with_its_pointer(changes: dict[str, Any], pointer: str, said: str) -> None:
    errors = refused(entry(**changes))

    assert list(errors) == [f"#/events/0/{pointer}"]
    assert said in errors[f"#/events/0/{pointer}"]


def test_a_request_needs_an_organizer_attendees_and_one_event() -> None:
    errors = refused(
        invitation(organizer=None, attendees=None), invitation(uid="other@shop.example", attendees=[]), method="request"
    )

    assert list(errors) == ["#/events", "#/events/0/organizer", "#/events/0/attendees", "#/events/1/attendees"]
    assert "RFC 5546 3.2." in errors["#/events/0/organizer"]


def test_a_cancellation_needs_the_uid_of_what_it_cancels() -> None:
    errors = refused(invitation(uid=None), method="cancel")

    assert list(errors) == ["#/events/0/uid"]


def test_a_cancellation_needs_one_event_and_beside_attendees_an_organizer() -> None:
    errors = refused(invitation(organizer=None), invitation(uid="other@shop.example", attendees=None), method="cancel")

    assert list(errors) == ["#/events", "#/events/0/organizer"]
    assert "RFC 5546 3.2.5" in errors["#/events/0/organizer"]


@pytest.mark.parametrize("method", ["publish", "request", "cancel"])
def test_a_later_sequence_needs_the_uid_of_what_it_changes(method: str) -> None:
    people = {} if method == "publish" else {name: invitation()[name] for name in ("organizer", "attendees")}
    errors = refused(entry(**people), method=method, sequence=2)

    assert list(errors) == ["#/events/0/uid"]
    assert "is required" in errors["#/events/0/uid"]


def test_a_repeated_uid_is_named_at_each_later_event() -> None:
    errors = refused(entry(uid="a"), entry(uid="b"), entry(uid="a"), entry(uid="a"))

    assert list(errors) == ["#/events/2/uid", "#/events/3/uid"]
    assert "'a' of event 0" in errors["#/events/3/uid"]


def test_every_error_of_every_event_is_named() -> None:
    errors = refused(
        entry(timezone="Mars/Olympus", start="soon", end="late", summary="\x00", url="x"),
        entry(),
        entry(start="2026-03-29T02:30:00", end="2026-03-29T01:00:00"),
        entry(attendees=[{"email": "a\x02@b.example", "name": "\x03"}], description="\x04"),
    )

    assert set(errors) == {
        *(f"#/events/0/{each}" for each in ("timezone", "start", "end", "summary", "url")),
        *(f"#/events/2/{each}" for each in ("start", "end")),
        *(f"#/events/3/{each}" for each in ("attendees", "attendees/0/email", "attendees/0/name", "description")),
    }


def test_a_hundred_errors_are_listed_and_a_last_one_counts_the_others() -> None:
    errors = refused(*(entry(url="x") for _ in range(100)))
    more = refused(*(entry(url="x") for _ in range(10_000)))

    assert [*more][:100] == [*errors] == [f"#/events/{index}/url" for index in range(100)]
    assert [*more][100:] == ["#"]
    assert "9900 of 10000" in more["#"]


# --- any text

MOST_TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs"), include_characters="\t\n"), min_size=1, max_size=300)
ANY_TEXT = MOST_TEXT | st.text(min_size=1) | st.text(alphabet='\\nN,;:"^ \r\n\tBEGIN=x\u2028', min_size=1)


@given(summary=ANY_TEXT, description=ANY_TEXT)
def test_any_text_survives_or_is_refused_and_never_adds_a_property(summary: str, description: str) -> None:
    pointers = {
        f"#/events/0/{field}"
        for field, value in (("summary", summary), ("description", description))
        if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)", value)
    }
    if pointers:
        assert set(refused(entry(summary=summary, description=description))) == pointers
        return
    file = made(entry(summary=summary, description=description))

    event = lines_of(file)
    assert event["SUMMARY"].text == _with_plain_breaks(summary)
    assert event["DESCRIPTION"].text == _with_plain_breaks(description)
    expected = Counter(["UID", "DTSTAMP", "SEQUENCE", "STATUS", "DTSTART", "SUMMARY", "DESCRIPTION"])
    assert Counter(each.name for each in read_lines(file.content) if each.component == "VEVENT") == expected
    assert set(read_with_icalendar(file)) == set(expected)


@given(name=MOST_TEXT)
def test_any_name_survives_or_is_refused(name: str) -> None:
    person = {"email": "lee@client.example", "name": name}
    if re.search(r"[\t\n\u2028\u2029]", name):
        assert list(refused(entry(organizer=person))) == ["#/events/0/organizer/name"]
        return
    file = made(entry(organizer=person))

    assert lines_of(file)["ORGANIZER"] == Line("VEVENT", "ORGANIZER", {"CN": name}, "mailto:lee@client.example")


@given(text=st.text(max_size=40), field=st.sampled_from(["start", "end", "timezone"]))
def test_any_start_end_and_timezone_are_taken_or_refused_and_never_a_bug(text: str, field: str) -> None:
    with suppress(JobFailed):
        read_lines(made(entry(**{field: text})).content)


def _with_plain_breaks(text: str) -> str:
    return re.sub("\r\n|[\u2028\u2029]", "\n", text)
