"""Messages about calendars (RFC 5546), and what items hold beside their times; feeds, and parts of e-mails."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.problem import JobFailed
from functions.ics import calendar_file
from tests.support.calendar_bytes import Line, defects
from tests.support.calendar_jobs import ANNA, LEE, busy, content, entry, inner, invitation, lines_of, made, refused
from tests.support.calendar_jobs import todo as a_todo

RESPONSE, DONE = {**LEE, "status": "accepted"}, {**LEE, "status": "completed"}
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
BREAK = re.compile(r"[\t\n\r\u2028\u2029]")
TWICE = {"email": "LEE@client.example"}


# --- methods


@pytest.mark.parametrize(
    ("job", "pointers"),
    [
        ({"method": "reply", "events": [invitation(uid=None, attendees=[LEE])]}, ["uid", "attendees/0/status"]),
        ({"method": "reply", "events": [invitation(organizer=None)]}, ["organizer", "attendees"]),
        ({"method": "reply", "events": [invitation(attendees=[RESPONSE, ANNA])]}, ["attendees"]),
        ({"method": "counter", "events": [invitation(uid=None, organizer=None)]}, ["organizer", "uid"]),
        ({"method": "counter", "events": [invitation(attendees=None)]}, ["attendees"]),
        ({"method": "request", "events": [invitation(status="cancelled")]}, ["status"]),
        ({"method": "request", "todos": [a_todo()]}, ["organizer", "attendees"]),
        ({"method": "request", "todos": [a_todo(start=None, organizer=ANNA, attendees=[LEE])]}, ["start"]),
        ({"todos": [a_todo(attendees=[LEE])]}, ["attendees"]),
        ({"todos": [{"summary": "Pay", "due": "2026-12-01"}]}, ["start"]),
        ({"free_busy": [busy(organizer=None)]}, ["organizer"]),
        ({"free_busy": [busy(periods=[])]}, ["periods"]),
        ({"method": "request", "free_busy": [busy(attendees=[LEE])]}, ["periods"]),
        ({"method": "cancel", "free_busy": [busy()]}, [""]),
        ({"method": "none", "events": [invitation(attendees=[LEE, TWICE])]}, ["attendees/1/email"]),
        ({"method": "none", "events": [invitation(attendees=[DONE])]}, ["attendees/0/status"]),
    ],
)  # fmt: skip
def test_what_a_method_requires_and_forbids_is_named(job: dict[str, Any], pointers: list[str]) -> None:
    (kind,) = {"events", "todos", "free_busy"} & set(job)

    errors = refused(**job)

    assert set(errors) == {f"#/{kind}/0/{each}".rstrip("/") for each in pointers}
    assert all("method" in each or "must" in each for each in errors.values())


def test_a_message_holds_items_of_one_kind_and_a_file_that_is_none_any() -> None:
    job: dict[str, Any] = {"events": [entry()], "todos": [a_todo()]}

    assert list(refused(**job)) == ["#/todos"]
    file = content(method="none", **job)
    assert "METHOD" not in lines_of(file, "VCALENDAR")
    assert (len(inner(file)), len(inner(file, "VTODO"))) == (1, 1)


def test_a_reply_asks_for_nothing_and_rings_nothing() -> None:
    file = content(invitation(attendees=[RESPONSE]), method="reply")

    attendee = lines_of(file)["ATTENDEE"]
    assert (attendee.parameters["PARTSTAT"], attendee.parameters.get("RSVP")) == ("ACCEPTED", None)
    assert inner(file, "VALARM") == []


def test_separate_makes_a_file_of_each() -> None:
    files = made(
        invitation(), invitation(uid="other@shop.example"), method="request", separate=True, name="fair.ics"
    ).files

    assert [each.name for each in files] == ["fair-1.ics", "fair-2.ics"]
    assert [lines_of(each.content)["UID"].value for each in files] == [
        "kickoff-1042@shop.example",
        "other@shop.example",
    ]
    assert list(refused(entry(), separate=True, feed={"name": "Fairs"})) == ["#/feed"]
    assert list(refused(*[entry()] * 101, separate=True)) == ["#"]


# --- people


def test_delegation_membership_and_deputies_are_addresses_in_quotes() -> None:
    person = {
        **LEE,
        "type": "group",
        "status": "delegated",
        "delegated_to": ["sam@client.example", "kim@client.example"],
        "delegated_from": ["anna@shop.example"],
        "member_of": ["all@client.example"],
        "sent_by": "office@client.example",
    }
    file = content(
        invitation(organizer={**ANNA, "sent_by": "console@shop.example"}, attendees=[person]), method="request"
    )

    event = lines_of(file)
    assert event["ORGANIZER"].parameters == {"CN": "Anna Nowak", "SENT-BY": "mailto:console@shop.example"}
    assert event["ATTENDEE"].parameters == {
        "CN": "Lee, Kim",
        "SENT-BY": "mailto:office@client.example",
        "CUTYPE": "GROUP",
        "ROLE": "REQ-PARTICIPANT",
        "PARTSTAT": "DELEGATED",
        "RSVP": "TRUE",
        "DELEGATED-TO": "mailto:sam@client.example,mailto:kim@client.example",
        "DELEGATED-FROM": "mailto:anna@shop.example",
        "MEMBER": "mailto:all@client.example",
    }


def test_an_attendee_that_is_no_address_and_the_thousand_and_first_are_refused() -> None:
    many = [{"email": f"guest{index}@client.example"} for index in range(1_001)]

    bad = refused(invitation(attendees=[{"email": "lee"}, {"email": "a b@c.example"}]), method="request")
    assert list(bad) == ["#/events/0/attendees/0/email", "#/events/0/attendees/1/email"]
    assert list(refused(invitation(attendees=many), method="request")) == ["#/events/0/attendees"]
    assert content(invitation(attendees=many[:1_000]), method="request").count(b"ATTENDEE;") == 1_000


@given(
    value=st.text(min_size=1, max_size=60),
    field=st.sampled_from(["key", "uid", "name", "label", "category", "comment"]),
)
def test_any_text_anywhere_survives_or_is_refused_and_never_adds_a_line(value: str, field: str) -> None:
    places: dict[str, dict[str, Any]] = {
        "name": {"organizer": {**ANNA, "name": value}},
        "label": {"conferences": [{"url": "https://meet.example", "label": value}]},
        "category": {"categories": [value]},
    }
    event = entry(**places.get(field, {field: value}))
    if CONTROL.search(value) or (field != "comment" and BREAK.search(value)):
        assert "control characters" in " ".join(refused(event).values())
        return
    file = content(event)
    assert defects(file) == []
    added = {"key": 0, "uid": 0}.get(field, 1)
    assert len(inner(file)[0].lines) == len(inner(content(entry()))[0].lines) + added


# --- versions


def test_a_key_gives_the_same_uid_in_every_job_of_its_source() -> None:
    def uid(source: str, job: str) -> str:
        return made(entry(key="order-1042"), source=source, namespace=job).uids[0]

    assert uid("https://shop.example", "one") == uid("https://shop.example", "two")
    assert uid("https://shop.example", "one") != uid("https://other.example", "one")
    assert list(refused(entry(key="a"), entry(key="a"))) == ["#/events/1/key"]
    assert refused(entry(key="a", uid="b")) == {"#/events/0": "one of uid and key is expected, got both"}


@pytest.mark.parametrize(
    ("changes", "job", "sequence"),
    [
        ({}, {}, 0),
        ({}, {"method": "cancel"}, 1),
        ({"previous": {"sequence": 4}}, {"method": "cancel"}, 5),
        ({"previous": {"sequence": 4, "start": "2026-12-01T14:00:00", "timezone": "Europe/Warsaw"}}, {}, 4),
        ({"previous": {"sequence": 4, "start": "2026-12-01T15:00:00", "timezone": "Europe/Warsaw"}}, {}, 5),
        ({"previous": {"sequence": 4, "start": "2026-12-01T14:00:00", "timezone": "Europe/Paris"}}, {}, 5),
        ({"sequence": 9, "previous": {"sequence": 4}}, {"sequence": 7}, 9),
        ({"previous": {"sequence": 4}}, {"sequence": 2}, 2),
    ],
)
def test_the_sequence_is_the_callers_or_goes_by_the_rule(changes: Any, job: dict[str, Any], sequence: int) -> None:
    result = made(entry(key="order-1042", **changes), **job)

    assert result.sequences == (sequence,)
    assert lines_of(result.files[0].content)["SEQUENCE"].value == str(sequence)


# --- alarms


@pytest.mark.parametrize(
    ("alarm", "trigger"),
    [
        ({}, "-PT15M"),
        ({"minutes_after": 5}, "PT5M"),
        ({"minutes_before": 5, "related": "end"}, "-PT5M"),
        ({"at": "2026-12-01T10:00:00Z"}, "20261201T100000Z"),
    ],
)
def test_an_alarm_rings_before_after_or_at_a_time(alarm: dict[str, Any], trigger: str) -> None:
    line = lines_of(content(entry(end="2026-12-01T15:00:00", alarms=[alarm])), "VALARM")["TRIGGER"]

    assert line.value == trigger
    assert line.parameters.get("RELATED") == ("END" if "related" in alarm else None)
    assert line.parameters.get("VALUE") == ("DATE-TIME" if "at" in alarm else None)


@pytest.mark.parametrize(
    ("alarm", "pointer", "said"),
    [
        ({"minutes_before": 5, "at": "2026-12-01T10:00:00Z"}, "", "one of minutes_before"),
        ({"at": "2026-12-01T10:00:00"}, "/at", "must be UTC"),
        ({"related": "end"}, "/related", "has no end"),
        ({"action": "email"}, "/to", "at least one"),
        ({"to": ["a@b.example"]}, "/to", "expects action email, got display"),
        ({"action": "audio", "text": "Ring"}, "/text", "must be absent"),
        ({"action": "audio", "sound_url": "javascript:x"}, "/sound_url", "must be a URI"),
    ],
)
def test_an_alarm_that_cannot_ring_is_refused(alarm: dict[str, Any], pointer: str, said: str) -> None:
    errors = refused(entry(alarms=[alarm]))

    assert list(errors) == [f"#/events/0/alarms/0{pointer}"]
    assert said in errors[f"#/events/0/alarms/0{pointer}"]


# --- everything else of an item


def test_an_attachment_is_inline_or_elsewhere_and_a_colour_has_a_name() -> None:
    inline = {"data_base64": "aGVsbG8=", "media_type": "text/plain", "name": "hello.txt"}
    file = content(entry(attachments=[inline], color="turquoise", images=[{"url": "https://shop.example/a.png"}]))

    event = lines_of(file)
    expected = {"FMTTYPE": "text/plain", "FILENAME": "hello.txt", "ENCODING": "BASE64", "VALUE": "BINARY"}
    assert event["ATTACH"] == Line("VEVENT", "ATTACH", expected, "aGVsbG8=")
    assert event["IMAGE"] == Line("VEVENT", "IMAGE", {"VALUE": "URI"}, "https://shop.example/a.png")
    assert "turquoise" in refused(entry(color="turquose"))["#/events/0/color"]
    both = {"url": "https://shop.example", "data_base64": "aGVsbG8="}
    assert list(refused(entry(attachments=[both]))) == ["#/events/0/attachments/0"]


def test_a_place_has_coordinates_and_what_apple_reads() -> None:
    event = lines_of(content(entry(location="Hall, 1", geo={"latitude": 51.77, "longitude": -19.4})))

    assert event["GEO"].value == "51.770000;-19.400000"
    assert event["X-APPLE-STRUCTURED-LOCATION"].value == "geo:51.770000,-19.400000"
    assert event["X-APPLE-STRUCTURED-LOCATION"].parameters["X-TITLE"] == "Hall, 1"


def test_a_to_do_is_due_and_done() -> None:
    done = a_todo(completed="2026-12-04T10:00:00Z", percent_complete=100, status="completed", priority=1)

    lines = lines_of(content(todos=[done]), "VTODO")
    assert (lines["DUE"].value, lines["COMPLETED"].value) == ("20261205", "20261204T100000Z")
    assert (lines["STATUS"].value, lines["PRIORITY"].value) == ("COMPLETED", "1")
    assert list(refused(todos=[a_todo(completed="2026-12-04")])) == ["#/todos/0/completed"]
    assert list(refused(todos=[a_todo(due="2026-12-01")])) == ["#/todos/0/due"]
    assert (
        "must be absent" in refused(method="none", todos=[{"summary": "x", "rrule": "FREQ=DAILY"}])["#/todos/0/rrule"]
    )


def test_busy_times_are_utc_and_in_order() -> None:
    (taken,) = inner(content(free_busy=[busy()]), "VFREEBUSY")

    assert [(each.parameters["FBTYPE"], each.value) for each in taken.lines if each.name == "FREEBUSY"] == [
        ("BUSY-TENTATIVE", "20261201T080000Z/20261201T083000Z"),
        ("BUSY", "20261201T090000Z/20261201T100000Z"),
    ]
    outside = {"start": "2026-12-03T10:00:00", "end": "2026-12-03T11:00:00"}
    assert list(refused(free_busy=[busy(periods=[outside])])) == ["#/free_busy/0/periods/0"]
    assert list(refused(free_busy=[busy(timezone=None)])) == ["#/free_busy/0/start"]


def test_a_feed_says_its_name_its_colour_and_when_to_come_again() -> None:
    feed = {"name": "Fairs, all", "refresh_minutes": 60, "color": "turquoise", "timezone": "Europe/Warsaw"}

    lines = lines_of(content(entry(), feed={**feed, "source_url": "https://shop.example/f.ics"}), "VCALENDAR")
    assert lines["NAME"].text == lines["X-WR-CALNAME"].text == "Fairs, all"
    assert (lines["REFRESH-INTERVAL"].value, lines["X-PUBLISHED-TTL"].value) == ("PT60M", "PT60M")
    assert (lines["COLOR"].value, lines["X-APPLE-CALENDAR-COLOR"].value) == ("turquoise", "#40E0D0")
    assert (lines["SOURCE"].value, lines["X-WR-TIMEZONE"].value) == ("https://shop.example/f.ics", "Europe/Warsaw")
    bad = {"name": "x\x00", "color": "colour", "timezone": "Mars", "url": "file:///etc/passwd"}
    assert list(refused(entry(), feed=bad)) == [f"#/feed/{each}" for each in ("name", "url", "timezone", "color")]


def test_a_job_that_would_make_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar_file, "LIMIT_BYTES", 100_000)
    overrides = [{"recurrence_id": f"2026-12-{day:02}T14:00:00"} for day in range(2, 20)]

    with pytest.raises(JobFailed, match="at most 100000 bytes; #/events/0 goes over") as failed:
        made(entry(description="x" * 10_000, rrule="FREQ=DAILY", overrides=overrides))
    assert failed.value.kind == "too-large"


# --- the e-mail part


def parts_of(part: bytes) -> list[EmailMessage]:
    message = message_from_bytes(part, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message.get_content_type() == "multipart/alternative"
    assert message.defects == []
    return [each for each in message.iter_parts() if isinstance(each, EmailMessage)]


def test_the_e_mail_part_is_a_whole_entity_of_ascii_with_the_method_of_the_file() -> None:
    (file,) = made(invitation(), method="request", email_part={"html": "<p>Zażółć</p>"}).files
    assert file.email_part

    text, html, calendar = parts_of(file.email_part)
    assert file.email_part.isascii()
    assert b"\n" not in file.email_part.replace(b"\r\n", b"")
    assert max(map(len, file.email_part.split(b"\r\n"))) <= 78
    assert (text.get_content_type(), html.get_content().strip()) == ("text/plain", "<p>Zażółć</p>")
    assert "When: 2026-12-01 14:00:00 to 2026-12-01 15:30:00 (Europe/Warsaw)\r\n" in text.get_content()
    assert calendar.get_content_type() == "text/calendar"
    assert dict(calendar["content-type"].params) == {"charset": "utf-8", "method": "REQUEST"}
    assert calendar.get_payload(decode=True) == file.content


def test_the_e_mail_part_has_the_callers_text_and_the_same_bytes_each_time() -> None:
    first, second = (made(invitation(), method="cancel", email_part={"text": "Off, sorry"}) for _ in range(2))
    part = first.files[0].email_part
    assert part

    assert first == second
    assert parts_of(part)[0].get_content() == "Off, sorry\r\n"
    assert list(refused(invitation(), method="none", email_part={})) == ["#/email_part"]


def text_of(event: dict[str, Any], **job: Any) -> str:
    (file,) = made(event, email_part={}, **job).files
    assert file.email_part
    return str(parts_of(file.email_part)[0].get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "This event has been cancelled."),
        ({"rrule": "FREQ=WEEKLY;COUNT=3"}, "This whole series of events has been cancelled."),
        ({"recurrence_id": "2026-12-01T14:00:00"}, "This one event of a series has been cancelled."),
    ],
)
def test_the_text_of_a_cancellation_says_so_before_anything_else(changes: dict[str, Any], sentence: str) -> None:
    event = invitation(**{"recurrence": None, "rrule": None, "exdates": None, "overrides": None, **changes})

    said, invited = text_of(event, method="cancel"), text_of(event, method="request")
    assert said.startswith(f"Cancelled: {event['summary']}\n{sentence}\nWhen: ")
    assert "ancel" not in invited
    assert said.split("\n")[2:] == invited.split("\n")[1:]


def test_the_text_of_what_is_published_as_cancelled_and_of_a_to_do_that_is_says_so() -> None:
    (task,) = made(todos=[a_todo(uid="a", organizer=ANNA, attendees=[LEE])], method="cancel", email_part={}).files
    assert task.email_part

    assert text_of(entry(status="cancelled")).startswith("Cancelled: Fair\nThis event has been cancelled.\n")
    assert b"Cancelled: Pay\r\nThis task has been cancelled.\r\n" in task.email_part


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("accepted", "accepted"),
        ("declined", "declined"),
        ("tentative", "tentatively accepted"),
        ("delegated", "delegated"),
    ],
)
def test_the_text_of_a_reply_says_who_answered_and_what(status: str, answer: str) -> None:
    event = entry(uid="a", organizer=ANNA, attendees=[{**LEE, "status": status}])

    said = text_of(event, method="reply")
    assert said.startswith(f"{answer.capitalize()}: Fair\nLee, Kim has {answer} this event.\nWhen: ")


def test_the_text_of_a_counter_proposal_says_that_nothing_is_changed_yet() -> None:
    said = text_of(entry(uid="a", organizer=ANNA, attendees=[LEE]), method="counter")

    assert said.startswith(
        "New time proposed: Fair\nThis is a proposal to change the event; it has not been changed yet."
    )


def test_a_lone_carriage_return_is_a_line_break_in_the_e_mail_too() -> None:
    assert text_of(entry(description="line1\rline2"), method="publish").endswith("\nline1\nline2\n")
