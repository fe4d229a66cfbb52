"""Calendar files: from the event to the bytes.

The failure listener is a strict reader of our own, of bytes (`calendar_bytes.py`); the other readers are in
test_ics_panel.py.
"""

import json
import re
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email import message_from_string
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.http import STRUCTURED
from events.problem import JobFailed
from tests.support.calendar_bytes import Line, calendar
from tests.support.calendar_jobs import ROOT, SAMPLE, content, entry, inner, invitation, lines_of, made, refused
from tests.support.function_client import FunctionClient


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FunctionClient:
    monkeypatch.setenv("STORE_URL", tmp_path.as_uri())
    monkeypatch.delenv("STORE_PUBLIC_URL", raising=False)
    return FunctionClient(ROOT / "functions/ics/main.py")


def post(client: FunctionClient, event: dict[str, Any]) -> tuple[dict[str, str], Any]:
    """Deliver an event in structured mode; the attributes of the answer and its data."""
    response = client.post("/", content=json.dumps(event), headers={"content-type": STRUCTURED})
    assert response.status_code == 200, response.content
    headers = {name.lower(): unquote(value) for name, value in response.headers.items()}
    attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    return attributes, json.loads(response.content)


# --- the function


def test_the_sample_is_answered_with_the_calendar_inline_and_in_the_store(client: FunctionClient) -> None:
    attributes, data = post(client, SAMPLE)

    assert attributes["type"] == "dev.errands.ics.completed.v1"
    assert (attributes["outcome"], attributes["jobid"]) == ("completed", SAMPLE["id"])
    assert data["uids"] == ["kickoff-1042@shop.example"]
    (artifact,) = data["artifacts"]
    assert artifact["name"] == "kickoff.ics"
    assert artifact["media_type"] == "text/calendar; charset=utf-8; method=REQUEST"
    stored = Path(unquote(urlsplit(artifact["url"]).path)).read_bytes()
    assert stored == data["content"].encode()
    assert len(stored) == artifact["size_bytes"]
    assert "DTSTAMP" in lines_of(stored)


def test_a_second_delivery_gives_the_same_reply_and_one_file(client: FunctionClient, tmp_path: Path) -> None:
    first = post(client, SAMPLE)
    second = post(client, SAMPLE)

    assert first == second
    assert len(list(tmp_path.rglob("*.ics"))) == 1


def test_a_job_that_lost_its_recorded_reply_gives_the_same_bytes(client: FunctionClient, tmp_path: Path) -> None:
    _, first = post(client, SAMPLE)
    for recorded in tmp_path.rglob("reply-*.json"):
        recorded.unlink()
    _, second = post(client, SAMPLE)

    assert first == second


def test_a_large_calendar_is_in_the_store_only(client: FunctionClient) -> None:
    large = {"events": [entry(description="ż" * 40_000)]}
    _, data = post(client, {**SAMPLE, "data": large})

    assert "content" not in data
    assert data["artifacts"][0]["size_bytes"] > 65_536


def test_a_bad_payload_fails_the_job_and_is_never_a_4xx(client: FunctionClient) -> None:
    bad = {**SAMPLE["data"], "events": [invitation(timezone="Europe/Warschau")]}
    attributes, problem = post(client, {**SAMPLE, "data": bad})

    assert (attributes["type"], attributes["outcome"]) == ("dev.errands.ics.failed.v1", "failed")
    assert problem["type"] == "https://errands.dev/problems/invalid-data"
    assert [each["pointer"] for each in problem["errors"]] == ["#/events/0/timezone"]
    assert "'Europe/Warschau'" in problem["detail"]


def test_the_function_gives_the_e_mail_part_inline_and_in_the_store(client: FunctionClient) -> None:
    _, data = post(client, {**SAMPLE, "data": {**SAMPLE["data"], "email_part": {}}})

    file, part = data["artifacts"]
    assert (file["name"], part["name"]) == ("kickoff.ics", "kickoff.ics.mime")
    assert part["media_type"].startswith('multipart/alternative; boundary="=_')
    assert part["size_bytes"] == len(data["email_part"])
    assert data["sequences"] == [0]
    assert [each.get_content_type() for each in message_from_string(data["email_part"]).walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/calendar",
    ]


def test_the_function_gives_a_set_of_files(client: FunctionClient) -> None:
    events = [entry(uid="a"), entry(uid="b")]
    _, data = post(client, {**SAMPLE, "data": {"events": events, "separate": True, "method": "none"}})

    assert [each["name"] for each in data["artifacts"]] == ["invite-1.ics", "invite-2.ics"]
    assert {each["media_type"] for each in data["artifacts"]} == {"text/calendar; charset=utf-8"}
    assert "content" not in data
    assert json.dumps(data["uids"]) == '["a", "b"]'


# --- the file


def test_the_sample_has_every_property_of_an_invitation() -> None:
    file = content(invitation(), method="request", sequence=3)

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
    file = content(invitation(attendees=people), method="request")

    (event,) = inner(file)
    attendees = [each for each in event.lines if each.name == "ATTENDEE"]
    common = {"CUTYPE": "INDIVIDUAL", "PARTSTAT": "NEEDS-ACTION", "RSVP": "TRUE"}
    assert attendees[0].parameters == {**common, "ROLE": "REQ-PARTICIPANT", "CN": 'Lee, "Kim"; ^n: x'}
    assert attendees[1].value == "mailto:room+1@client.example"
    assert attendees[1].parameters == {**common, "ROLE": "OPT-PARTICIPANT", "PARTSTAT": "ACCEPTED", "RSVP": "FALSE"}
    assert attendees[2].value == "mailto:ann%3Fcc%3Dx%26y@client.example"
    assert attendees[2].parameters["ROLE"] == "CHAIR"


def test_a_cancellation_has_the_status_and_no_alarm() -> None:
    file = content(invitation(), method="cancel", sequence=1)

    assert lines_of(file)["STATUS"].value == "CANCELLED"
    assert lines_of(file, "VCALENDAR")["METHOD"].value == "CANCEL"
    assert not lines_of(file, "VALARM")


def test_a_published_event_is_cancelled_without_an_organizer_and_without_attendees() -> None:
    file = content(entry(uid="fair@shop.example"), method="cancel", sequence=1)

    event = lines_of(file)
    assert (event["UID"].value, event["STATUS"].value) == ("fair@shop.example", "CANCELLED")
    assert not {"ORGANIZER", "ATTENDEE"} & set(event)


def test_dates_are_all_day_and_their_end_is_the_day_after_the_last() -> None:
    file = content(entry(start="2026-12-24", end="2026-12-27", timezone=None))

    event = lines_of(file)
    assert (event["DTSTART"].value, event["DTSTART"].parameters) == ("20261224", {"VALUE": "DATE"})
    assert (event["DTEND"].value, event["DTEND"].parameters) == ("20261227", {"VALUE": "DATE"})


@pytest.mark.parametrize("zone", [None, "UTC", "Etc/UTC"])
def test_utc_times_have_a_z_and_no_vtimezone(zone: str | None) -> None:
    z = "" if zone else "Z"
    file = content(entry(start=f"2026-12-01T14:00:00{z}", end=f"2026-12-01T15:00{z}", timezone=zone))

    event = lines_of(file)
    assert (event["DTSTART"].value, event["DTEND"].value) == ("20261201T140000Z", "20261201T150000Z")
    assert event["DTSTART"].parameters == {}
    assert b"VTIMEZONE" not in file


def test_a_local_time_without_a_timezone_floats() -> None:
    file = content(entry(timezone=None))

    event = lines_of(file)
    assert (event["DTSTART"].value, event["DTSTART"].parameters) == ("20261201T140000", {})
    assert "DTEND" not in event


def test_an_alarm_at_the_start_is_a_zero_duration_and_shows_the_summary() -> None:
    file = content(entry(alarms=[{"minutes_before": 0}]))

    alarm = lines_of(file, "VALARM")
    assert (alarm["TRIGGER"].value, alarm["DESCRIPTION"].value) == ("PT0S", "Fair")


@pytest.mark.parametrize(("minutes_before", "trigger"), [(90, "-PT90M"), (1_440, "-PT1440M"), (40_320, "-PT40320M")])
def test_an_alarm_is_minutes_before_and_never_calendar_days(minutes_before: int, trigger: str) -> None:
    file = content(entry(alarms=[{"minutes_before": minutes_before}]))

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
    assert lines_of(content(entry(url=url)))["URL"].value == url


def test_an_address_of_a_page_is_taken_as_it_is() -> None:
    file = content(entry(url="https://shop.example/orders/1,2;3?a=%C5%82&b=1#top"))

    assert lines_of(file)["URL"].value == "https://shop.example/orders/1,2;3?a=%C5%82&b=1#top"


def test_dtstamp_is_utc_whatever_zone_now_has() -> None:
    file = content(entry(), now=datetime(2026, 11, 22, 10, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=1))))

    assert lines_of(file)["DTSTAMP"].value == "20261122T093000Z"


def test_uids_are_given_or_derived_from_the_job_and_the_place() -> None:
    entries = [entry(), entry(uid="mine@shop.example"), entry()]
    first, again, other = made(*entries), made(*entries), made(*entries, namespace="another job")

    assert first == again
    assert first.uids[1] == "mine@shop.example"
    assert len({*first.uids, *other.uids}) == 5
    assert [each.value("UID") for each in inner(first.files[0].content)] == list(first.uids)


def test_long_text_is_folded_between_characters() -> None:
    file = content(entry(summary="ż" * 500, description="😀" * 500, location="a" * 500))

    event = lines_of(file)
    assert event["SUMMARY"].text == "ż" * 500
    assert event["DESCRIPTION"].text == "😀" * 500
    assert event["LOCATION"].text == "a" * 500


@pytest.mark.parametrize("text", [r"C:\New", r"C:\new", r"\\N", "\\\nN", r"a\,b;c", "\\"])
def test_a_backslash_stays_a_backslash(text: str) -> None:
    event = lines_of(content(entry(summary=text, uid=text.replace("\n", "")), namespace=text))

    assert event["SUMMARY"].text == text
    assert event["UID"].text == text.replace("\n", "")


def test_text_that_looks_like_calendar_lines_stays_text() -> None:
    hostile = "x\r\nATTENDEE:mailto:mallory@example.org\nEND:VEVENT\u2028BEGIN:VEVENT"
    file = content(entry(summary=hostile, description=hostile, location=hostile))

    event = lines_of(file)
    assert event["SUMMARY"].text == "x\nATTENDEE:mailto:mallory@example.org\nEND:VEVENT\nBEGIN:VEVENT"
    assert "ATTENDEE" not in event
    assert file.count(b"\r\nBEGIN:VEVENT\r\n") == 1


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
        ({"url": "javascript:alert(1)"}, "url", "http, https, mailto, sip, sips, tel, webcal, webcals or xmpp"),
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
    assert "'a' of #/events/0" in errors["#/events/3/uid"]


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


@pytest.mark.slow
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
        if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", value)
    }
    if pointers:
        assert set(refused(entry(summary=summary, description=description))) == pointers
        return
    file = content(entry(summary=summary, description=description))

    event = lines_of(file)
    assert event["SUMMARY"].text == _with_plain_breaks(summary)
    assert event["DESCRIPTION"].text == _with_plain_breaks(description)
    expected = Counter(["UID", "DTSTAMP", "SEQUENCE", "STATUS", "DTSTART", "SUMMARY", "DESCRIPTION"])
    (event_,) = inner(file)
    assert Counter(each.name for each in event_.lines) == expected


@given(name=MOST_TEXT)
def test_any_name_survives_or_is_refused(name: str) -> None:
    person = {"email": "lee@client.example", "name": name}
    if re.search(r"[\t\n\u2028\u2029]", name):
        assert list(refused(entry(organizer=person))) == ["#/events/0/organizer/name"]
        return
    file = content(entry(organizer=person))

    assert lines_of(file)["ORGANIZER"] == Line("VEVENT", "ORGANIZER", {"CN": name}, "mailto:lee@client.example")


@given(text=st.text(max_size=40), field=st.sampled_from(["start", "end", "timezone"]))
def test_any_start_end_and_timezone_are_taken_or_refused_and_never_a_bug(text: str, field: str) -> None:
    with suppress(JobFailed):
        calendar(content(entry(**{field: text})))


def _with_plain_breaks(text: str) -> str:
    return re.sub("\r\n|[\r\u2028\u2029]", "\n", text)
